"""Accepted progress events per second of one API process, beside one that only updates MongoDB.

Closed loop, 24 connections, watch-time events over 20 courses of 200 students. The peer
(`bare_api.py`) is the same FastAPI route doing one `$inc` by `_id` and nothing else, on the same
database, in alternating rounds of one run: peer, product, peer, product, … The product's rounds
run with its worker, whose refreshes use the same two cores and the same database; so that it can
be told apart, the worker is then frozen (SIGSTOP) for as many rounds more. What the two servers
count in those is what accepting an event costs; what a refresh costs is counted by `refresh`.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import uvloop
from pymongo import MongoClient

from analytics.stores import redis as redis_store
from analytics.stores.mongo import connect
from bench import costs
from bench.bare_api import COLLECTION
from bench.http_client import Connection
from bench.installation import Installation, free_port, installation
from bench.latency import nothing_owed, per_event
from bench.scenario import LESSONS, Scenario, student_name
from bench.tables import milliseconds, print_table

COURSES = 20
STUDENTS = 200
CONNECTIONS = 24
ROUNDS = 3
Results = dict[str, Any]
Client = MongoClient[dict[str, Any]]


def measure(seconds: float) -> Results:
    """Measure rounds of `seconds` each."""
    with installation() as running, connect(running.settings) as client:
        courses = tuple(f"course-{number}" for number in range(COURSES))
        product = Scenario(running.port, running.token(), courses, STUDENTS)
        product.prepare()
        _prepare_peer(client, running, courses)
        _settle(running, client)
        with _peer(running) as port:
            peer = Scenario(port, running.token(), courses, STUDENTS)
            found = _measure(running, client, product, peer, seconds)
        found["audit_exit"], found["audit"] = running.audit()
    _print(found)
    return found


def _measure(
    running: Installation, client: Client, product: Scenario, peer: Scenario, seconds: float
) -> Results:
    rounds: dict[str, list[Results]] = {"peer": [], "product": [], "worker frozen": []}
    _round(peer, 1.0)
    _round(product, 1.0)
    _settle(running, client)
    cache = redis_store.connect(running.settings)
    database = running.settings.mongo_database
    mongo: dict[str, costs.Counts] = {}
    redis: dict[str, costs.Counts] = {}
    folding: dict[str, costs.Counts] = {}
    events = 0
    for _ in range(ROUNDS):
        rounds["peer"].append(_round(peer, seconds))
        cpu, working = costs.cpu_seconds(running), costs.mongo_operations(client, database)
        done = _round(product, seconds)
        spent = costs.cpu_seconds(running)
        _add(folding, costs.difference(costs.mongo_operations(client, database), working))
        _settle(running, client)
        done["cpu"] = {
            part: 1e3 * (spent[part] - cpu[part]) / done["events"] for part in costs.PARTS
        }
        rounds["product"].append(done)
    for _ in range(ROUNDS):
        with _frozen_worker(running):
            before = costs.mongo_operations(client, database), costs.redis_operations(cache)
            done = _round(product, seconds)
            _add(mongo, costs.difference(costs.mongo_operations(client, database), before[0]))
            _add(redis, costs.difference(costs.redis_operations(cache), before[1]))
        events += done["events"]
        rounds["worker frozen"].append(done)
        _settle(running, client)
    cache.close()
    found: Results = {
        name: {
            "per_second": [round(each["per_second"]) for each in done],
            "median_per_second": round(statistics.median(each["per_second"] for each in done)),
            "refused": sum(each["refused"] for each in done),
            "ack_ms": done[-1]["ack_ms"],
            "client_cpu_share": round(max(each["client_cpu_share"] for each in done), 2),
        }
        for name, done in rounds.items()
    }
    for name in ("product", "worker frozen"):
        found[name]["ratio"] = round(
            found[name]["median_per_second"] / found["peer"]["median_per_second"], 3
        )
    found["cpu_ms_per_event"] = {
        part: round(statistics.median(each["cpu"][part] for each in rounds["product"]), 2)
        for part in costs.PARTS
    }
    found["mongo_commands_per_event"] = round(sum(v["count"] for v in mongo.values()) / events, 2)
    found["mongo_folding"] = per_event(folding, sum(each["events"] for each in rounds["product"]))
    found["mongo"] = per_event(mongo, events)
    found["redis"] = per_event(redis, events)
    return found


def _round(scenario: Scenario, seconds: float) -> Results:
    return uvloop.run(_closed_loop(scenario, seconds))


async def _closed_loop(scenario: Scenario, seconds: float) -> Results:
    choice = random.Random(7)
    requests = [
        scenario.watch(
            choice.choice(scenario.courses),
            student_name(choice.randrange(scenario.students)),
            choice.randrange(LESSONS),
        )
        for _ in range(5_000)
    ]
    acks: list[float] = []
    refused = 0
    began, cpu = time.perf_counter(), time.process_time()

    async def work(number: int) -> None:
        nonlocal refused
        connection = await Connection.open(scenario.port)
        while (sent := time.perf_counter()) - began < seconds:
            number = (number + CONNECTIONS) % len(requests)
            answer = await connection.send(requests[number])
            acks.append(time.perf_counter() - sent)
            refused += answer.status != 202
        connection.close()

    await asyncio.gather(*(work(number) for number in range(CONNECTIONS)))
    took = time.perf_counter() - began
    return {
        "events": len(acks) - refused,
        "per_second": (len(acks) - refused) / took,
        "refused": refused,
        "ack_ms": milliseconds(acks),
        "client_cpu_share": (time.process_time() - cpu) / took,
    }


def _prepare_peer(client: Client, running: Installation, courses: tuple[str, ...]) -> None:
    counters = client[running.settings.mongo_database][COLLECTION]
    for course in courses:
        counters.insert_many(
            [{"_id": f"{course}:{student_name(n)}", "lessons": {}} for n in range(STUDENTS)]
        )


@contextmanager
def _peer(running: Installation) -> Iterator[int]:
    """Serve the peer; yield its port."""
    port = free_port()
    settings = running.settings
    environment = running.environment | {
        "PORT": str(port),
        "MONGO_URL": settings.require_mongo_url(),
        "REDIS_URL": settings.require_redis_url(),
        "JWT_SECRET": settings.require_jwt_secret(),
    }
    process = subprocess.Popen([sys.executable, "-m", "bench.bare_api"], env=environment)
    try:
        assert costs.settle(lambda: _listens(port), 20), "the peer did not start"
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int) -> bool:
    async def reach() -> None:
        (await Connection.open(port)).close()

    try:
        asyncio.run(reach())
    except OSError:
        return False
    return True


@contextmanager
def _frozen_worker(running: Installation) -> Iterator[None]:
    worker = costs.process_of(running, "worker")
    family: list[psutil.Process] = [worker, *worker.children(recursive=True)]
    for each in family:
        os.kill(each.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for each in family:
            os.kill(each.pid, signal.SIGCONT)


def _settle(running: Installation, client: Client) -> None:
    settled = costs.settle(lambda: nothing_owed(running, client), 60)
    assert settled, "the refreshes did not come to an end"


def _add(total: dict[str, costs.Counts], more: dict[str, costs.Counts]) -> None:
    for name, row in more.items():
        before = total.get(name, {"count": 0.0, "seconds": 0.0})
        total[name] = {field: before[field] + row[field] for field in row}


def _print(found: Results) -> None:
    rows = [
        [
            name,
            " ".join(str(each) for each in found[name]["per_second"]),
            found[name]["median_per_second"],
            found[name].get("ratio", 1.0),
            *found[name]["ack_ms"].values(),
            found[name]["refused"],
            found[name]["client_cpu_share"],
        ]
        for name in ("peer", "product", "worker frozen")
    ]
    print_table(
        f"Accepted events per second, {CONNECTIONS} connections, {COURSES} courses",
        ["", "rounds", "median", "ratio", "p50 ms", "p95", "p99", "max", "refused", "client cores"],
        rows,
    )
    print_table(
        "CPU ms per event at saturation",
        [*costs.PARTS],
        [list(found["cpu_ms_per_event"].values())],
    )
    print_table(
        "MongoDB commands per accepted event (events that come together share one)",
        ["commands", "audit exit"],
        [[str(found["mongo_commands_per_event"]), found["audit_exit"]]],
    )
    titles = {
        "mongo_folding": "MongoDB per accepted event, while the worker folds",
        "mongo": "MongoDB per accepted event, worker frozen",
        "redis": "Valkey per accepted event, worker frozen",
    }
    for server, title in titles.items():
        print_table(
            title,
            ["operation", "calls", "server ms"],
            [[k, v["per_event"], v["ms_per_event"]] for k, v in found[server].items()],
        )
