"""The peer of `coalescing`, its door: one MongoDB update, then a Celery task for the course.

The product's route, body model and server options; no authentication, no check of the lesson, no
journal of events. The database client has no deadline, so that nothing is refused for slowness.
`python -m bench.naive_api` with the product's environment.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from motor.motor_asyncio import AsyncIOMotorClient

from analytics.ids import field_key, new_id
from analytics.settings import Settings
from analytics.stores.mongo import DATABASE_OPTIONS
from api.dependencies import PathId
from api.routes.progress import WatchTime
from bench.naive_tasks import refresh
from bench.serving import serve


def create_app(settings: Settings) -> FastAPI:
    """Return the application; it updates the progress documents of students it has."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        client: Any = AsyncIOMotorClient(settings.require_mongo_url(), maxPoolSize=32)
        app.state.progress = client.get_database(settings.mongo_database, **DATABASE_OPTIONS)[
            "progress"
        ]
        yield
        client.close()

    app = FastAPI(lifespan=lifespan)

    @app.post("/progress/lessons/{lesson_id}/watch-time", status_code=202)
    async def add_watch_time(lesson_id: PathId, body: WatchTime) -> dict[str, str]:
        milliseconds = int((body.watch_time or 0) * 1_000)
        await app.state.progress.update_one(
            {"course_id": body.course_id, "user_id": body.user_id},
            {"$inc": {f"lessons.{field_key(lesson_id)}.watch_ms": milliseconds}},
        )
        # Blocks for the part of a millisecond that the broker takes, as such routes usually do.
        refresh.apply_async((body.course_id, time.monotonic()))
        return {"receipt": new_id(), "course_id": body.course_id}

    return app


if __name__ == "__main__":
    serve(create_app)
