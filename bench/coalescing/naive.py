"""The naive way under the same streams: a Celery task for each event, a full aggregation in each.

`naive_api` and `naive_tasks` on embedded servers of their own, with the product's documents, as
many worker processes and the same events. Where the tasks cannot keep up, the queue grows for as
long as the stream lasts: after a time the run ends and the backlog is told. What one event costs is
then put together from two phases: while the queue is drained only tasks run, which gives the cost
of a task; what is left of the first phase's CPU is the cost of accepting.

One point in its favour is kept: each task counts everything that is stored, so on one course the
screen is fresh although the queue is long. It is the other courses' events that wait in it, and the
one event of a quiet course at the end shows for how long.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import uvloop

from analytics.settings import Settings
from analytics.stores.mongo import Collections, connect_patiently, ensure_indexes
from bench import costs
from bench.coalescing.courses import QUIET, RATES, Courses
from bench.coalescing.stream import Flow, Seen, Stream
from bench.coalescing.through_api import as_results, in_core
from bench.installation import ROOT
from bench.naive_tasks import LOG
from bench.servers import Servers, servers
from bench.tables import milliseconds
from console.programs import Program

PATIENCE_SECONDS = 8.0
READY_SECONDS = 30.0
WARM_UP_EVENTS = 20.0
IDLE_SECONDS = 2.0
PAGE = 1_000
Results = dict[str, Any]
Task = tuple[float, float, float]
"""Enqueued, started, ended: `time.monotonic()`, in seconds."""


@dataclass(slots=True)
class Phase:
    """CPU seconds by part and tasks done, at one moment."""

    cpu: costs.Counts
    done: int
    at: float = field(default_factory=time.monotonic)


def measure(seconds: float, documents: list[dict[str, Any]]) -> Results:
    """Measure `seconds` of each rate and spread, each on servers of its own."""
    rows = []
    for number in range(2):
        for rate in RATES:
            with servers("mongo", "valkey", more=_programs) as running:
                courses = Courses.at(running.settings.port, "none")
                name, scenario = courses.named()[number]
                minutes = _store(running.settings, documents)
                warm_up = Flow(scenario, QUIET, WARM_UP_EVENTS, 1.0, READY_SECONDS, seed=1)
                seen = _run(running, warm_up, minutes)
                assert not seen.courses_not_exact, "the naive worker did not start"
                flow = Flow(scenario, QUIET, rate, seconds, PATIENCE_SECONDS)
                row = _measure(running, flow, minutes)
                rows.append({"load": f"{rate:g}/s, {name}", **row})
    return {"rows": rows}


def _measure(running: Servers, flow: Flow, minutes: Counter[str]) -> Results:
    idle_began = _phase(running)
    time.sleep(IDLE_SECONDS)
    began = _phase(running)
    idle = in_core(began.cpu) - in_core(idle_began.cpu)
    idle /= began.at - idle_began.at
    sent: list[Phase] = []
    stream = Stream(running.settings, flow, minutes)
    seen = uvloop.run(stream.run(lambda: sent.append(_phase(running))))
    # Published may be before counted: the tasks that nobody needs any more are run as well.
    costs.settle(lambda: _phase(running).done - began.done >= len(seen.acks), _left(sent[0]))
    ended = _phase(running)
    tasks = _tasks(running.settings)[began.done : ended.done]
    accepted, done = len(seen.acks), ended.done - began.done
    backlog = accepted - done
    # First come, first served: those that still wait were accepted last.
    waiting = [ended.at - at for at in seen.accepted[accepted - backlog :]]
    delays = [started - enqueued for enqueued, started, _ in tasks] + waiting
    gross = _cost(began, sent[0], ended, accepted, 0.0)
    return {
        **as_results(seen),
        "tasks": done,
        "task_ms": milliseconds([end - started for _, started, end in tasks]),
        "tasks_per_second": round(done / (ended.at - began.at), 1),
        "backlog_at_end_of_sending": accepted - (sent[0].done - began.done),
        "backlog": backlog,
        "queue_delay_ms": milliseconds(delays),
        "idle_cores": round(idle, 4),
        "cpu_core_parts": round(1e3 * gross, 2),
        "cpu_core_parts_net": round(1e3 * _cost(began, sent[0], ended, accepted, idle), 2),
    }


def _cost(began: Phase, sent: Phase, ended: Phase, accepted: int, idle: float) -> float:
    """Return the CPU seconds of one event, its task included, less what an idle system spends."""

    def spent(start: Phase, end: Phase) -> float:
        return in_core(end.cpu) - in_core(start.cpu) - idle * (end.at - start.at)

    if ended.done - began.done >= accepted:
        return spent(began, ended) / accepted
    task = spent(sent, ended) / max(1, ended.done - sent.done)
    accepting = max(0.0, spent(began, sent) - task * (sent.done - began.done)) / accepted
    return task + accepting


def _phase(running: Servers) -> Phase:
    return Phase(running.cpu_seconds(), len(_tasks(running.settings)))


def _tasks(settings: Settings) -> list[Task]:
    """Return the tasks so far, in the order in which they ended."""
    try:
        lines = (settings.data_dir / LOG).read_text().splitlines()
    except FileNotFoundError:  # the worker has not started yet
        return []
    found = []
    for line in lines:
        enqueued, started, ended = map(float, line.split())
        found.append((enqueued, started, ended))
    return found


def _left(sent: Phase) -> float:
    """Return how long the tasks may go on, so that a run has an end."""
    return max(0.0, sent.at + PATIENCE_SECONDS - time.monotonic())


def _run(running: Servers, flow: Flow, minutes: Counter[str]) -> Seen:
    return uvloop.run(Stream(running.settings, flow, minutes).run(lambda: None))


def _store(settings: Settings, documents: list[dict[str, Any]]) -> Counter[str]:
    """Store the product's progress documents under its indexes; return each course's minutes."""
    with connect_patiently(settings) as client:
        collections = Collections(client, settings)
        ensure_indexes(collections)
        for start in range(0, len(documents), PAGE):
            collections.progress.insert_many(documents[start : start + PAGE], ordered=False)
    return Counter(document["course_id"] for document in documents)


def _programs(settings: Settings) -> list[Program]:
    worker = (
        sys.executable, "-m", "celery", "-A", "bench.naive_tasks", "worker",
        f"--concurrency={settings.worker_concurrency}", "--loglevel=WARNING",
        "--without-gossip", "--without-mingle",
    )  # fmt: skip
    return [
        Program("api", (sys.executable, "-m", "bench.naive_api"), ROOT),
        Program("worker", worker, ROOT),
    ]
