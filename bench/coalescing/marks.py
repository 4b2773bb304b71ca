"""Marks straight into the coalescer: 1,000 and 10,000 a second, on one course and over 1,000.

A Valkey of its own for each run, as the product starts it. The marker sends (`marker.py`), two
workers in another process lease, wait as long as a refresh takes, and finish (`lease_workers.py`).
The delay of a refresh is measured from outside: from the sending of the oldest mark that it answers
to its start. A start says how many marks of its subject it has seen, which tells which mark that
was, and at the end whether every mark was answered.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import redis
import uvloop

from analytics.stores import redis as redis_store
from analytics.subjects import Subject
from bench import costs
from bench.coalescing.delays import Delays
from bench.coalescing.marker import Marked, mark_all
from bench.lease_workers import Pretence, Start
from bench.servers import Servers, servers
from bench.tables import milliseconds, print_table
from tasks.coalescer import Coalescer

RATES = (1_000.0, 10_000.0)
COURSES = (1, 1_000)
WORKERS = 2
REFRESH_SECONDS = 0.004
REACHED = 0.98  # of the wanted rate counts as reached
DRAIN_SECONDS = 30.0
Results = dict[str, Any]


def measure(seconds: float) -> list[Results]:
    """Measure `seconds` at each rate and number of courses."""
    found = []
    for courses in COURSES:
        for rate in RATES:
            with servers("valkey") as running:
                found.append(_measure(running, courses, rate, seconds))
    return found


def _measure(running: Servers, courses: int, rate: float, seconds: float) -> Results:
    settings = running.settings
    client = redis_store.connect(settings)
    coalescer = Coalescer(client, settings.refresh_window_ms)
    random_course = random.Random(7)
    subjects = [
        Subject(f"course-{random_course.randrange(courses)}") for _ in range(int(rate * seconds))
    ]
    empty = _sizes(client)
    pretence = Pretence(settings.require_redis_url(), WORKERS, REFRESH_SECONDS)
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.lease_workers"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdin is not None
        stdin = process.stdin
        stdin.write(pretence.line())
        stdin.flush()
        dispatching = costs.settle(lambda: client.client_list()[1:] != [])
        assert dispatching, "the workers did not start"

        def hand_over(name: str, fence: str) -> None:
            stdin.write(f"{name} {fence}\n")
            stdin.flush()

        before = running.cpu_seconds()["valkey"], _script_calls(client)
        marked = uvloop.run(mark_all(settings, subjects, rate, hand_over))
        drained = costs.settle(lambda: _is_idle(coalescer), DRAIN_SECONDS)
        spent = running.cpu_seconds()["valkey"] - before[0]
        scripts = _script_calls(client) - before[1]
        sizes = _sizes(client)
        delays = Delays.between({}, coalescer.depth().statistics)
        output, _ = process.communicate(timeout=DRAIN_SECONDS)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    client.close()
    seen = json.loads(output)
    starts: list[Start] = [(name, at, marks) for name, at, marks in seen["starts"]]
    waited, unanswered = answered(marked, starts)
    return {
        "courses": courses,
        "wanted_per_second": rate,
        "per_second": round(marked.marks / marked.seconds, 1),
        "reached": marked.marks / marked.seconds >= REACHED * rate,
        "marks": marked.marks,
        "marks_per_turn": round(marked.marks / marked.turns, 1),
        "refreshes": len(starts),
        "marks_per_refresh": round(marked.marks / len(starts), 1),
        "drained": drained,
        "unanswered": unanswered,
        "dropped": seen["dropped"],
        "delay_ms": milliseconds(waited),
        "delay_ms_by_buckets": delays.milliseconds(),
        "valkey_cpu_seconds_per_1000_marks": round(1e3 * spent / marked.marks, 4),
        "valkey_cores": round(spent / marked.seconds, 2),
        "script_calls_per_mark": round(scripts / marked.marks, 3),
        "marker_cores": round(marked.cpu_seconds / marked.seconds, 2),
        "sent_late_ms": milliseconds(marked.lateness),
        "log_bytes_per_mark": round((sizes["log"] - empty["log"]) / marked.marks),
        "keys_at_the_end": sizes["keys"],
        "memory_grown_bytes": sizes["memory"] - empty["memory"],
    }


def answered(marked: Marked, starts: Sequence[Start]) -> tuple[list[float], int]:
    """Return each refresh's delay (s) since its oldest unanswered mark, and the marks unanswered.

    A refresh that answers no new mark has no delay.
    """
    by_subject: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
    for name, at, marks in starts:
        by_subject[name].append((marks, at))
    delays: list[float] = []
    unanswered = 0
    for name, sent in marked.sent.items():
        before = 0
        for marks, at in sorted(by_subject[name]):
            if marks > before:
                delays.append(at - sent[before])
            before = max(before, marks)
        unanswered += len(sent) - before
    return delays, unanswered


def _is_idle(coalescer: Coalescer) -> bool:
    depth = coalescer.depth()
    return depth.scheduled + depth.due + depth.cold + depth.leased == 0


def _script_calls(client: redis.Redis) -> int:
    return int(costs.redis_operations(client).get("evalsha", {"count": 0})["count"])


def _sizes(client: redis.Redis) -> dict[str, int]:
    """Return the append-only log's and the memory's bytes, and how many keys there are."""
    log = client.info("persistence")
    memory = client.info("memory")
    return {
        "log": int(log["aof_current_size"]),
        "memory": int(memory["used_memory"]),
        "keys": client.dbsize(),
    }


def show(found: list[Results]) -> None:
    """Print the tables."""

    def name(row: Results) -> str:
        courses = "one course" if row["courses"] == 1 else f"{row['courses']:,} courses"
        return f"{row['wanted_per_second']:,.0f}/s, {courses}"

    print_table(
        f"Marks straight into the coalescer, refreshes of {1e3 * REFRESH_SECONDS:g} ms, "
        f"{WORKERS} workers",
        ["", "marks/s", "reached", "marks", "refreshes", "marks/refresh", "delay p50 ms", "p99",
         "max", "unanswered"],
        [
            [name(row), round(row["per_second"]), "yes" if row["reached"] else "NO", row["marks"],
             row["refreshes"], row["marks_per_refresh"], row["delay_ms"]["p50"],
             row["delay_ms"]["p99"], row["delay_ms"]["max"], row["unanswered"]]
            for row in found
        ],
    )  # fmt: skip
    print_table(
        "What that costs Valkey (1,000 marks; its log before it is rewritten)",
        ["", "CPU s/1,000 marks", "cores", "scripts/mark", "log bytes/mark", "keys",
         "marks/turn", "sent late p99 ms", "marker cores"],
        [
            [name(row), f"{row['valkey_cpu_seconds_per_1000_marks']:.3f}", row["valkey_cores"],
             row["script_calls_per_mark"], row["log_bytes_per_mark"], row["keys_at_the_end"],
             row["marks_per_turn"], row["sent_late_ms"]["p99"], row["marker_cores"]]
            for row in found
        ],
    )  # fmt: skip
