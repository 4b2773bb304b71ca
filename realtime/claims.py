"""One WebSocket per instructor, the newest wins, in whichever hub process it is.

A claim is a time of Redis's clock, so that all processes agree on which is newer; it is published
to all. Without Redis the claim holds in this process only.
"""

from __future__ import annotations

import json
import logging
import time

import redis.asyncio
from redis.exceptions import RedisError

from analytics.subjects import INSTRUCTOR_CLAIMS

log = logging.getLogger(__name__)


async def publish_claim(client: redis.asyncio.Redis, place: str) -> str:
    """Claim the place everywhere; return the claim, which sorts after every older one."""
    try:
        seconds, microseconds = await client.time()
        token = _token(int(seconds), int(microseconds))
        await client.publish(INSTRUCTOR_CLAIMS, json.dumps({"place": place, "token": token}))
    except (RedisError, OSError, TimeoutError) as error:
        log.warning("an instructor's connection is claimed in this process only: %s", error)
        now = time.time_ns() // 1_000
        token = _token(now // 1_000_000, now % 1_000_000)
    return token


def _token(seconds: int, microseconds: int) -> str:
    return f"{seconds:012d}.{microseconds:06d}"
