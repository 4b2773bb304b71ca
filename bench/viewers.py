"""The load of `latency`: 100 viewers and an open-loop stream of events, in a process of its own.

`python -m bench.viewers` reads a `Plan` as JSON from stdin and writes what it saw to stdout. Events
are sent at Poisson times whether or not earlier ones were answered. Each event adds a minute of
watch time to its course, so a frame's minutes say how many of the course's events it contains: the
n-th event counts as shown by the first frame whose total is n or more.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import uvloop
from websockets.asyncio.client import ClientConnection, connect

from bench.http_client import Connection
from bench.scenario import LESSONS, Scenario, student_name

FIRST_FRAME_SECONDS = 10.0
LAST_FRAME_SECONDS = 30.0
IDLE_SECONDS = 3.0  # the server hangs up after 5


@dataclass(frozen=True, slots=True)
class Plan:
    """What the load is; `newcomers` is the share of events by students new to the course."""

    port: int
    token: str
    viewer_token: str
    courses: tuple[str, ...]
    students: int
    sockets_per_course: int
    rate: float
    seconds: float
    newcomers: float
    seed: int


@dataclass(slots=True)
class Seen:
    """What came of it; times are in seconds."""

    frames: list[float] = field(default_factory=list)
    """Event → frame, for every event and every socket of its course."""
    first_frames: list[float] = field(default_factory=list)
    """Event → frame on the first of the course's sockets."""
    acks: list[float] = field(default_factory=list)
    lateness: list[float] = field(default_factory=list)
    """How much later than planned the event was sent."""
    events: int = 0
    newcomers: int = 0
    refused: int = 0
    frames_received: int = 0
    sockets_behind: int = 0
    """Sockets whose last frame was not exactly what was posted."""
    sending_seconds: float = 0.0
    cpu_seconds: float = 0.0


class Course:
    """One course's events and viewers."""

    def __init__(self, name: str, sockets: int) -> None:
        self.name = name
        self.sent: list[float] = []
        self.students = 0
        self.base: list[int | None] = [None] * sockets
        self.shown = [0] * sockets
        self.last: list[dict[str, Any]] = [{}] * sockets
        self.first_shown = 0


