"""A course whose refresh fails again and again is parked; the others go on; the mend frees it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
import redis
from pymongo import MongoClient

from analytics.stores.parking import TRIES
from analytics.subjects import Subject
from tasks.coalescer import QUEUED, Coalescer, Lease
from tests.contract.conftest import Classroom
from tests.stack import Stack, eventually
from tests.whole.test_whole_path import pid_of


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Yield an installation in which documents are broken behind its back."""
    running = Stack.start(tmp_path_factory.mktemp("poisoned"))
    yield running
    assert running.stop() == 0


@pytest.fixture
def database(poisoned: Stack) -> Iterator[Any]:
    """Return the product's database."""
    with MongoClient[dict[str, Any]](poisoned.servers["MONGO_URL"]) as client:
        yield client["coursepulse"]


def watch(course: Classroom, user: str = "u") -> None:
    answer = course.post("a", "watch-time", {"watch_time": 60, "user_id": user})
    assert answer.status_code == 202, answer.text


def refreshes_line(stack: Stack) -> str:
    output = stack.run("doctor").stdout
    return next(line for line in output.splitlines() if " refreshes:" in line)


def test_a_broken_document_parks_its_course_alone_until_it_is_mended(
    poisoned: Stack, database: Any
) -> None:
    ill, well = Classroom.create(poisoned, "ill"), Classroom.create(poisoned, "well")
    watch(ill)
    ill.reaches(total_watch_time_minutes=1.0)
    broken = {"course_id": "ill", "user_id": "x", "dirty": "ill", "alive": True, "uncounted": [{}]}
    database.progress.insert_one(dict(broken))
    watch(ill)

    def parked() -> Any:
        return database.failing.find_one({"_id": "course:ill", "failures": {"$gte": TRIES}})

    found = eventually(parked, seconds=30, what="the parking")
    assert "KeyError" in found["reason"]
    assert "course:ill" in refreshes_line(poisoned)
    assert "parked" in refreshes_line(poisoned)
    watch(well)
    well.reaches(total_watch_time_minutes=1.0)
    assert database.failing.find_one({"_id": "course:ill"})["failures"] == found["failures"]

    database.progress.delete_one({"user_id": "x"})
    watch(ill)
    answer = poisoned.run("retry", "--course", "ill")
    assert answer.returncode == 0, answer.stderr
    assert "KeyError" in answer.stdout
    ill.reaches(total_watch_time_minutes=3.0)
    assert eventually(lambda: "none fails" in refreshes_line(poisoned), seconds=20)
    again = poisoned.run("retry", "--course", "ill")
    assert again.returncode == 1
    assert "does not fail" in again.stdout


def test_a_success_forgets_the_failures(poisoned: Stack, database: Any) -> None:
    course = Classroom.create(poisoned, "healed")
    database.failing.insert_one(
        {"_id": "course:healed", "failures": 1, "reason": "KeyError: 'x'", "version": 0,
         "first_at": 1, "last_at": 1, "until": 0}
    )  # fmt: skip
    watch(course)
    eventually(lambda: database.failing.find_one({"_id": "course:healed"}) is None)


def test_a_refresh_whose_process_dies_each_time_is_parked_as_well(
    poisoned: Stack, database: Any
) -> None:
    course = Classroom.create(poisoned, "deadly")
    watch(course)
    course.reaches(total_watch_time_minutes=1.0)
    mongo = pid_of(poisoned, "mongo")
    with redis.Redis.from_url(poisoned.servers["REDIS_URL"], decode_responses=True) as client:
        coalescer = Coalescer(client, 100)

        def failures() -> int:
            found = database.failing.find_one({"_id": "course:deadly"})
            return 0 if found is None else int(found["failures"])

        for number in range(1, TRIES + 1):
            lease = eventually(lambda: coalescer.mark(Subject("deadly")), what="an idle course")
            # With the database stopped, the refresh stays where it is until its process is killed.
            os.kill(mongo, signal.SIGSTOP)
            try:
                enqueue(poisoned, lease)
                eventually(lambda: client.zscore(QUEUED, "course:deadly") is None)
                for child in psutil.Process(pid_of(poisoned, "worker")).children():
                    child.kill()
            finally:
                os.kill(mongo, signal.SIGCONT)
            eventually(lambda: failures() == number, seconds=30, what=f"failure {number}")  # noqa: B023  # called in this round
        # The failure is counted in the database first; the coalescer is told a moment later.
        eventually(lambda: coalescer.depth().parked == 1, what="the parking")
        assert coalescer.mark(Subject("deadly")) is None
    assert "WorkerLostError" in database.failing.find_one({"_id": "course:deadly"})["reason"]
    assert poisoned.run("retry").returncode == 0
    watch(course)
    course.reaches(total_watch_time_minutes=2.0)


def enqueue(stack: Stack, lease: Lease) -> None:
    """Enqueue a leased refresh, in a process of its own whose Celery has the stack's settings."""
    program = (
        "from tasks.coalescer import Lease; from tasks.sending import send_refresh;"
        f"from analytics.subjects import Subject; send_refresh({lease!r})"
    )
    environment = stack.environment | stack.servers | {"JWT_SECRET": stack.secret}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=60)
