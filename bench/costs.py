"""What the installation spends: CPU seconds by process, operations by database.

CPU counts a process and all it ever started (children that ended are in their parent's account).
Operations come from the servers' own counters: MongoDB's `top` (commands and microseconds by
collection; a `bulk_write` is one command), Redis's `INFO commandstats`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

import psutil
import redis
from pymongo import MongoClient, WriteConcern

from analytics.stores.mongo import DATABASE_OPTIONS
from bench.installation import Installation

Counts = dict[str, float]
PARTS = ("api", "worker", "mongo", "valkey", "flower", "beat", "supervisor")
_SECTIONS = ("queries", "getmore", "insert", "update", "remove", "commands")


def cpu_seconds(running: Installation) -> Counts:
    """Return the CPU seconds spent so far by each part, `run` itself included."""
    spent = {part: _spent(process_of(running, part), part) for part in PARTS}
    spent["run"] = _own(psutil.Process(running.pid))
    return spent


def mongo_operations(client: MongoClient[dict[str, Any]], database: str) -> dict[str, Counts]:
    """Return, by `collection.kind`, the commands so far and the seconds the server spent."""
    totals: dict[str, dict[str, dict[str, int]]] = client.admin.command("top")["totals"]
    found: dict[str, Counts] = {}
    for name, sections in totals.items():
        base, _, collection = name.partition(".")
        if base != database:
            continue
        for section in _SECTIONS:
            counted = sections.get(section, {"count": 0, "time": 0})
            if counted["count"]:
                found[f"{collection}.{section}"] = {
                    "count": counted["count"],
                    "seconds": counted["time"] / 1e6,
                }
    return found


def redis_operations(client: redis.Redis) -> dict[str, Counts]:
    """Return, by command, the calls so far and the seconds the server spent.

    What a script calls is counted as well as the script (`evalsha`).
    """
    stats = cast("dict[str, dict[str, float]]", client.info("commandstats"))
    return {
        name.removeprefix("cmdstat_"): {"count": row["calls"], "seconds": row["usec"] / 1e6}
        for name, row in stats.items()
    }


def difference(after: dict[str, Counts], before: dict[str, Counts]) -> dict[str, Counts]:
    """Return what came in between, what did not move left out."""
    zero = {"count": 0.0, "seconds": 0.0}
    found = {
        name: {field: row[field] - before.get(name, zero)[field] for field in zero}
        for name, row in after.items()
    }
    return {name: row for name, row in found.items() if row["count"] > 0}


def bare_update_seconds(
    running: Installation, client: MongoClient[dict[str, Any]], updates: int = 400
) -> Counts:
    """Measure bare updates on the running database: `$inc` by `_id`, majority, journaled.

    Returns per update: wall seconds, CPU seconds of the database, CPU seconds of the driver.
    """
    collection = client.get_database("bench_bare", **DATABASE_OPTIONS)["counters"]
    assert collection.write_concern == WriteConcern("majority", j=True)
    collection.insert_many([{"_id": number, "n": 0} for number in range(20)])
    server, own = process_of(running, "mongo"), psutil.Process()
    before = time.perf_counter(), _spent(server, "mongo"), _own(own)
    for number in range(updates):
        collection.update_one({"_id": number % 20}, {"$inc": {"n": 1}})
    after = time.perf_counter(), _spent(server, "mongo"), _own(own)
    client.drop_database("bench_bare")
    names = ("wall", "database", "driver")
    return {name: (b - a) / updates for name, a, b in zip(names, before, after, strict=True)}


def settle(is_settled: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Wait until it is; say whether it came to be in time."""
    deadline = time.monotonic() + seconds
    while not is_settled():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def process_of(running: Installation, part: str) -> psutil.Process:
    """Return the main process of a part."""
    pid = (running.data_dir / "run" / f"{part}.pid").read_text().split()[0]
    return psutil.Process(int(pid))


def family_seconds(process: psutil.Process) -> float:
    """Add up a process, its living children and those that it has reaped."""
    return sum(_with_reaped(each) for each in (process, *process.children(recursive=True)))


def _spent(process: psutil.Process, part: str) -> float:
    if part == "supervisor":  # its children are the other parts
        return _own(process)
    return family_seconds(process)


def _with_reaped(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system + times.children_user + times.children_system


def _own(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system
