"""The hub put together from its parts, for the API and for the hub on its own."""

from __future__ import annotations

import gc
import resource
from collections.abc import Callable
from typing import Any

import redis.asyncio

from analytics.settings import Settings
from analytics.stores.async_mongo import AsyncCollections
from analytics.stores.courses import Courses
from analytics.stores.frames import Frames
from analytics.stores.sessions import Sessions
from realtime.admission import Admission
from realtime.http_protocol import ADMISSION, HEAD_SECONDS
from realtime.hub import Hub
from realtime.protocol import DRAIN
from realtime.registry import Registry
from realtime.rounds import Rounds

# New objects until the young are collected (usually 700), such collections until the middle-aged
# are (10), and of those until all are (10).
GC_THRESHOLDS = (5_000, 10, 200)
SERVER_OPTIONS: dict[str, Any] = {
    "http": "realtime.http_protocol:HubHttp",
    "ws": "realtime.protocol:HubProtocol",
    # Compression costs memory per connection and is an attack surface.
    "ws_per_message_deflate": False,
}


def build_hub(  # noqa: PLR0913  # one place where all parts meet
    settings: Settings,
    collections: AsyncCollections,
    cache: redis.asyncio.Redis,
    frames: Frames,
    courses: Courses,
    *,
    on_course_edited: Callable[[str], None],
    process: str | None = None,
) -> Hub:
    """Return the hub; `process` names it for ever where only one of this name can run."""
    registry = Registry(cache, settings.sockets_per_user, process)
    rounds = Rounds(collections, courses, Sessions(collections))
    return Hub(settings, frames, rounds, registry, on_course_edited=on_course_edited)


def server_state(settings: Settings) -> dict[str, Any]:
    """Return what the protocols look for in the lifespan's state."""
    return {
        ADMISSION: Admission(settings.socket_handshakes_per_second),
        HEAD_SECONDS: settings.socket_handshake_seconds,
        DRAIN: settings.socket_drain_seconds,
    }


def server_options(settings: Settings) -> dict[str, Any]:
    """Return uvicorn's options for sockets: a peer silent for two pings' time is gone."""
    return SERVER_OPTIONS | {
        "ws_ping_interval": settings.socket_ping_seconds,
        "ws_ping_timeout": settings.socket_ping_seconds,
        "ws_max_size": settings.socket_message_bytes,
    }


def raise_file_limit() -> None:
    """Allow this process as many open files as it may have: each viewer is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def settle_heap() -> None:
    """Keep the garbage collector from holding frames up; at the end of a process's start.

    A full collection stops the process for some 0.5 µs an object, and a crowd that connects
    caused one after another, which found nothing: connections end without garbage. What lives as
    long as the process is left out of them (`gc.freeze`), and they are made twenty times as rare.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
