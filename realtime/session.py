"""A viewer's WebSocket from its authentication to its end: what it may say, and for how long."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from contextvars import Context

from analytics.authentication import Authenticator
from analytics.errors import Unavailable
from analytics.settings import Settings
from realtime.closing import CloseCode, Closed
from realtime.handshake import token_in, verify
from realtime.line import Line
from realtime.viewer import Viewer

MINUTE = 60.0
LONGEST_WAIT = 86_400.0
_NO_CONTEXT = Context()
"""One for all: by itself each timer keeps a copy of its task's."""

log = logging.getLogger(__name__)


class Session:
    """The guest of one line; `on_gone` runs once, when the connection has ended."""

    def __init__(
        self,
        line: Line,
        viewer: Viewer,
        authenticator: Authenticator,
        settings: Settings,
        on_gone: Callable[[], None],
    ) -> None:
        self._line = line
        self._viewer = viewer
        self._authenticator = authenticator
        self._settings = settings
        self._on_gone = on_gone
        self._received: deque[float] | None = None  # most viewers never say a word
        self._renewing: asyncio.Task[None] | None = None
        self._expiry = self._time_expiry()

    @property
    def stall_seconds(self) -> float:
        """How long the line may be full."""
        return self._settings.socket_stall_seconds

    def heard(self, text: str, size: int) -> None:
        """Renew by a fresh token; anything else is ignored, but counted."""
        limit = self._settings.socket_message_bytes
        if size > limit:
            self._viewer.end(Closed(CloseCode.TOO_BIG, f"messages are at most {limit} bytes"))
            return
        if self._too_many():
            most = self._settings.socket_messages_per_minute
            self._viewer.end(Closed(CloseCode.TOO_MANY, f"more than {most} messages a minute"))
            return
        token = token_in(text)
        if token is not None:
            self._renewing = asyncio.ensure_future(self._renew(token, self._renewing))

    def drained(self) -> None:
        """Send what waited."""
        self._viewer.drained()

    def stalled(self) -> None:
        """Give up a viewer that takes nothing."""
        message = f"nothing was read for {self.stall_seconds:g} s; reconnect"
        self._viewer.end(Closed(CloseCode.TOO_SLOW, message))

    def gone(self) -> None:
        """Clean up, once."""
        self._expiry.cancel()
        if self._renewing is not None:
            self._renewing.cancel()
        on_gone, self._on_gone = self._on_gone, _nothing
        on_gone()

    def _too_many(self) -> bool:
        now = time.monotonic()
        most = self._settings.socket_messages_per_minute
        if self._received is None:
            self._received = deque(maxlen=most)
        if len(self._received) == most and now - self._received[0] < MINUTE:
            return True
        self._received.append(now)
        return False

    async def _renew(self, token: str, earlier: asyncio.Task[None] | None) -> None:
        if earlier is not None:
            await asyncio.wait([earlier])  # in the order they came
        if self._on_gone is _nothing:
            return
        try:
            renewed = await verify(self._authenticator, token)
        except Closed as closed:
            self._viewer.end(closed)
            return
        except Unavailable as error:
            # The old token counts until it expires, and the client can send the new one again.
            log.warning("a token could not be checked: %s", error)
            return
        if self._on_gone is _nothing:  # it has left meanwhile
            return
        known = self._viewer.principal
        if (renewed.sub, renewed.role) != (known.sub, known.role):
            message = "the token is of another sub or role; connect anew"
            self._viewer.end(Closed(CloseCode.UNAUTHENTICATED, message))
            return
        self._viewer.principal = renewed
        self._expiry.cancel()
        self._expiry = self._time_expiry()

    def _time_expiry(self) -> asyncio.TimerHandle:
        left = self._viewer.principal.expires_at - time.time()
        loop = asyncio.get_running_loop()
        wait = min(max(left, 0.0), LONGEST_WAIT)
        return loop.call_later(wait, self._expire, context=_NO_CONTEXT)

    def _expire(self) -> None:
        if self._viewer.principal.expires_at > time.time():  # a clock set back, or a long wait
            self._expiry = self._time_expiry()
            return
        message = "the token has expired; send a new one"
        self._viewer.end(Closed(CloseCode.UNAUTHENTICATED, message))


def _nothing() -> None:
    """Stand where all is cleaned up."""
