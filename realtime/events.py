"""Frames as Server-Sent Events, for clients that a proxy keeps from WebSockets.

A stream is a viewer like any socket: the same mailbox of one, the same frames, the same end for
one that stops reading. It ends with its token, with its client, and before the server stops, which
would wait for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING

from starlette.responses import Response

from analytics.identity import Principal
from analytics.subjects import Subject
from realtime.closing import Closed
from realtime.hub import Hub
from realtime.outgoing import Outgoing
from realtime.viewer import Viewer
from realtime.visit import Visit

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

HEARTBEAT_SECONDS = 15.0
LONGEST_WAIT = 86_400.0
FAREWELL_SECONDS = 1.0
RETRY_MS = (1_000, 5_000)
"""When a browser's EventSource comes back: each at another moment, for a restart ends them all."""
_LONGEST_VERSION = 19  # digits

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would hold frames back until its buffer is full
}


class Streams:
    """The streams of this process, so that they can be ended before the server stops."""

    def __init__(self) -> None:
        self._ends: set[asyncio.Future[None]] = set()
        self._ended = False

    def open(self) -> asyncio.Future[None]:
        """Return what is done when a new stream must end."""
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ends.add(end)
        end.add_done_callback(self._ends.discard)
        if self._ended:
            end.set_result(None)
        return end

    def end_all(self) -> None:
        """End every stream, and at once those still to come."""
        self._ended = True
        for end in list(self._ends):
            _finish(end)


class EventStream(Response):
    """The answer that goes on until its token expires, its client goes or the server stops.

    `seen` is the newest version that the client already has, -1 without any. Raises `TooMany`
    before anything is sent.
    """

    def __init__(  # noqa: PLR0913  # who, what, and since when, of one answer
        self,
        streams: Streams,
        hub: Hub,
        subject: Subject,
        principal: Principal,
        seen: int,
        stall_seconds: float,
    ) -> None:
        # Not Response's own constructor: it would promise a body of length 0.
        self.status_code = 200
        self.background = None
        self.init_headers(HEADERS)
        self._streams = streams
        self._hub = hub
        self._subject = subject
        self._principal = principal
        self._seen = seen
        self._stall_seconds = stall_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Serve the stream."""
        visit = Visit(self._hub)
        try:
            await visit.take_seat(self._principal.sub)
            await self._serve(visit, receive, send)
        finally:
            visit.end()

    async def _serve(self, visit: Visit, receive: Receive, send: Send) -> None:
        end = self._streams.open()
        line = _EventLine(send, lambda: _finish(end), self._stall_seconds)
        viewer = Viewer(line, self._principal, self._seen)
        line.on_drained = viewer.drained
        tasks = [asyncio.create_task(_gone(receive))]
        try:
            await visit.join(self._subject, viewer)
            start = {"status": self.status_code, "headers": self.raw_headers}
            await send({"type": "http.response.start", **start})
            tasks.append(asyncio.create_task(line.beat()))
            await self._until_ended({end, *tasks})
        finally:
            for task in (*tasks, *line.tasks):
                task.cancel()
            await asyncio.gather(*tasks, *line.tasks, return_exceptions=True)
            _finish(end)
        with suppress(TimeoutError):  # one that does not read is not told
            async with asyncio.timeout(FAREWELL_SECONDS):
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _until_ended(self, reasons: set[asyncio.Future[None]]) -> None:
        while (left := self._principal.expires_at - time.time()) > 0:
            done, _ = await asyncio.wait(
                reasons, timeout=min(left, LONGEST_WAIT), return_when=asyncio.FIRST_COMPLETED
            )
            if done:
                return


class _EventLine:
    """Writes events and heartbeats, one at a time; full until the answer has begun."""

    def __init__(self, send: Send, end: Callable[[], None], stall_seconds: float) -> None:
        self._send = send
        self._end = end
        self._stall_seconds = stall_seconds
        self._turn = asyncio.Lock()
        self.on_drained: Callable[[], None] = end
        self.full = True
        self.tasks: set[asyncio.Task[None]] = set()

    def put(self, frame: Outgoing) -> None:
        """Write a frame as an event whose id is its version."""
        self.full = True
        task = asyncio.create_task(self._write(frame.event, drains=True))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def close(self, closed: Closed) -> None:  # noqa: ARG002  # the next request is told why
        """End the stream."""
        self._end()

    async def beat(self) -> None:
        """Begin, then write a comment every `HEARTBEAT_SECONDS`, so that no proxy sees silence."""
        retry = Random().randint(*RETRY_MS)  # noqa: S311  # spreads a crowd, keeps no secret
        await self._write(f"retry: {retry}\n\n".encode(), drains=True)
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            await self._write(b": \n\n")

    async def _write(self, body: bytes, *, drains: bool = False) -> None:
        try:
            async with asyncio.timeout(self._stall_seconds), self._turn:
                await self._send({"type": "http.response.body", "body": body, "more_body": True})
        except TimeoutError:
            self._end()
            return
        if drains:
            self.full = False
            self.on_drained()


def version_seen(last_event_id: str | None) -> int:
    """Return the version that a `Last-Event-ID` header names; -1 for none and for nonsense."""
    text = last_event_id or ""
    if not text.isascii() or not text.isdecimal() or len(text) > _LONGEST_VERSION:
        return -1
    return int(text)


async def _gone(receive: Receive) -> None:
    """Wait until the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _finish(end: asyncio.Future[None]) -> None:
    if not end.done():
        end.set_result(None)
