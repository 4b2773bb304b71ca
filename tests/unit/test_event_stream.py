"""What an event stream sends, seen from the server's side of it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, cast

import pytest

from analytics.identity import Principal
from analytics.messages import Frame
from analytics.subjects import PLATFORM, Subject
from realtime import events
from realtime.events import EventStream, Streams, version_seen
from realtime.outgoing import Outgoing

if TYPE_CHECKING:
    from realtime.hub import Hub
    from realtime.viewer import Viewer


def frame(version: int) -> Outgoing:
    return Outgoing(Frame(version, f'{{"version":{version}}}'))


class Room:
    """Stands where the hub and its registry stand: lets viewers in and out."""

    def __init__(self) -> None:
        self.viewers: set[Viewer] = set()
        self.registry = self
        self.seats = 0

    def enter(self) -> None:
        self.seats += 1

    def exit(self) -> None:
        self.seats -= 1

    async def take_seat(self, _: str) -> None:
        self.seats += 1

    def leave_seat(self, _: str) -> None:
        self.seats -= 1

    async def join(self, _: Subject, viewer: Viewer) -> None:
        self.viewers.add(viewer)
        viewer.offer(frame(1))

    def leave(self, _: Subject, viewer: Viewer) -> None:
        self.viewers.discard(viewer)


class Client:
    """The other end of one stream: it reads only while it may."""

    def __init__(self, *, seen: int = -1, ttl: float = 60, stall: float = 10) -> None:
        self.room = Room()
        self.streams = Streams()
        self.sent: list[dict[str, Any]] = []
        self.grown = asyncio.Event()
        self.reads = asyncio.Event()
        self.reads.set()
        self.left = asyncio.Event()
        principal = Principal("prof", "instructor", time.time() + ttl)
        stream = EventStream(self.streams, cast("Hub", self.room), PLATFORM, principal, seen, stall)
        self.task = asyncio.create_task(self._serve(stream))

    async def _serve(self, stream: EventStream) -> None:
        await stream({}, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        await self.reads.wait()
        self.sent.append(message)
        self.grown.set()

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.sent).decode()

    @property
    def ids(self) -> list[int]:
        return [int(line[4:]) for line in self.text.splitlines() if line.startswith("id: ")]

    async def until(self, part: str) -> None:
        async with asyncio.timeout(10):
            while part not in self.text:
                await self.grown.wait()
                self.grown.clear()

    async def ended(self) -> None:
        async with asyncio.timeout(10):
            await self.task
        assert self.room.viewers == set()
        assert self.room.seats == 0


async def test_a_slow_reader_holds_one_frame_the_newest() -> None:
    client = Client()
    await client.until("id: 1\n")
    client.reads.clear()
    (viewer,) = client.room.viewers
    for version in range(2, 101):
        viewer.offer(frame(version))
        await asyncio.sleep(0)
    client.reads.set()
    await client.until("id: 100\n")
    assert client.ids == [1, 2, 100]  # 2 was being written when the reading stopped
    client.left.set()
    await client.ended()


async def test_a_reader_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "FAREWELL_SECONDS", 0.05)
    client = Client(stall=0.05)
    await client.until("id: 1\n")
    client.reads.clear()
    (viewer,) = client.room.viewers
    viewer.offer(frame(2))
    await client.ended()


async def test_a_reader_that_takes_no_heartbeat_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(events, "FAREWELL_SECONDS", 0.05)
    client = Client(stall=0.05)
    await client.until("id: 1\n")
    client.reads.clear()
    await client.ended()


async def test_silence_is_broken_by_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.01)
    client = Client()
    await client.until(": \n\n: \n\n")
    client.left.set()
    await client.ended()


@pytest.mark.parametrize("reason", ["the token expires", "the server stops"])
async def test_a_stream_is_completed_when(reason: str) -> None:
    client = Client(ttl=1 if reason == "the token expires" else 60)
    await client.until("id: 1\n")
    if reason == "the server stops":
        client.streams.end_all()
    await client.ended()
    assert client.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


async def test_a_stream_opened_while_the_server_stops_ends_at_once() -> None:
    client = Client()
    client.streams.end_all()
    await client.ended()


async def test_what_was_seen_is_not_sent_again() -> None:
    client = Client(seen=1)
    await client.until("retry: ")
    (viewer,) = client.room.viewers
    viewer.offer(frame(1))
    viewer.offer(frame(2))
    await client.until("id: 2\n")
    assert client.ids == [2]
    client.left.set()
    await client.ended()


NONSENSE = (None, "", "x", "-1", "٣", "9" * 20)
VERSIONS = (("0", 0), ("1763886000000", 1_763_886_000_000))


@pytest.mark.parametrize(("header", "version"), [*((text, -1) for text in NONSENSE), *VERSIONS])
def test_only_a_number_names_a_version(header: str | None, version: int) -> None:
    assert version_seen(header) == version
