"""The load of `fanout`, in a process of its own: viewers, messages, and what they cost the server.

`python -m bench.fanout.audience` reads a `Plan` as JSON from stdin and writes what came of it to
stdout. A message is published when all viewers have the one before (closed loop), so that nothing
is merged on the way and every delivery is one.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import psutil
import uvloop

from bench import costs
from bench.fanout.plan import Plan
from bench.fanout.publishers import Publisher, open_publisher
from bench.fanout.viewer import Board, Viewer, open_viewer
from realtime.assembly import raise_file_limit

FIRST_VIEWERS = 20
"""Connected before memory is first looked at: what a server loads once is no viewer's."""
AT_ONCE = 100
PATIENCE_SECONDS = 15.0
SETTLE_SECONDS = 2.0
WARM_UP_MESSAGES = 5
PAUSE_SECONDS = 0.02  # between messages while a crowd comes
FIRST_VERSION = 4_000_000_000_000  # later than any the product has given
KIB = 1024


@dataclass(slots=True)
class Found:
    """What came of it. Times in seconds, memory in bytes."""

    connected: int = 0
    refusal: str = ""
    connect_seconds: float = 0.0
    accept_cpu: float = 0.0
    """CPU seconds of the server for all viewers connected."""
    memory_per_viewer: float = 0.0
    deliveries: int = 0
    missing: int = 0
    last_viewer: list[float] = field(default_factory=list)
    """Publication → the last viewer has it, of each message."""
    message_seconds: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)
    delays: list[float] = field(default_factory=list)
    """Publication → a viewer has it, while all read; only with `stops`."""
    delays_with_stopped: list[float] = field(default_factory=list)
    stopped_skipped: list[int] = field(default_factory=list)
    """Messages that each stopped viewer never got, the newest in their place."""
    stopped_codes: list[int | None] = field(default_factory=list)
    last_viewer_with_crowd: list[float] = field(default_factory=list)
    crowd: dict[str, float] = field(default_factory=dict)
    """How many of the crowd got a message, and after how many seconds all had."""


