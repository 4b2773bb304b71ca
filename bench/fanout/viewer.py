"""One viewer of the load: a WebSocket client that costs little, so that thousands fit in a core.

It opens the socket, says what its peer wants to hear, counts the messages that hold the version
waited for, and answers pings of every kind: RFC 6455's, Engine.IO's and Centrifuge's.
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import cast

from bench.fanout.plan import Plan

HEAD_END = b"\r\n\r\n"
PING, PONG, CLOSE, TEXT = 9, 10, 8, 1
NO_MASK = b"\0\0\0\0"  # a mask all the same, as the protocol asks
TEXT_PINGS = {b"2": b"3", b"{}": b"{}"}
MOST = 125  # bytes in a frame with the short length
STOPPED_BUFFER = 4096


class Board:
    """What all viewers of a load share: the version waited for, and who has seen it when."""

    def __init__(self) -> None:
        self.marker = b"\xff"
        self.wanted = 0
        self.times: list[float] = []
        self.reached = asyncio.Event()
        self.lost = 0
        self.refusals: list[str] = []

    def expect(self, version: int, viewers: int) -> None:
        """Wait for a version from now on."""
        self.marker = b'"version":%d' % version
        self.wanted = viewers
        self.times = []
        self.reached.clear()

    def seen(self) -> None:
        """Count one viewer that has it."""
        self.times.append(time.perf_counter())
        if len(self.times) == self.wanted:
            self.reached.set()

    def lacks(self) -> bool:
        """Say whether viewers are missing."""
        return len(self.times) < self.wanted


class Viewer(asyncio.Protocol):
    """A connection; `ready` once the peer has let it in and it has said its `hello`."""

    def __init__(self, board: Board, request: bytes, hello: list[str]) -> None:
        self.ready = asyncio.get_running_loop().create_future()
        self.close_code: int | None = None
        self.received = 0
        self._board = board
        self._request = request
        self._hello = hello
        self._buffer = b""
        self._is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the socket."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Read the frames that are complete."""
        buffer = self._buffer + data
        if not self._is_open:
            end = buffer.find(HEAD_END)
            if end < 0:
                self._buffer = buffer
                return
            if not buffer.startswith(b"HTTP/1.1 101"):
                self._refused(buffer[:end].decode(errors="replace"))
                return
            buffer = buffer[end + len(HEAD_END) :]
            self._is_open = True
            for text in self._hello:
                self._send(TEXT, text.encode())
            self._admitted()
        at = 0
        while len(buffer) - at >= 2:
            size, head = buffer[at + 1], 2
            if size == 126:
                size, head = int.from_bytes(buffer[at + 2 : at + 4], "big"), 4
            if len(buffer) - at < head + size:
                break
            self._frame(buffer[at] & 15, buffer[at + head : at + head + size])
            at += head + size
        self._buffer = buffer[at:]

    def connection_lost(self, _: Exception | None) -> None:
        """Count it: a lost viewer is not waited for."""
        self._board.lost += 1
        self._refused("the connection was closed")

    def _admitted(self) -> None:
        if not self.ready.done():
            self.ready.set_result(None)

    def _refused(self, why: str) -> None:
        if not self.ready.done():
            self._board.refusals.append(why)
            self.ready.set_result(None)

    def _frame(self, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            self.received += 1
            if self._board.marker in payload:
                self._board.seen()
            elif payload in TEXT_PINGS:
                self._send(TEXT, TEXT_PINGS[payload])
        elif opcode == PING:
            self._send(PONG, payload)
        elif opcode == CLOSE:
            self.close_code = int.from_bytes(payload[:2], "big")
            self._send(CLOSE, payload[:2])

    def _send(self, opcode: int, payload: bytes) -> None:
        size = len(payload)
        assert size <= MOST, "the load says short things only"
        self.transport.write(bytes((0x80 | opcode, 0x80 | size)) + NO_MASK + payload)


async def open_viewer(plan: Plan, board: Board, number: int) -> Viewer:
    """Connect the viewer of this number; whether it is let in, its `ready` tells."""
    loop, peer = asyncio.get_running_loop(), socket.socket()
    if number < plan.stops:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STOPPED_BUFFER)
    peer.setblocking(False)
    await loop.sock_connect(peer, ("127.0.0.1", plan.port))
    request = handshake(plan, plan.headers[number % len(plan.headers)])
    _, viewer = await loop.create_connection(
        lambda: Viewer(board, request, list(plan.hello)), sock=peer
    )
    return viewer


def handshake(plan: Plan, header: str) -> bytes:
    """Return the request for a WebSocket, without compression."""
    lines = [
        f"GET {plan.path} HTTP/1.1",
        f"Host: 127.0.0.1:{plan.port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *([header] if header else []),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
