r"""The hub on its own, behind a proxy that routes `/realtime/` to it.

    uvicorn realtime.app:app --workers 4 \
        --http realtime.http_protocol:HubHttp --ws realtime.protocol:HubProtocol

Any number of these share the viewers with the API's own hub. Without the two protocols it works as
well, at more memory and time per viewer, and crowds are not held back. Event streams are the API's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse

from analytics.authentication import Authenticator
from analytics.errors import SettingsError
from analytics.logs import configure_logs
from analytics.settings import Settings
from analytics.sharing import SharedReads
from analytics.stores.async_mongo import AsyncCollections
from analytics.stores.courses import Courses
from analytics.stores.frames import Frames
from analytics.stores.redis import connect_async
from analytics.stores.sessions import Sessions
from realtime.assembly import build_hub, raise_file_limit, server_state, settle_heap
from realtime.routes import Realtime, router

STARTUP_FAILURE = 3


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """Make the clients, run the hub, close them."""
    settings = _checked_settings()
    configure_logs(settings.log_format)
    raise_file_limit()
    collections = AsyncCollections(settings)
    cache = connect_async(settings)
    courses = Courses(collections)
    frames = Frames(collections, cache)
    hub = build_hub(settings, collections, cache, frames, courses, on_course_edited=_nothing)
    authenticator = Authenticator(settings, Sessions(collections))
    owners = SharedReads(courses.instructor_of)
    app.state.realtime = Realtime(settings, hub, authenticator, owners)
    hub.start()
    settle_heap()
    try:
        yield server_state(settings)
    finally:
        await hub.stop()
        await cache.aclose()
        collections.close()


def _checked_settings() -> Settings:
    """Return the settings; without one that a hub needs, end with a line for each."""
    try:
        settings = Settings.from_environment()
        problems = list(_lacking(settings))
    except SettingsError as error:
        problems = [error]
    if problems:
        for problem in problems:
            print(f"coursepulse: {problem}", file=sys.stderr, flush=True)  # noqa: T201  # as the API does
        # An exception would be printed with all of the server's frames, the line somewhere in it.
        os._exit(STARTUP_FAILURE)
    return settings


def _lacking(settings: Settings) -> Iterator[SettingsError]:
    needed = [settings.require_mongo_url, settings.require_redis_url]
    if settings.jwt_jwks_url is None:
        needed.append(settings.require_jwt_secret)
    for require in needed:
        try:
            require()
        except SettingsError as error:
            yield error


def _nothing(_: str) -> None:
    """Keep no outline that an edit could make old."""


app = FastAPI(title="coursepulse realtime", lifespan=lifespan, openapi_url=None)
app.include_router(router)


@app.get("/health/live")
async def live() -> JSONResponse:
    """Answer while the process serves."""
    return JSONResponse({"status": "ok", "viewers": app.state.realtime.hub.viewers()})
