"""A WebSocket client for tests: real sockets, real close codes."""

from __future__ import annotations

import asyncio
import json
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError

from tests.contract.conftest import Classroom, httpx_quote

PATIENCE = 15.0


class Door(Protocol):
    """Where sockets are opened: an installation, or a hub on its own."""

    @property
    def socket_url(self) -> str:
        """Such as `ws://127.0.0.1:8000`."""


def dial(
    door: Door, path: str, token: str | None = None, **headers: str
) -> AbstractAsyncContextManager[ClientConnection]:
    """Open a socket, with a bearer header where a token is given."""
    given = dict(headers)
    if token is not None:
        given["Authorization"] = f"Bearer {token}"
    return connect(door.socket_url + path, additional_headers=given, max_size=None)


def course_path(room: Classroom) -> str:
    return f"/realtime/course/{httpx_quote(room.course_id)}"


def owner_token(room: Classroom, ttl: float = 600) -> str:
    return room.stack.token("instructor", room.instructor, ttl)


async def frame(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE):
        received: dict[str, Any] = json.loads(await socket.recv())
        return received


async def frame_where(socket: ClientConnection, **numbers: Any) -> dict[str, Any]:
    """Return the first frame with these numbers; versions must grow on the way."""
    version = -1
    while True:
        received = await frame(socket)
        assert received["version"] > version
        version = received["version"]
        shown = received.get("analytics") or received["data"]
        if all(shown[name] == value for name, value in numbers.items()):
            return received


async def close_code(socket: ClientConnection) -> int:
    """Read until the server closes; return its code."""
    async with asyncio.timeout(PATIENCE):
        with suppress(ConnectionClosedError):  # the codes of the contract count as errors there
            async for _ in socket:
                pass
    assert socket.close_code is not None
    return socket.close_code


async def post(room: Classroom, *arguments: Any) -> None:
    answer = await asyncio.to_thread(room.post, *arguments)
    assert answer.status_code == 202, answer.text
