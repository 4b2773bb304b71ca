"""The three ways in which the ways under test are given a message."""

from __future__ import annotations

import asyncio
from typing import Protocol

import redis.asyncio

from bench.http_client import Connection


class Publisher(Protocol):
    """Gives the system a message that all viewers are to see."""

    async def publish(self, message: str) -> None:
        """Hand it over; it arrives later."""


class RedisPublisher:
    """A Redis channel: `redis <url> <channel>`."""

    def __init__(self, url: str, channel: str) -> None:
        self._client = redis.asyncio.Redis.from_url(url)
        self._channel = channel

    async def publish(self, message: str) -> None:
        """Publish."""
        await self._client.publish(self._channel, message)


class HttpPublisher:
    """The system's own route for publications: `http <port> <path>`."""

    def __init__(self, connection: Connection, port: int, path: str) -> None:
        self._connection = connection
        self._head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"

    async def publish(self, message: str) -> None:
        """Post."""
        body = message.encode()
        head = f"{self._head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        answer = await self._connection.send(head.encode() + body)
        assert answer.status < 300, f"the publication was refused: {answer.status}"


class CommandPublisher:
    """A program of the system's library that takes a message per line: `command <words>`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def publish(self, message: str) -> None:
        """Write the line."""
        assert self._process.stdin is not None
        self._process.stdin.write(message.encode() + b"\n")
        await self._process.stdin.drain()


async def open_publisher(kind: str, *words: str) -> Publisher:
    """Return what the words describe."""
    if kind == "redis":
        return RedisPublisher(*words)
    if kind == "http":
        port, path = int(words[0]), words[1]
        return HttpPublisher(await Connection.open(port), port, path)
    process = await asyncio.create_subprocess_exec(*words, stdin=asyncio.subprocess.PIPE)
    return CommandPublisher(process)
