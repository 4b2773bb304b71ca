"""The API's clients: made when the application starts, closed when it ends."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import redis.asyncio
from pymongo.errors import PyMongoError

from analytics.authentication import Authenticator
from analytics.settings import Settings
from analytics.stores.async_mongo import AsyncCollections
from analytics.stores.courses import Courses
from analytics.stores.frames import Frames
from analytics.stores.mongo import prepare_database
from analytics.stores.outlines import Outlines
from analytics.stores.progress import Progress
from analytics.stores.ratings import Ratings
from analytics.stores.redis import connect_async
from analytics.stores.sessions import Sessions
from realtime.assembly import build_hub
from realtime.events import Streams
from realtime.hub import Hub
from tasks.enqueue import RefreshQueue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PREPARE_AGAIN_SECONDS = 0.5

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Services:
    """What the routes work with."""

    settings: Settings
    collections: AsyncCollections
    cache: redis.asyncio.Redis
    courses: Courses
    outlines: Outlines
    progress: Progress
    ratings: Ratings
    sessions: Sessions
    frames: Frames
    authenticator: Authenticator
    queue: RefreshQueue
    hub: Hub
    streams: Streams
    prepared: asyncio.Event


def build_services(settings: Settings) -> Services:
    """Make the clients; they connect on first use."""
    collections = AsyncCollections(settings)
    cache = connect_async(settings)
    courses = Courses(collections)
    outlines = Outlines(courses)
    sessions = Sessions(collections)
    frames = Frames(collections, cache)
    return Services(
        settings=settings,
        collections=collections,
        cache=cache,
        courses=courses,
        outlines=outlines,
        progress=Progress(collections),
        ratings=Ratings(collections),
        sessions=sessions,
        frames=frames,
        authenticator=Authenticator(settings, sessions),
        queue=RefreshQueue(settings),
        hub=build_hub(
            settings,
            collections,
            cache,
            frames,
            courses,
            on_course_edited=outlines.drop,
            # The port makes it the only one: `python -m api` is one process.
            process=f"{socket.gethostname()}:{settings.host}:{settings.port}",
        ),
        streams=Streams(),
        prepared=asyncio.Event(),
    )


@asynccontextmanager
async def running(services: Services) -> AsyncIterator[None]:
    """Start the services, and close them at the end."""
    preparing = asyncio.create_task(_prepare(services))
    services.queue.start()
    services.hub.start()
    try:
        yield
    finally:
        preparing.cancel()
        with suppress(asyncio.CancelledError):
            await preparing
        await services.hub.stop()
        await services.queue.stop()
        await services.cache.aclose()
        services.collections.close()


async def _prepare(services: Services) -> None:
    """Create the indexes as soon as the database answers; until then writes answer 503."""
    while not services.prepared.is_set():
        try:
            await asyncio.to_thread(prepare_database, services.settings)
        except PyMongoError as error:
            log.warning("the database is not prepared yet: %s", error)
            await asyncio.sleep(PREPARE_AGAIN_SECONDS)
        else:
            services.prepared.set()
