"""Health: alive means the process answers; ready means what it depends on does too."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from pymongo.errors import PyMongoError
from redis.exceptions import RedisError
from starlette.responses import JSONResponse, Response

from api.dependencies import TheServices
from api.lifespan import Services

router = APIRouter(tags=["health"])

DEADLINE_SECONDS = 0.8


@router.get("/health/live")
async def live() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "live"}


@router.get("/health/ready")
async def ready(services: TheServices) -> Response:
    """Name each dependency and its state; 503 where one is down."""
    mongodb, redis = await asyncio.gather(_mongodb(services), _redis(services))
    schema = "up" if services.prepared.is_set() else "down: the indexes are not made yet"
    dependencies = {"mongodb": mongodb, "redis": redis, "schema": schema}
    is_ready = all(state == "up" for state in dependencies.values())
    body = {"status": "ready" if is_ready else "not ready", "dependencies": dependencies}
    return JSONResponse(body, status_code=200 if is_ready else 503)


async def _mongodb(services: Services) -> str:
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await services.collections.ping()
    except (PyMongoError, TimeoutError) as error:
        return f"down: {type(error).__name__}"
    return "up"


async def _redis(services: Services) -> str:
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await services.cache.ping()
    except (RedisError, OSError, TimeoutError) as error:
        return f"down: {type(error).__name__}"
    return "up"
