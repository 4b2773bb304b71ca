"""Guards for two mistakes in the libraries under Celery.

A broker that restarts must not end the worker: while a connection is being re-established kombu
5.7 may ask for the parameters of one that was already collected, and the `AttributeError` ends a
prefork worker (measured: 6 of 8 broker restarts). Raised as a connection error it is what Celery
knows how to survive.

Of a task whose process died Flower is to show why: Celery 5.7 tells the name of a wrapper instead.
"""

from __future__ import annotations

from typing import Any

from billiard import einfo
from kombu.transport import redis as transport
from redis.exceptions import ConnectionError as RedisConnectionError


def install() -> None:
    """Make the guards part of the libraries; a second call changes nothing."""
    wrapper: Any = einfo  # typed as if the wrapper was not in it
    wrapper.ExceptionWithTraceback.__repr__ = _name_the_cause
    channel: Any = transport.Channel  # typed as if it had no private parts
    original = channel._connparams  # noqa: SLF001  # there is no public hook
    if getattr(original, "guarded", False):
        return

    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        connection = getattr(self, "connection", None)
        if connection is None or getattr(connection, "client", None) is None:
            raise RedisConnectionError("the broker's connection was closed; reconnecting")
        return original(self, *args, **kwargs)

    guarded.guarded = True  # type: ignore[attr-defined]
    channel._connparams = guarded  # noqa: SLF001


def _name_the_cause(self: Any) -> str:
    return repr(self.exc)
