"""Whether each part of a running instance answers; every look is short and never raises."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from console import tether
from console.instance import api_url, flower_url, worker_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from analytics.settings import Settings

BEAT_LOCK = "coursepulse:redbeat::lock"
TIMEOUT = 1.0


def api_answers(settings: Settings) -> bool:
    """Say whether the API is ready, its dependencies included."""
    return _answers(f"{api_url(settings)}/health/ready")


def flower_answers(settings: Settings) -> bool:
    """Say whether Flower's HTTP answers; this address is open with a password, too."""
    return _answers(f"{flower_url(settings)}/healthcheck")


def worker_answers(settings: Settings) -> bool:
    """Say whether this instance's worker answers Celery's ping."""
    return _ping([worker_name(settings)], 0.5)


def any_worker_answers() -> bool:
    """Say whether some worker on this broker answers Celery's ping, on whatever machine."""
    return _ping(None, 2.0)


def beat_holds_lock(settings: Settings) -> bool:
    """Say whether a beat holds the schedule's lock."""
    import redis  # noqa: PLC0415  # with the worker's ping

    url = settings.broker_url
    if not url.startswith(("redis://", "rediss://", "unix://")):
        return True  # behind Sentinel: beat's own log tells
    try:
        with redis.Redis.from_url(
            url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT
        ) as client:
            return bool(client.exists(BEAT_LOCK))
    except redis.RedisError:
        return False


def looks(settings: Settings, names: list[str]) -> dict[str, Callable[[], bool]]:
    """Return for each part how to see whether it answers, in the order of starting."""

    def listens(url: str | None) -> bool:
        return tether.is_there(urlsplit(url or "").netloc)

    known: dict[str, Callable[[], bool]] = {
        "mongo": lambda: listens(settings.mongo_url),
        "valkey": lambda: listens(settings.redis_url),
        "api": lambda: api_answers(settings),
        "worker": lambda: worker_answers(settings),
        "flower": lambda: flower_answers(settings),
        "beat": lambda: beat_holds_lock(settings),
    }
    return {name: known[name] for name in names if name in known}


def _ping(destination: list[str] | None, timeout: float) -> bool:
    from tasks.app import app  # noqa: PLC0415  # the slowest import, and only here

    try:
        return bool(app.control.ping(destination=destination, timeout=timeout, limit=1))
    except Exception:  # noqa: BLE001  # whatever a broker that is down raises means no
        return False


def _answers(url: str) -> bool:
    try:
        # A proxy of the environment has no business between this machine and itself.
        return httpx.get(url, timeout=TIMEOUT, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
