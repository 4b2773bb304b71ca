"""An open-loop stream of events over HTTP, and the publications that it leads to, heard from Redis.

Events are sent at Poisson times whether or not earlier ones were answered. Each adds a minute of
watch time to its course, so a publication's minutes say how many of the course's events it holds:
the n-th event counts as published by the first publication whose total is n or more. At the end
one event goes to a course that had none: what others' load costs a course that is quiet.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import redis.asyncio

from analytics.settings import Settings
from analytics.stores.redis import connect_feed
from bench.http_client import Connection
from bench.scenario import LESSONS, Scenario, student_name
from bench.viewers import IDLE_SECONDS

CHANNELS = "analytics:*"
PLATFORM = "analytics:platform"


@dataclass(frozen=True, slots=True)
class Flow:
    """What is sent: `rate` events a second for so many seconds, over the scenario's courses.

    `patience`: how long, in seconds, the last publications are waited for.
    """

    scenario: Scenario
    quiet_course: str
    rate: float
    seconds: float
    patience: float
    seed: int = 7


@dataclass(slots=True)
class Seen:
    """What came of it; times are in seconds, those of `accepted` are `time.monotonic()`."""

    accepted: list[float] = field(default_factory=list)
    """When each event was answered, the quiet course's included."""
    acks: list[float] = field(default_factory=list)
    lateness: list[float] = field(default_factory=list)
    published: list[float] = field(default_factory=list)
    """Event → publication that holds it; for those unpublished in the end, their age."""
    unpublished: int = 0
    refused: int = 0
    publications: int = 0
    quiet: float | None = None
    """Event → publication for the one event of the quiet course; None: not in time."""
    courses_not_exact: int = 0
    """Courses whose last publication is not exactly what was accepted (refused: either way)."""
    cpu_seconds: float = 0.0


class Stream:
    """One run of a flow. `minutes` holds what each course has, and is kept up to date."""

    def __init__(self, settings: Settings, flow: Flow, minutes: Counter[str]) -> None:
        self._settings = settings
        self._flow = flow
        self._minutes = minutes
        self._base = Counter(minutes)
        self._random = random.Random(flow.seed)
        self._sent: dict[str, list[float]] = {}
        self._shown: Counter[str] = Counter()
        self._last: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._idle: list[tuple[float, Connection]] = []
        self._sending: set[asyncio.Task[None]] = set()
        self._seen = Seen()

    async def run(self, at_end: Callable[[], None]) -> Seen:
        """Send, call `at_end` when all is answered, then wait for the last publications."""
        cpu = time.process_time()
        feed = connect_feed(self._settings)
        async with feed.pubsub() as subscription:
            await subscription.psubscribe(CHANNELS)
            listener = asyncio.create_task(self._listen(subscription))
            await self._send_events()
            if self._sending:
                await asyncio.wait(self._sending)
            at_end()
            await self._until_published(self._flow.patience)
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)
        await feed.aclose()
        for _, connection in self._idle:
            connection.close()
        self._conclude()
        self._seen.cpu_seconds = time.process_time() - cpu
        return self._seen

    async def _listen(self, subscription: redis.asyncio.client.PubSub) -> None:
        async for message in subscription.listen():
            if message["type"] == "pmessage" and message["channel"] != PLATFORM:
                self._show(json.loads(message["data"])["analytics"])

    def _show(self, analytics: dict[str, Any]) -> None:
        now = time.monotonic()
        course = analytics["course_id"]
        self._seen.publications += 1
        self._last[course] = round(analytics["total_watch_time_minutes"])
        contained = self._last[course] - self._base[course]
        delays = [now - at for at in self._sent.get(course, [])[self._shown[course] : contained]]
        self._shown[course] = max(self._shown[course], contained)
        if course != self._flow.quiet_course:
            self._seen.published += delays
        elif delays and self._seen.quiet is None:
            self._seen.quiet = delays[0]

    async def _send_events(self) -> None:
        flow = self._flow
        began, due = time.monotonic(), 0.0
        while True:
            due += self._random.expovariate(flow.rate)
            course = self._random.choice(flow.scenario.courses)
            student = student_name(self._random.randrange(flow.scenario.students))
            pause = began + min(due, flow.seconds) - time.monotonic()
            if pause > 0:
                await asyncio.sleep(pause)
            if due > flow.seconds:
                self._send(flow.quiet_course, student_name(0))
                return
            self._seen.lateness.append(time.monotonic() - began - due)
            self._send(course, student)

    def _send(self, course: str, student: str) -> None:
        lesson = self._random.randrange(LESSONS)
        request = self._flow.scenario.watch(course, student, lesson)
        sending = asyncio.create_task(self._post(course, request))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)

    async def _post(self, course: str, request: bytes) -> None:
        connection = await self._connection()
        sent = time.monotonic()
        self._sent.setdefault(course, []).append(sent)
        answer = await connection.send(request)
        now = time.monotonic()
        if answer.status != 202:
            # It may be stored all the same; it is owed to nobody.
            self._seen.refused += 1
            self._refused[course] += 1
            self._sent[course].remove(sent)
        else:
            self._seen.accepted.append(now)
            self._seen.acks.append(now - sent)
            self._minutes[course] += 1
        self._idle.append((now, connection))

    async def _connection(self) -> Connection:
        """Return the connection used last; old ones may be closed from the other end."""
        while self._idle:
            used_at, connection = self._idle.pop()
            if time.monotonic() - used_at < IDLE_SECONDS:
                return connection
            connection.close()
        return await Connection.open(self._flow.scenario.port)

    async def _until_published(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self._behind() and time.monotonic() < deadline:  # noqa: ASYNC110  # cheap enough
            await asyncio.sleep(0.02)

    def _behind(self) -> list[str]:
        return [course for course in self._sent if not self._is_exact(course)]

    def _is_exact(self, course: str) -> bool:
        """Say whether the last publication holds what was accepted, and nothing never sent."""
        beyond = self._last[course] - self._minutes[course]
        return not self._sent[course] or 0 <= beyond <= self._refused[course]

    def _conclude(self) -> None:
        now = time.monotonic()
        for course, sent in self._sent.items():
            missing = sent[self._shown[course] :]
            if course != self._flow.quiet_course:
                self._seen.unpublished += len(missing)
                self._seen.published += [now - at for at in missing]
        self._seen.courses_not_exact = len(self._behind())
