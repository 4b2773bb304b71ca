"""A WebSocket client that can be as wrong as a test wants: every byte it sends is chosen.

It speaks RFC 6455 over a blocking TCP socket. What the server sends is held against the standard.
"""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import struct
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

PATIENCE = 15.0
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
KEY = base64.b64encode(b"sixteen bytes!!!").decode()


class Opcode(IntEnum):
    """The opcodes that the standard defines."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


@dataclass(frozen=True)
class Frame:
    """A frame as the server sent it."""

    opcode: Opcode
    payload: bytes


@dataclass(frozen=True)
class Ending:
    """How the server ended the connection; no code where it only closed TCP."""

    code: int | None
    reason: str = ""


@dataclass(frozen=True)
class Answer:
    """The HTTP answer to a handshake."""

    status: int
    headers: dict[str, str]


def frame(  # noqa: PLR0913  # each is one field of a frame's header
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    reserved: int = 0,
    masked: bool = True,
    declared: int | None = None,
    length_bytes: int | None = None,
) -> bytes:
    """Return a frame; `declared` is the length it claims, in 0, 2 or 8 further bytes."""
    length = len(payload) if declared is None else declared
    if length_bytes is None:
        length_bytes = 0 if length < 126 else 2 if length < 65_536 else 8
    mark = {0: length, 2: 126, 8: 127}[length_bytes]
    head = bytes([fin << 7 | reserved << 4 | opcode, masked << 7 | mark])
    head += length.to_bytes(length_bytes, "big") if length_bytes else b""
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


def close_frame(code: int, reason: bytes = b"") -> bytes:
    """Return a close frame with any code."""
    return frame(Opcode.CLOSE, struct.pack("!H", code) + reason)


def handshake(
    path: str,
    *,
    token: str | None = None,
    method: str = "GET",
    version: str = "HTTP/1.1",
    changes: Mapping[str, str | None] | None = None,
) -> bytes:
    """Return an opening handshake; `changes` replace headers, None takes one away."""
    headers: dict[str, str | None] = {
        "Host": "127.0.0.1",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
        "Authorization": None if token is None else f"Bearer {token}",
    }
    headers |= changes or {}
    lines = [f"{method} {path} {version}"]
    lines += [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join([*lines, "", ""]).encode()


class RawSocket:
    """A TCP connection to the server, with or without a WebSocket in it."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        self._deadline = time.monotonic() + PATIENCE

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @classmethod
    def open(cls, port: int, path: str, token: str | None = None) -> Self:
        """Connect and do the opening handshake as the standard wants it."""
        opened = cls(port)
        try:
            opened.send(handshake(path, token=token))
            answer = opened.answer()
            assert answer.status == 101, answer
            accept = base64.b64encode(hashlib.sha1(KEY.encode() + MAGIC).digest())  # noqa: S324
            assert answer.headers["sec-websocket-accept"] == accept.decode()
        except BaseException:
            opened._socket.close()
            raise
        return opened

    def send(self, *data: bytes) -> None:
        """Send these bytes and nothing else."""
        self._socket.sendall(b"".join(data))

    def send_or_lose(self, data: bytes) -> None:
        """Send these bytes to a server that may close before it has read them all."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(data)

    def wait_at_most(self, seconds: float) -> None:
        """Let all further reads together wait this long for the server."""
        self._deadline = time.monotonic() + seconds

    def leave(self, *, abruptly: bool) -> None:
        """Close TCP without a close frame: in order, or with a reset."""
        if abruptly:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def answer(self) -> Answer:
        """Read the head of an HTTP answer."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._more():
                message = f"closed instead of an answer, after {bytes(self._buffer)!r}"
                raise EOFError(message)
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        self._buffer[:] = rest
        status, *lines = head.decode("latin-1").split("\r\n")
        fields = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in fields}
        return Answer(int(status.split(" ")[1]), headers)

    def frame(self) -> Frame | None:
        """Read a frame; None where the server closed TCP."""
        while len(self._buffer) < 2:
            if not self._more():
                assert not self._buffer, "TCP ended within a frame"
                return None
        first, second = self._buffer[:2]
        assert first & 0xF0 == 0x80, "the server sends whole messages, without reserved bits"
        assert not second & 0x80, "a server does not mask"
        extra = {126: 2, 127: 8}.get(second, 0)
        self._fill(2 + extra)
        length = int.from_bytes(self._buffer[2 : 2 + extra], "big") if extra else second
        end = 2 + extra + length
        self._fill(end)
        received = Frame(Opcode(first & 0x0F), bytes(self._buffer[2 + extra : end]))
        del self._buffer[:end]
        return received

    def frame_of(self, opcode: Opcode) -> Frame:
        """Read until a frame of this opcode."""
        while True:
            received = self.frame()
            assert received is not None, f"closed before a {opcode.name} frame"
            if received.opcode is opcode:
                return received

    def ending(self, *, answer_close: bool = True) -> Ending:
        """Read until the server closes TCP; its close frame is answered with its own code."""
        ended: Ending | None = None
        while (received := self.frame()) is not None:
            assert ended is None, f"{received} after the close frame"
            if received.opcode is Opcode.CLOSE:
                code = struct.unpack("!H", received.payload[:2])[0] if received.payload else None
                ended = Ending(code, received.payload[2:].decode())
                if answer_close:
                    self.send_or_lose(frame(Opcode.CLOSE, received.payload[:2]))
        return ended or Ending(None)

    def _fill(self, size: int) -> None:
        while len(self._buffer) < size:
            assert self._more(), "TCP ended within a frame"

    def _more(self) -> bool:
        """Read what is there; False at the end, however TCP came to it."""
        self._socket.settimeout(max(self._deadline - time.monotonic(), 0.001))
        try:
            data = self._socket.recv(65_536)
        except ConnectionResetError:
            return False
        self._buffer += data
        return bool(data)
