"""The two loops that teams write first, on the product's framework and server.

`uvicorn bench.fanout.naive_hub:app`: `/json` has `send_json` for each connection, `/text` encodes
once and has `send_text` for each. Both are given what a Redis channel brings.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import redis.asyncio
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

CHANNEL = "naive"
json_viewers: list[WebSocket] = []
text_viewers: list[WebSocket] = []


async def relay() -> None:
    """Hand each message of the channel to everybody, one after another."""
    pubsub = redis.asyncio.Redis.from_url(os.environ["REDIS_URL"]).pubsub()
    await pubsub.subscribe(CHANNEL)
    async for item in pubsub.listen():
        if item["type"] != "message":
            continue
        content = json.loads(item["data"])
        for viewer in tuple(json_viewers):  # some may leave meanwhile
            await viewer.send_json(content)
        text = json.dumps(content, separators=(",", ":"))
        for viewer in tuple(text_viewers):
            await viewer.send_text(text)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Relay while the server runs."""
    relaying = asyncio.create_task(relay())
    yield
    relaying.cancel()


app = FastAPI(lifespan=lifespan)


async def _view(viewers: list[WebSocket], socket: WebSocket) -> None:
    await socket.accept()
    viewers.append(socket)
    try:
        with suppress(WebSocketDisconnect):
            while True:
                await socket.receive_text()
    finally:
        viewers.remove(socket)


@app.websocket("/json")
async def view_json(socket: WebSocket) -> None:
    """Be sent JSON."""
    await _view(json_viewers, socket)


@app.websocket("/text")
async def view_text(socket: WebSocket) -> None:
    """Be sent text that was encoded once."""
    await _view(text_viewers, socket)
