"""A cheap HTTP/1.1 client: requests are ready-made bytes, answers are a status and a length.

The client shares the machine's cores with what it measures, so it does next to nothing.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


def request_bytes(method: str, path: str, token: str, body: dict[str, Any] | None = None) -> bytes:
    """Return a whole request, ready to send."""
    content = b"" if body is None else json.dumps(body).encode()
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


class Answer(tuple[int, bytes]):
    """Status and body."""

    __slots__ = ()

    @property
    def status(self) -> int:
        """The status code."""
        return self[0]

    def json(self) -> Any:
        """Return the decoded body."""
        return json.loads(self[1])


class Connection(asyncio.Protocol):
    """One keep-alive connection; one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._waiting: asyncio.Future[Answer] | None = None

    @classmethod
    async def open(cls, port: int) -> Connection:
        """Connect to a port of this machine."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(cls, "127.0.0.1", port)
        return connection

    def send(self, request: bytes) -> asyncio.Future[Answer]:
        """Send the bytes; the future holds the answer."""
        assert self._transport is not None
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._waiting

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail who waits."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(exc or ConnectionError("the server hung up"))

    def data_received(self, data: bytes) -> None:
        """Complete the answer where all of it is there."""
        self._buffer += data
        head, end, rest = self._buffer.partition(_END)
        if not end:
            return
        lower = head.lower()
        at = lower.find(_LENGTH)
        length = 0 if at < 0 else int(lower[at + len(_LENGTH) :].split(b"\r\n", 1)[0])
        if len(rest) < length:
            return
        self._buffer = b""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(Answer((int(head[9:12]), rest)))
