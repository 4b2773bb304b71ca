"""The application: routes, middleware, error rendering, the WebSocket routes and the page."""

from __future__ import annotations

from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.staticfiles import StaticFiles

import dashboard
from analytics.settings import Settings
from analytics.sharing import SharedReads
from api import problems
from api.lifespan import build_services, running
from api.metrics import Metrics
from api.middleware import Gate
from api.routes import (
    analytics,
    asyncapi,
    courses,
    demo,
    enrollments,
    events,
    health,
    metrics,
    page,
    progress,
    session,
)
from realtime.assembly import server_state, settle_heap
from realtime.routes import Realtime
from realtime.routes import router as realtime_router

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def create_app(settings: Settings) -> FastAPI:
    """Return the application for these settings."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        services = build_services(settings)
        app.state.services = services
        owners = SharedReads(services.courses.instructor_of)
        app.state.realtime = Realtime(settings, services.hub, services.authenticator, owners)
        async with running(services):
            settle_heap()
            yield server_state(settings)

    app = FastAPI(
        title="coursepulse",
        summary="Real-time learning analytics: exact numbers, a moment after the learner acts.",
        version=version("coursepulse"),
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.add_middleware(Gate)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(settings.origins),
        allow_credentials=True,
        allow_methods=["GET", "POST", "PUT", "DELETE"],
        allow_headers=[
            "Authorization",
            "Content-Type",
            "Idempotency-Key",
            "If-Match",
            "If-None-Match",
            "Last-Event-ID",
        ],
        expose_headers=["ETag", "Location", "X-Request-ID", "Retry-After"],
    )
    app.state.metrics = Metrics()
    problems.install(app)
    for module in (
        courses,
        enrollments,
        progress,
        analytics,
        events,
        session,
        health,
        metrics,
        page,
        asyncapi,
    ):
        app.include_router(module.router)
    if settings.demo:
        app.include_router(demo.router)
    app.include_router(realtime_router)
    app.mount("/static", StaticFiles(directory=Path(dashboard.__file__).parent), name="static")
    return app
