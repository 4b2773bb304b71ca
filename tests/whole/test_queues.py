"""The three queues: what a screen waits for never stands behind bulk work."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import redis

from analytics.subjects import AUDIT_TURN
from tests.stack import Stack, eventually
from tests.whole.beats import FREE, HELD, RAN, ROOT, Clockwork

REFRESHES = 5


@pytest.fixture
def valkey(clockwork: Clockwork) -> Iterator[redis.Redis]:
    """Return a client of the test's own Valkey."""
    clockwork.application = "tests.whole.holding"
    with clockwork.client() as client:
        yield client


def call(clockwork: Clockwork, *tasks: str) -> None:
    """Enqueue tasks by their names."""
    queue = {"tests.hold": ["--queue=bulk"]}
    called = [clockwork.celery("call", task, *queue.get(task, [])) for task in tasks]
    assert [process.wait(60) for process in called] == [0] * len(called), clockwork.logs()


def worker(clockwork: Clockwork, *arguments: str) -> None:
    """Start a worker and wait until it is ready."""
    before = clockwork.logs().count(" ready.")
    name = f"--hostname=w{before}@%h"
    clockwork.celery("worker", "--loglevel=INFO", name, *arguments)
    eventually(lambda: clockwork.logs().count(" ready.") > before, seconds=30, what="the worker")


def queued(valkey: redis.Redis) -> dict[str, int]:
    """Return how many messages are in each queue."""
    queues = ("refresh", "scheduled", "bulk")
    return {name: valkey.llen(f"coursepulse:celery:{name}") for name in queues}


@pytest.mark.parametrize(
    ("task", "queue"),
    [
        ("tasks.refresh_platform", "refresh"),
        ("tasks.reconcile", "scheduled"),
        ("tasks.audit", "bulk"),
    ],
)
def test_a_task_is_put_into_its_own_queue_and_no_other(
    clockwork: Clockwork, valkey: redis.Redis, task: str, queue: str
) -> None:
    call(clockwork, task)
    assert queued(valkey) == {"refresh": 0, "scheduled": 0, "bulk": 0, queue: 1}
    with valkey.pipeline() as pipe:
        for name in ("refresh", "scheduled", "bulk"):
            pipe.smembers(f"coursepulse:celery:_kombu.binding.{name}")
        bound = pipe.execute()
    assert all(len(each) <= 1 for each in bound), "queues are not bound to each other's exchange"


def test_refreshes_run_while_one_of_two_processes_is_held_by_bulk_work(
    clockwork: Clockwork, valkey: redis.Redis
) -> None:
    worker(clockwork, "--concurrency=2")
    call(clockwork, "tests.hold")
    eventually(lambda: valkey.get(HELD) == "1", seconds=30, what="the held process")
    call(clockwork, *["tests.refresh"] * REFRESHES)
    eventually(lambda: valkey.get(RAN) == str(REFRESHES), seconds=30, what="the refreshes")
    valkey.set(FREE, "1")


def test_a_worker_of_its_own_keeps_any_amount_of_bulk_work_from_refreshes(
    clockwork: Clockwork, valkey: redis.Redis
) -> None:
    call(clockwork, *["tests.hold"] * 4)
    worker(clockwork, "--concurrency=1", "-Q", "scheduled,bulk")
    eventually(lambda: valkey.get(HELD) == "1", seconds=30, what="the held worker")
    worker(clockwork, "--concurrency=1", "-Q", "refresh")
    call(clockwork, *["tests.refresh"] * REFRESHES)
    eventually(lambda: valkey.get(RAN) == str(REFRESHES), seconds=30, what="the refreshes")
    assert valkey.get(HELD) == "1"
    valkey.set(FREE, "1")


@pytest.mark.parametrize(("queues", "dispatches"), [("refresh", True), ("scheduled,bulk", False)])
def test_whoever_runs_refreshes_dispatches_them(
    clockwork: Clockwork, valkey: redis.Redis, queues: str, *, dispatches: bool
) -> None:
    assert valkey.ping()
    worker(clockwork, "--concurrency=1", "-Q", queues)
    assert ("dispatching" in clockwork.logs()) == dispatches


def test_one_audit_runs_at_a_time(stack: Stack) -> None:
    environment = stack.environment | stack.servers | {"JWT_SECRET": stack.secret}
    program = "from tasks.audit import audit; print(audit())"

    def audited() -> str:
        return subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, env=environment, check=True, timeout=60,
            capture_output=True, text=True,
        ).stdout  # fmt: skip

    with redis.Redis.from_url(stack.servers["REDIS_URL"]) as client:
        held = client.lock(AUDIT_TURN, timeout=60)
        assert held.acquire(blocking=False)
        assert "another audit is at work" in audited()
        held.release()
        assert "drifted" in audited()
        assert not client.exists(AUDIT_TURN)
