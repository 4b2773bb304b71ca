"""What the hub needs of a connection, and how it gets it from any ASGI server.

A line takes frames while it is not full, tells its guest what happens to it, and can be closed.
`realtime/protocol.py` is the line on uvicorn: it needs no task and no queue. `AsgiLine` is the line
everywhere else: it reads in the task of the request, and has one more task only while it sends.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect

from realtime.closing import Closed
from realtime.outgoing import Outgoing

EXTENSION = "coursepulse.line"
REASON_BYTES = 123
GONE = (RuntimeError, OSError, WebSocketDisconnect)
"""What sending to a peer that has left raises, depending on how far it got."""


class Guest(Protocol):
    """Whoever uses a line; the line calls these."""

    @property
    def stall_seconds(self) -> float:
        """How long the line may be full before `stalled`."""

    def heard(self, text: str, size: int) -> None:
        """Take a message of the client, which came as so many bytes."""

    def drained(self) -> None:
        """Learn that the line is not full any more."""

    def stalled(self) -> None:
        """Learn that the line has been full for too long."""

    def gone(self) -> None:
        """Learn that the connection has ended; the last call, and it always comes."""


class Line(Protocol):
    """One connection, as the hub sees it."""

    @property
    def full(self) -> bool:
        """Whether something is still waiting to be handed to the network."""

    def put(self, frame: Outgoing) -> None:
        """Send a frame; only while not full."""

    def attach(self, guest: Guest) -> None:
        """Call this guest from now on."""

    async def run(self) -> None:
        """Be served as long as the server needs the request's task for it."""

    def close(self, closed: Closed) -> None:
        """Tell the peer why, and end the connection."""


def line_of(socket: WebSocket) -> Line:
    """Return the line of an accepted socket: the server's own where it offers one."""
    offered = socket.scope.get("extensions", {}).get(EXTENSION)
    line: Line = AsgiLine(socket) if offered is None else offered["line"]
    return line


def short(reason: str) -> str:
    """Return a close reason cut to what a close frame can hold."""
    return reason.encode()[:REASON_BYTES].decode("utf-8", "ignore")


class AsgiLine:
    """A line through nothing but ASGI messages."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._guest: Guest
        self._sender: asyncio.Task[None] | None = None
        self._closing: asyncio.Future[Closed] = asyncio.get_running_loop().create_future()

    @property
    def full(self) -> bool:
        """Whether a frame is being sent."""
        return self._sender is not None

    def put(self, frame: Outgoing) -> None:
        """Send a frame in a task that ends with it."""
        self._sender = asyncio.create_task(self._send(frame.text))

    def attach(self, guest: Guest) -> None:
        """Call this guest from `run` on."""
        self._guest = guest

    def close(self, closed: Closed) -> None:
        """End `run`, which tells the peer."""
        if not self._closing.done():
            self._closing.set_result(closed)

    async def run(self) -> None:
        """Read until either side ends the connection."""
        reading = asyncio.create_task(self._read())
        try:
            either: set[asyncio.Future[Any]] = {reading, self._closing}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading
            if self._sender is not None:
                self._sender.cancel()
            self._guest.gone()
        if self._closing.done():
            closed = self._closing.result()
            await tell(self._socket, closed)

    async def _read(self) -> None:
        with suppress(WebSocketDisconnect):  # it ends `run`, and needs no word
            while True:
                self._guest.heard(*await receive(self._socket))

    async def _send(self, text: str) -> None:
        try:
            async with asyncio.timeout(self._guest.stall_seconds):
                await self._socket.send_text(text)
        except TimeoutError:
            self._guest.stalled()
            return
        except GONE:  # under the send; the reader notices too
            return
        self._sender = None
        self._guest.drained()


async def receive(socket: WebSocket) -> tuple[str, int]:
    """Return the next message's text and its size in bytes, whatever its kind."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1006))
    return content(message)


async def tell(socket: WebSocket, closed: Closed) -> None:
    """Close a socket with its code."""
    with suppress(*GONE):  # the peer may have gone first
        await socket.close(code=int(closed.code), reason=short(closed.reason))


def content(message: Any) -> tuple[str, int]:
    """Return the text and the size in bytes of a received ASGI message."""
    text = message.get("text")
    if text is not None:
        return text, len(text.encode())
    data = message.get("bytes") or b""
    return text_of(data), len(data)


def text_of(data: bytes) -> str:
    """Return the text of a binary message; one that is no text says nothing."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return ""