class Load:
    """One run of a plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._board = Board()
        self._viewers: list[Viewer] = []
        self._found = Found()
        self._version = FIRST_VERSION
        self._processes = {name: psutil.Process(pid) for name, pid in plan.processes.items()}

    async def run(self) -> Found:
        """Connect, publish, look."""
        plan, found = self._plan, self._found
        await self._connect(FIRST_VIEWERS)
        publisher = await open_publisher(*plan.publisher)
        for _ in range(WARM_UP_MESSAGES):
            await self._publish(publisher, len(self._viewers))
        before, cpu, began = self._memory(), self._cpu()["server"], time.perf_counter()
        await self._connect(plan.viewers)
        found.connect_seconds = time.perf_counter() - began
        found.connected = len(self._viewers)
        found.refusal = next(iter(self._board.refusals), "")
        await asyncio.sleep(SETTLE_SECONDS)
        found.accept_cpu = self._cpu()["server"] - cpu
        newcomers = max(1, found.connected - FIRST_VIEWERS)
        found.memory_per_viewer = (self._memory() - before) / newcomers
        if plan.stops:
            await self._with_stopped(publisher)
        elif plan.crowd:
            await self._with_crowd(publisher)
        else:
            await self._all_reading(publisher)
        return found

    async def _all_reading(self, publisher: Publisher) -> None:
        for _ in range(WARM_UP_MESSAGES):
            await self._publish(publisher, len(self._viewers))
        found, before, began = self._found, self._cpu(), time.perf_counter()
        for _ in range(self._plan.messages):
            sent = await self._publish(publisher, len(self._viewers))
            found.deliveries += len(self._board.times)
            found.missing += len(self._viewers) - len(self._board.times)
            found.last_viewer.append(max(self._board.times, default=time.perf_counter()) - sent)
            if found.missing:
                break  # this way does not hold so many; what came has been counted
        found.message_seconds = time.perf_counter() - began
        found.cpu = costs_between(before, self._cpu())

    async def _with_stopped(self, publisher: Publisher) -> None:
        """Take turns: all read, then one does not and its connection has filled up."""
        found, everybody = self._found, len(self._viewers)
        for number in range(self._plan.stops):
            found.delays += await self._delays(publisher, everybody)
            stopped = self._viewers[number]
            stopped.transport.pause_reading()
            received = stopped.received
            everybody -= 1
            for _ in range(2 * self._plan.messages):  # far more than the connection holds
                await self._publish(publisher, everybody)
                if self._board.lacks():
                    break
            found.delays_with_stopped += await self._delays(publisher, everybody)
            published = self._version
            stopped.transport.resume_reading()
            await asyncio.sleep(SETTLE_SECONDS)
            skipped = 3 * self._plan.messages - (stopped.received - received)
            found.stopped_skipped.append(skipped)
            found.stopped_codes.append(stopped.close_code)
            assert published == self._version
            if self._board.lacks():
                return

    async def _with_crowd(self, publisher: Publisher) -> None:
        """Publish to those present, then go on while a crowd comes."""
        found = self._found
        for _ in range(self._plan.messages):
            found.last_viewer.append(await self._until_last(publisher))
        crowd = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.fanout.crowd",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert crowd.stdin is not None
        assert crowd.stdout is not None
        crowd.stdin.write(json.dumps(asdict(self._plan)).encode())
        crowd.stdin.write_eof()
        await crowd.stdout.readline()  # it has loaded what it needs, and begins
        served = asyncio.create_task(crowd.stdout.readline())
        while not served.done():
            found.last_viewer_with_crowd.append(await self._until_last(publisher))
            await asyncio.sleep(PAUSE_SECONDS)
        found.crowd = json.loads(served.result())
        await crowd.wait()

    async def _until_last(self, publisher: Publisher) -> float:
        """Publish; return the seconds until the last of those present had it."""
        sent = await self._publish(publisher, len(self._viewers))
        self._found.missing += len(self._viewers) - len(self._board.times)
        return max(self._board.times, default=time.perf_counter()) - sent

    async def _delays(self, publisher: Publisher, viewers: int) -> list[float]:
        delays: list[float] = []
        for _ in range(self._plan.messages):
            sent = await self._publish(publisher, viewers)
            delays += [at - sent for at in self._board.times]
            if self._board.lacks():
                self._found.missing += viewers - len(self._board.times)
                break
        return delays

    async def _publish(self, publisher: Publisher, viewers: int) -> float:
        """Publish one, wait until so many have it; return when it was published."""
        self._version += 1
        self._board.expect(self._version, viewers)
        sent = time.perf_counter()
        await publisher.publish(message(self._version))
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._board.reached.wait()
        except TimeoutError:
            pass  # counted as missing by the caller
        return sent

    async def _connect(self, viewers: int) -> None:
        """Connect up to so many, some at a time, and keep those who were let in."""
        plan = self._plan

        async def one(number: int) -> Viewer:
            viewer = await open_viewer(plan, self._board, number)
            await asyncio.wait_for(viewer.ready, PATIENCE_SECONDS)
            return viewer

        for start in range(len(self._viewers), viewers, AT_ONCE):
            coming = range(start, min(start + AT_ONCE, viewers))
            arrived = await asyncio.gather(*map(one, coming))
            self._viewers += [viewer for viewer in arrived if not viewer.transport.is_closing()]
        await asyncio.sleep(SETTLE_SECONDS)

    def _memory(self) -> int:
        server = self._processes["server"]
        family = (server, *server.children(recursive=True))
        return sum(each.memory_info().rss for each in family)

    def _cpu(self) -> dict[str, float]:
        return {name: costs.family_seconds(each) for name, each in self._processes.items()}


def costs_between(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """Return the CPU seconds in between."""
    return {name: after[name] - before[name] for name in after}


def message(version: int) -> str:
    """Return one of the product's frames, as each way is given it."""
    frame: dict[str, Any] = {
        "event": "course_analytics_update",
        "course_id": "course",
        "analytics": {
            "course_id": "course",
            "students": 1000,
            "avg_completion": 41.27,
            "total_watch_time_minutes": 52013.0,
            "avg_watch_time_per_student": 52.01,
            "avg_quiz_score": 73.4,
            "generated_at": "2026-01-01T00:00:00.000Z",
        },
        "version": version,
        "latest_event_at": "2026-01-01T00:00:00.000Z",
        "request_id": "0123456789abcdef0123456789abcdef",
    }
    return json.dumps(frame, separators=(",", ":"))


def main() -> None:
    """Run the plan of stdin."""
    raise_file_limit()
    found = uvloop.run(Load(Plan.from_json(json.load(sys.stdin))).run())
    results = asdict(found)
    results["last_viewer_p50"] = statistics.median(found.last_viewer or [0.0])
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
