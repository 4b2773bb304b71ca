"""The peer of `ingest`: the same route on the same server, doing one bare MongoDB update.

FastAPI, body model, client options and uvicorn options are the product's own; there is no
authentication, no check and nothing after the update. `python -m bench.bare_api` with the product's
environment.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from analytics.ids import new_id
from analytics.settings import Settings
from analytics.stores.async_mongo import AsyncCollections
from api.dependencies import PathId
from api.routes.progress import WatchTime
from bench.serving import serve

COLLECTION = "bench_bare"


def create_app(settings: Settings) -> FastAPI:
    """Return the application; it updates documents `course:student` of `COLLECTION`."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        collections = AsyncCollections(settings)
        app.state.counters = collections.progress.database[COLLECTION]
        yield
        collections.close()

    app = FastAPI(lifespan=lifespan)

    @app.post("/progress/lessons/{lesson_id}/watch-time", status_code=202)
    async def add_watch_time(lesson_id: PathId, body: WatchTime) -> dict[str, str]:
        await app.state.counters.update_one(
            {"_id": f"{body.course_id}:{body.user_id}"},
            {"$inc": {f"lessons.{lesson_id}": int((body.watch_time or 0) * 1_000)}},
        )
        return {"receipt": new_id(), "course_id": body.course_id}

    return app


if __name__ == "__main__":
    serve(create_app)
