"""Event → frame: from sending the POST until a viewer has the first frame that contains it.

20 courses, 100 sockets (5 a course), an open-loop Poisson stream of watch-time events at each rate,
one in 20 by a student new to the course. The client is a process of its own (`viewers.py`). In the
same run: the CPU seconds of each part, the operations that the two servers counted, and bare
updates (`$inc` by `_id`, majority, journaled) on the same database as a measure. At the end every
socket's last frame must hold exactly what was posted, and `coursepulse audit` must find no drift.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from typing import Any

from pymongo import MongoClient

from analytics.stores import redis as redis_store
from analytics.stores.mongo import connect
from bench import costs
from bench.installation import Installation, installation
from bench.scenario import Scenario
from bench.tables import milliseconds, print_table
from bench.viewers import Plan

COURSES = 20
SOCKETS_PER_COURSE = 5
STUDENTS = 50
NEWCOMERS = 0.05
RATES = (10.0, 50.0)
WARM_UP_SECONDS = 3.0
Results = dict[str, Any]


def measure(seconds: float, rates: tuple[float, ...] = RATES) -> Results:
    """Measure at each rate, on a fresh installation."""
    found: Results = {}
    for rate in rates:
        with installation(SOCKETS_PER_USER="1000") as running, connect(running.settings) as client:
            found[f"{rate:g}"] = _measure(running, client, rate, seconds)
    _print(found)
    return found


def _measure(
    running: Installation, client: MongoClient[dict[str, Any]], rate: float, seconds: float
) -> Results:
    courses = tuple(f"course-{number}" for number in range(COURSES))
    Scenario(running.port, running.token(), courses, STUDENTS).prepare()
    _settle(running, client)
    load(running, courses, rate, WARM_UP_SECONDS, seed=1)
    _settle(running, client)

    database = running.settings.mongo_database
    cache = redis_store.connect(running.settings)
    cpu = costs.cpu_seconds(running)
    operations = costs.mongo_operations(client, database)
    commands = costs.redis_operations(cache)
    seen = load(running, courses, rate, seconds, seed=2)
    spent = {part: after - cpu[part] for part, after in costs.cpu_seconds(running).items()}
    operations = costs.difference(costs.mongo_operations(client, database), operations)
    commands = costs.difference(costs.redis_operations(cache), commands)
    cache.close()
    bare = costs.bare_update_seconds(running, client)
    _settle(running, client)
    audited, audit_line = running.audit()

    events = seen["events"]
    total = sum(spent.values())
    refreshes = operations.get("course_totals.update", {"count": 0})["count"]
    return {
        "events": events,
        "events_per_second": round(events / seen["sending_seconds"], 1),
        "newcomers": seen["newcomers"],
        "refused": seen["refused"],
        "refreshes": refreshes,
        "frames": seen["frames_received"],
        "event_to_frame_ms": milliseconds(seen["frames"]),
        "event_to_first_frame_ms": milliseconds(seen["first_frames"]),
        "ack_ms": milliseconds(seen["acks"]),
        "sent_late_ms": milliseconds(seen["lateness"]),
        "sockets_not_exact": seen["sockets_behind"],
        "audit_exit": audited,
        "audit": audit_line,
        "cpu_seconds_per_1000_events": {p: round(1e3 * s / events, 2) for p, s in spent.items()},
        "cpu_seconds_per_1000_events_total": round(1e3 * total / events, 2),
        "client_cpu_seconds_per_1000_events": round(1e3 * seen["cpu_seconds"] / events, 2),
        "bare_update_ms": {name: round(1e3 * value, 2) for name, value in bare.items()},
        "bare_updates_per_event": round(total / events / (bare["database"] + bare["driver"]), 1),
        "mongo": per_event(operations, events),
        "redis": per_event(commands, events),
    }


def load(
    running: Installation, courses: tuple[str, ...], rate: float, seconds: float, *, seed: int
) -> Results:
    """Run the viewers' process; return what it saw (`viewers.Seen`)."""
    plan = Plan(
        port=running.port,
        token=running.token(),
        viewer_token=running.token("admin", "bench-viewer"),
        courses=courses,
        students=STUDENTS,
        sockets_per_course=SOCKETS_PER_COURSE,
        rate=rate,
        seconds=seconds,
        newcomers=NEWCOMERS,
        seed=seed,
    )
    done = subprocess.run(
        [sys.executable, "-m", "bench.viewers"],
        input=json.dumps(asdict(plan)),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seen: Results = json.loads(done.stdout)
    return seen


def nothing_owed(running: Installation, client: MongoClient[dict[str, Any]]) -> bool:
    """Say whether every number contains everything that was written."""
    database = client[running.settings.mongo_database]
    return (
        database["progress"].find_one({"dirty": {"$gt": ""}}) is None
        and database["students"].find_one({"dirty": 1}) is None
        and database["courses"].find_one({"owes_course": 1}) is None
        and database["courses"].find_one({"owes_platform": 1}) is None
    )


def _settle(running: Installation, client: MongoClient[dict[str, Any]]) -> None:
    settled = costs.settle(lambda: nothing_owed(running, client), 60)
    assert settled, "the refreshes did not come to an end"


def per_event(operations: dict[str, costs.Counts], events: int) -> dict[str, dict[str, float]]:
    """Return calls and server milliseconds per event, the dearest first."""
    ordered = sorted(operations.items(), key=lambda item: -item[1]["seconds"])
    return {
        name: {
            "per_event": round(row["count"] / events, 3),
            "ms_per_event": round(1e3 * row["seconds"] / events, 3),
        }
        for name, row in ordered
    }


def _print(found: Results) -> None:
    times = ("p50", "p95", "p99", "max")
    rows: list[list[object]] = []
    for rate, result in found.items():
        for name, key in (
            ("event to frame, every socket", "event_to_frame_ms"),
            ("event to frame, first socket", "event_to_first_frame_ms"),
            ("event to ack", "ack_ms"),
            ("sent late", "sent_late_ms"),
        ):
            rows.append([f"{rate}/s {name}", *(result[key][time] for time in times)])
    print_table(f"{COURSES} courses, 100 sockets, ms", ["", *times], rows)
    parts = [*costs.PARTS, "run"]
    print_table(
        "CPU seconds per 1,000 events",
        ["rate", *parts, "total", "client", "bare updates/event"],
        [
            [
                f"{rate}/s",
                *(result["cpu_seconds_per_1000_events"][part] for part in parts),
                result["cpu_seconds_per_1000_events_total"],
                result["client_cpu_seconds_per_1000_events"],
                result["bare_updates_per_event"],
            ]
            for rate, result in found.items()
        ],
    )
    print_table(
        "One bare update, ms",
        ["rate", "wall", "database CPU", "driver CPU"],
        [[f"{rate}/s", *result["bare_update_ms"].values()] for rate, result in found.items()],
    )
    print_table(
        "At the end",
        ["rate", "events", "refused", "refreshes", "frames", "sockets not exact", "audit exit"],
        [
            [
                f"{rate}/s",
                *(
                    result[key]
                    for key in ("events", "refused", "refreshes", "frames", "sockets_not_exact",
                                "audit_exit")
                ),
            ]
            for rate, result in found.items()
        ],
    )  # fmt: skip
    for rate, result in found.items():
        for server in ("mongo", "redis"):
            print_table(
                f"{server} at {rate}/s, per event",
                ["operation", "calls", "server ms"],
                [[k, v["per_event"], v["ms_per_event"]] for k, v in result[server].items()],
            )
