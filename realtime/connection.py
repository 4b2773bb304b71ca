"""One WebSocket from its accept to its close."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from contextlib import suppress
from typing import Any

from pymongo.errors import PyMongoError
from starlette.websockets import WebSocket, WebSocketDisconnect

from analytics.authentication import Authenticator
from analytics.errors import Unavailable
from analytics.identity import Principal
from realtime.closing import CloseCode, Closed
from realtime.handshake import authenticate, receive_text, token_in, verify

MESSAGES_PER_MINUTE = 100
MINUTE = 60.0
LONGEST_WAIT = 86_400.0
REASON_BYTES = 123

log = logging.getLogger(__name__)


class Connection:
    """An accepted socket and the identity behind it."""

    def __init__(self, socket: WebSocket, authenticator: Authenticator) -> None:
        self._socket = socket
        self._authenticator = authenticator
        self._ended: asyncio.Future[Closed] = asyncio.get_running_loop().create_future()
        self._received: deque[float] = deque(maxlen=MESSAGES_PER_MINUTE)
        self.principal: Principal

    @classmethod
    async def open(cls, socket: WebSocket, authenticator: Authenticator) -> Connection | None:
        """Accept the handshake; None where its origin is refused (HTTP 403)."""
        origin = socket.headers.get("origin")
        if origin is not None and not authenticator.origin_allowed(origin):
            await socket.close()
            return None
        await socket.accept()
        return cls(socket, authenticator)

    async def identify(self) -> Principal:
        """Authenticate; raise `Closed`."""
        self.principal = await authenticate(self._socket, self._authenticator)
        return self.principal

    async def send(self, text: str) -> None:
        """Send one frame."""
        await self._socket.send_text(text)

    def end(self, code: CloseCode, reason: str) -> None:
        """End the connection from outside: replaced, too slow."""
        if not self._ended.done():
            self._ended.set_result(Closed(code, reason))

    async def listen(self) -> None:
        """Read until the connection ends; raise `Closed` where the hub ends it."""
        reading: asyncio.Task[str] | None = None
        try:
            while True:
                reading = reading or asyncio.create_task(receive_text(self._socket))
                left = self.principal.expires_at - time.time()
                if left <= 0:
                    raise Closed(CloseCode.UNAUTHENTICATED, "the token has expired; send a new one")
                waited: set[asyncio.Future[Any]] = {reading, self._ended}
                await asyncio.wait(
                    waited,
                    timeout=min(left, LONGEST_WAIT),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if self._ended.done():
                    raise self._ended.result()
                if reading.done():
                    text, reading = reading.result(), None
                    await self._hear(text)
        finally:
            if reading is not None:
                reading.cancel()
                with suppress(asyncio.CancelledError, WebSocketDisconnect, Closed, RuntimeError):
                    await reading

    async def _hear(self, text: str) -> None:
        now = time.monotonic()
        if len(self._received) == MESSAGES_PER_MINUTE and now - self._received[0] < MINUTE:
            message = f"more than {MESSAGES_PER_MINUTE} messages a minute"
            raise Closed(CloseCode.TOO_MANY, message)
        self._received.append(now)
        token = token_in(text)
        if token is None:
            return  # anything else is ignored, but counted
        renewed = await verify(self._authenticator, token)
        if (renewed.sub, renewed.role) != (self.principal.sub, self.principal.role):
            message = "the token is of another sub or role; connect anew"
            raise Closed(CloseCode.UNAUTHENTICATED, message)
        self.principal = renewed

    async def close(self, closed: Closed) -> None:
        """Tell the peer why the connection ends."""
        reason = closed.reason.encode()[:REASON_BYTES].decode("utf-8", "ignore")
        with suppress(RuntimeError, OSError):  # the peer may have gone first
            await self._socket.close(code=int(closed.code), reason=reason)


async def unavailable(connection: Connection, error: PyMongoError | Unavailable) -> None:
    """End a connection that cannot be served for now; the client comes back."""
    log.warning("a handshake failed, a dependency is away: %s", error)
    await connection.close(Closed(CloseCode.RESTART, "not available for now; reconnect"))
