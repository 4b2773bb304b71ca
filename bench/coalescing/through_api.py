"""The product under a stream of events: a whole installation, asked over HTTP.

Refreshes, marks and queue delays come from the coalescer's statistics, as `/metrics` shows them;
the delay is that of each refresh's oldest mark, and the window is part of it. Event → publication
is measured from outside (`stream.py`). CPU counts every process of the installation until nothing
is owed any more, idle ones included; what an idle installation spends is measured before.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import uvloop
from pymongo import MongoClient

from analytics.stores import redis as redis_store
from analytics.stores.mongo import connect
from bench import costs
from bench.coalescing.courses import QUIET, RATES, Courses
from bench.coalescing.delays import Delays
from bench.coalescing.stream import Flow, Seen, Stream
from bench.installation import Installation, installation
from bench.latency import nothing_owed
from bench.tables import milliseconds
from tasks.coalescer import Coalescer

WARM_UP_SECONDS = 2.0
IDLE_SECONDS = 4.0
SETTLE_SECONDS = 90.0
PATIENCE_SECONDS = 30.0
# The parts that the peer has too; the others watch, schedule and supervise.
CORE = ("api", "worker", "mongo", "valkey")
Results = dict[str, Any]
Client = MongoClient[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Running:
    """What is measured and how; `idle`: the cores that each part uses with nothing to do."""

    installation: Installation
    client: Client
    coalescer: Coalescer
    idle: costs.Counts


def measure(seconds: float) -> tuple[Results, list[dict[str, Any]]]:
    """Measure `seconds` of each rate and spread.

    Returns the results and the progress documents from before, for the peer to begin with.
    """
    with installation() as running, connect(running.settings) as client:
        cache = redis_store.connect(running.settings, broker=True)
        coalescer = Coalescer(cache, running.settings.refresh_window_ms)
        courses = Courses.at(running.port, running.token())
        minutes = courses.prepare()
        _settle(running, client)
        progress = client[running.settings.mongo_database]["progress"]
        documents = list(progress.find({}))
        _run(running, Flow(courses.one, QUIET, 20.0, WARM_UP_SECONDS, PATIENCE_SECONDS), minutes)
        _settle(running, client)
        idle = _idle(running)
        rows = []
        for name, scenario in courses.named():
            for rate in RATES:
                flow = Flow(scenario, QUIET, rate, seconds, PATIENCE_SECONDS)
                row = _measure(_Running(running, client, coalescer, idle), flow, minutes)
                rows.append({"load": f"{rate:g}/s, {name}", **row})
        audited, audit_line = running.audit()
        cache.close()
    found = {
        "rows": rows,
        "idle_cores": {part: round(share, 4) for part, share in idle.items()},
        "audit_exit": audited,
        "audit": audit_line,
    }
    return found, documents


def _measure(what: _Running, flow: Flow, minutes: Counter[str]) -> Results:
    running, coalescer = what.installation, what.coalescer
    before = coalescer.depth().statistics
    began, cpu = time.monotonic(), costs.cpu_seconds(running)
    seen = _run(running, flow, minutes)
    _settle(running, what.client)
    took = time.monotonic() - began
    spent = {part: after - cpu[part] for part, after in costs.cpu_seconds(running).items()}
    after = coalescer.depth().statistics
    refreshes = after["refreshes"] - before["refreshes"]
    events = len(seen.acks)
    core = sum(spent[part] for part in CORE)
    return {
        **as_results(seen),
        "marks": after["marks"] - before["marks"],
        "refreshes": refreshes,
        "events_per_refresh": round(events / max(1, refreshes), 2),
        "refresh_ms": round((after["refresh_ms"] - before["refresh_ms"]) / max(1, refreshes), 1),
        "queue_delay_ms": Delays.between(before, after).milliseconds(),
        "cpu_by_part": {part: round(1e3 * s / events, 2) for part, s in spent.items()},
        "cpu_core_parts": round(1e3 * core / events, 2),
        "cpu_core_parts_net": round(1e3 * (core - took * in_core(what.idle)) / events, 2),
        "cpu_all_parts": round(1e3 * sum(spent.values()) / events, 2),
    }


def as_results(seen: Seen) -> Results:
    """Return what the stream saw, in ms where times are named so."""
    return {
        "events": len(seen.acks),
        "refused": seen.refused,
        "ack_ms": milliseconds(seen.acks),
        "sent_late_ms": milliseconds(seen.lateness),
        "event_to_publication_ms": milliseconds(seen.published),
        "publications": seen.publications,
        "unpublished": seen.unpublished,
        "quiet_course_ms": None if seen.quiet is None else round(1e3 * seen.quiet, 1),
        "courses_not_exact": seen.courses_not_exact,
        "client_cpu_seconds": round(seen.cpu_seconds, 2),
    }


def in_core(counts: costs.Counts) -> float:
    """Add up the parts that both systems have."""
    return sum(counts[part] for part in CORE)


def _run(running: Installation, flow: Flow, minutes: Counter[str]) -> Seen:
    return uvloop.run(Stream(running.settings, flow, minutes).run(lambda: None))


def _idle(running: Installation) -> costs.Counts:
    """Return the cores that each part uses with nothing to do."""
    before, began = costs.cpu_seconds(running), time.monotonic()
    time.sleep(IDLE_SECONDS)
    took = time.monotonic() - began
    return {part: (s - before[part]) / took for part, s in costs.cpu_seconds(running).items()}


def _settle(running: Installation, client: Client) -> None:
    settled = costs.settle(lambda: nothing_owed(running, client), SETTLE_SECONDS)
    assert settled, "the refreshes did not come to an end"