class Load:
    """One run of a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._scenario = Scenario(plan.port, plan.token, plan.courses, plan.students)
        self._random = random.Random(plan.seed)
        self._courses = [Course(name, plan.sockets_per_course) for name in plan.courses]
        self._idle: list[tuple[float, Connection]] = []
        self._sending: set[asyncio.Task[None]] = set()
        self._seen = Seen()

    async def run(self) -> Seen:
        """Connect the viewers, send the events, wait for the last frames."""
        readers = [
            asyncio.create_task(self._view(course, number))
            for course in self._courses
            for number in range(self._plan.sockets_per_course)
        ]
        await self._until(self._all_connected, FIRST_FRAME_SECONDS)
        opened = [await Connection.open(self._plan.port) for _ in range(16)]
        self._idle = [(time.perf_counter(), connection) for connection in opened]
        await asyncio.sleep(0.5)
        self._seen.frames_received = 0
        began, cpu = time.perf_counter(), time.process_time()
        await self._send_events()
        self._seen.sending_seconds = time.perf_counter() - began
        if self._sending:
            await asyncio.wait(self._sending)
        await self._until(self._all_shown, LAST_FRAME_SECONDS)
        self._seen.cpu_seconds = time.process_time() - cpu
        await asyncio.sleep(0.5)  # a frame too many would come now
        self._seen.sockets_behind = sum(
            not self._is_exact(course, number)
            for course in self._courses
            for number in range(self._plan.sockets_per_course)
        )
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        return self._seen

    async def _view(self, course: Course, number: int) -> None:
        url = f"ws://127.0.0.1:{self._plan.port}/realtime/course/{course.name}"
        header = {"Authorization": f"Bearer {self._plan.viewer_token}"}
        socket: ClientConnection
        async with connect(url, additional_headers=header, compression=None) as socket:
            async for text in socket:
                self._show(course, number, time.perf_counter(), json.loads(text)["analytics"])

    def _show(self, course: Course, number: int, now: float, analytics: dict[str, Any]) -> None:
        minutes = round(analytics["total_watch_time_minutes"])
        course.last[number] = analytics
        self._seen.frames_received += 1
        base = course.base[number]
        if base is None:
            course.base[number] = minutes
            course.students = max(course.students, analytics["students"])
            return
        contained = minutes - base
        self._seen.frames += [now - at for at in course.sent[course.shown[number] : contained]]
        course.shown[number] = contained
        if contained > course.first_shown:
            sent = course.sent[course.first_shown : contained]
            self._seen.first_frames += [now - at for at in sent]
            course.first_shown = contained

    async def _send_events(self) -> None:
        began = time.perf_counter()
        due = 0.0
        while True:
            due += self._random.expovariate(self._plan.rate)
            if due > self._plan.seconds:
                return
            course = self._random.choice(self._courses)
            is_new = self._random.random() < self._plan.newcomers
            number = self._seen.events if is_new else self._random.randrange(self._plan.students)
            student = f"newcomer-{self._plan.seed}-{number}" if is_new else student_name(number)
            lesson = self._random.randrange(LESSONS)
            request = self._scenario.watch(course.name, student, lesson)
            pause = began + due - time.perf_counter()
            if pause > 0:
                await asyncio.sleep(pause)
            self._seen.events += 1
            self._seen.newcomers += is_new
            course.students += is_new
            self._seen.lateness.append(time.perf_counter() - began - due)
            sending = asyncio.create_task(self._send(course, request))
            self._sending.add(sending)
            sending.add_done_callback(self._sending.discard)

    async def _send(self, course: Course, request: bytes) -> None:
        connection = await self._connection()
        sent = time.perf_counter()
        course.sent.append(sent)
        try:
            status = (await connection.send(request)).status
        except (OSError, RuntimeError) as error:  # the connection or the server went away
            print(f"an event was not answered: {error}", file=sys.stderr)
            self._seen.refused += 1
            return
        self._seen.acks.append(time.perf_counter() - sent)
        if status != 202:
            print(f"an event was refused: {status}", file=sys.stderr)
            self._seen.refused += 1
        self._idle.append((time.perf_counter(), connection))

    async def _connection(self) -> Connection:
        """Return the connection used last; old ones may be closed from the other end."""
        if self._idle:
            used_at, connection = self._idle.pop()
            if time.perf_counter() - used_at < IDLE_SECONDS:
                return connection
            connection.close()
        return await Connection.open(self._plan.port)

    def _all_connected(self) -> bool:
        return all(base is not None for course in self._courses for base in course.base)

    def _all_shown(self) -> bool:
        return all(shown >= len(course.sent) for course in self._courses for shown in course.shown)

    def _is_exact(self, course: Course, number: int) -> bool:
        base, last = course.base[number], course.last[number]
        if base is None:
            return False
        minutes = base + len(course.sent)
        return bool(
            last["total_watch_time_minutes"] == minutes
            and last["students"] == course.students
            and abs(last["avg_watch_time_per_student"] - minutes / course.students) <= 0.005001
        )

    @staticmethod
    async def _until(is_so: Callable[[], bool], seconds: float) -> None:
        deadline = time.perf_counter() + seconds
        while not is_so() and time.perf_counter() < deadline:  # noqa: ASYNC110  # cheap enough
            await asyncio.sleep(0.02)


def main() -> None:
    """Run the plan of stdin."""
    given = json.load(sys.stdin)
    plan = Plan(**given | {"courses": tuple(given["courses"])})
    json.dump(asdict(uvloop.run(Load(plan).run())), sys.stdout)


if __name__ == "__main__":
    main()
