"""MongoDB for the API and the hub. The one module that imports Motor.

PyMongo's own asynchronous client can take its place here: the collections are used only through
the methods that both offer.
"""

from __future__ import annotations

from typing import Any

from motor.motor_asyncio import AsyncIOMotorClient

from analytics.settings import Settings
from analytics.stores.mongo import DATABASE_OPTIONS
from analytics.stores.parking import TRIES

OPERATION_TIMEOUT_MS = 700
"""The deadline of each operation of a request: a 503 must come within a second."""


class AsyncCollections:
    """The collections that requests append to and read; see `mongo.Collections`."""

    def __init__(self, settings: Settings) -> None:
        self.client: Any = AsyncIOMotorClient(
            settings.require_mongo_url(),
            appname="coursepulse",
            timeoutMS=OPERATION_TIMEOUT_MS,
            serverSelectionTimeoutMS=OPERATION_TIMEOUT_MS,
            connectTimeoutMS=OPERATION_TIMEOUT_MS,
            maxPoolSize=32,
            tz_aware=True,
        )
        database = self.client.get_database(settings.mongo_database, **DATABASE_OPTIONS)
        self.courses: Any = database["courses"]
        self.progress: Any = database["progress"]
        self.ratings: Any = database["ratings"]
        self.course_totals: Any = database["course_totals"]
        self.platform_totals: Any = database["platform_totals"]
        self.failing: Any = database["failing"]
        self.sessions: Any = database["sessions"]

    async def ping(self) -> None:
        """Raise where the database does not answer."""
        await self.client.admin.command("ping")

    async def count_failing(self) -> tuple[int, int]:
        """Return how many subjects' refreshes fail, and how many of those are parked."""
        found = [each["failures"] async for each in self.failing.find({}, {"failures": 1})]
        return len(found), sum(failures >= TRIES for failures in found)

    def close(self) -> None:
        """Close the connections."""
        self.client.close()
