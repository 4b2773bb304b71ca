"""Redis as the product uses it: short deadlines, for nothing here is worth a wait.

A frozen server must cost a request little: see `tasks/enqueue.py` for how little.
"""

from __future__ import annotations

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from analytics.settings import Settings

REQUEST_TIMEOUT = 0.25
WORKER_TIMEOUT = 2.0


def connect_async(settings: Settings) -> redis.asyncio.Redis:
    """Return the client of API and hub; commands end within `REQUEST_TIMEOUT` seconds."""
    return redis.asyncio.Redis.from_url(
        settings.require_redis_url(),
        socket_timeout=REQUEST_TIMEOUT,
        socket_connect_timeout=REQUEST_TIMEOUT,
        retry=AsyncRetry(NoBackoff(), 0),
        decode_responses=True,
    )


def connect(settings: Settings, *, broker: bool = False) -> redis.Redis:
    """Return the client of a worker; `broker` asks for the server that Celery uses."""
    url = settings.broker_url if broker else settings.require_redis_url()
    return redis.Redis.from_url(
        url,
        socket_timeout=WORKER_TIMEOUT,
        socket_connect_timeout=1,
        retry=Retry(NoBackoff(), 1),
        decode_responses=True,
    )


def connect_feed(settings: Settings) -> redis.asyncio.Redis:
    """Return the client of a subscription: it may be silent for long, so reads have no deadline.

    The feed pings it and gives up a silent connection itself.
    """
    return redis.asyncio.Redis.from_url(
        settings.require_redis_url(),
        socket_timeout=None,
        socket_connect_timeout=1,
        retry=AsyncRetry(NoBackoff(), 0),
        decode_responses=True,
        encoding_errors="replace",  # rubbish on a channel is one message's fault, not the line's
    )
