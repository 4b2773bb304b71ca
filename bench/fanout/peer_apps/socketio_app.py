"""The peer python-socketio: a room over its Redis manager, as its manual has it for several hosts.

Runs in the peers' own environment. As a program it publishes the lines of stdin into the room.
"""

import asyncio
import json
import os
import sys
from typing import Any

import socketio

ROOM = "course"

URL = os.environ["REDIS_URL"]


async def publish() -> None:
    """Emit each line from outside the server, by a write-only manager."""
    manager = socketio.AsyncRedisManager(URL, write_only=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        await manager.emit("course_analytics_update", json.loads(line), room=ROOM)


if __name__ == "__main__":
    asyncio.run(publish())
else:
    server = socketio.AsyncServer(
        async_mode="asgi", client_manager=socketio.AsyncRedisManager(URL), cors_allowed_origins="*"
    )
    app = socketio.ASGIApp(server)

    @server.event
    async def connect(sid: str, environ: Any, auth: Any) -> None:  # noqa: ARG001  # its signature
        """Put everybody into the room."""
        await server.enter_room(sid, ROOM)
