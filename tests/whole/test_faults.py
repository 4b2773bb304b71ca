"""Harm done to the servers while learners go on: nothing acknowledged is lost, viewers converge."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from tests.contract.conftest import Classroom
from tests.stack import Stack, eventually, lessons
from tests.whole.test_whole_path import pid_of


@pytest.fixture(scope="module")
def harmed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Yield an installation that tests may harm."""
    running = Stack.start(tmp_path_factory.mktemp("harmed"))
    yield running
    audited = running.run("audit")
    assert audited.returncode == 0, audited.stdout + audited.stderr
    assert running.stop() == 0


@pytest.fixture
def hall(harmed: Stack, request: pytest.FixtureRequest) -> Classroom:
    """Return a course of the test's own on the installation to be harmed."""
    name = request.node.name[:100]
    service, owner = harmed.client(), harmed.client("instructor", "prof")
    body = {
        "course_id": name,
        "title": "A course",
        "instructor_id": "prof",
        "modules": lessons("a"),
    }
    answer = service.post("/courses", json=body)
    assert answer.status_code == 201, answer.text
    return Classroom(harmed, name, "prof", service, owner)


@contextmanager
def viewer(hall: Classroom) -> Iterator[ClientConnection]:
    """Open a viewer of the course that must stay open throughout."""
    headers = {"Authorization": f"Bearer {hall.stack.token('admin', 'root')}"}
    url = f"{hall.stack.socket_url}/realtime/course/{hall.course_id}"
    with connect(url, additional_headers=headers) as socket:
        socket.recv(timeout=10)
        yield socket


def reaches(socket: ClientConnection, minutes: float) -> None:
    """Read frames until the total is this; versions must grow on the way."""
    version, shown = -1, -1.0
    while shown != minutes:
        frame: dict[str, Any] = json.loads(socket.recv(timeout=30))
        assert frame["version"] > version
        version, shown = frame["version"], frame["analytics"]["total_watch_time_minutes"]


def watch(hall: Classroom, user: str, **options: Any) -> httpx.Response:
    """Watch a minute."""
    return hall.post("a", "watch-time", {"watch_time": 60, "user_id": user}, **options)


def test_events_are_accepted_while_redis_is_frozen(hall: Classroom) -> None:
    valkey = pid_of(hall.stack, "valkey")
    with viewer(hall) as socket:
        os.kill(valkey, signal.SIGSTOP)
        try:
            for number in range(5):
                assert watch(hall, f"u{number}").status_code == 202
        finally:
            os.kill(valkey, signal.SIGCONT)
        reaches(socket, 5.0)


def test_events_are_accepted_while_redis_is_dead_and_viewers_converge(hall: Classroom) -> None:
    with viewer(hall) as socket:
        os.kill(pid_of(hall.stack, "valkey"), signal.SIGKILL)
        for number in range(5):
            assert watch(hall, f"u{number}").status_code == 202
        reaches(socket, 5.0)


@pytest.mark.parametrize("part", ["worker", "beat", "flower"])
def test_a_killed_part_comes_back_and_nothing_is_lost(hall: Classroom, part: str) -> None:
    with viewer(hall) as socket:
        before = pid_of(hall.stack, part)
        assert watch(hall, "u0").status_code == 202
        os.kill(before, signal.SIGKILL)
        assert watch(hall, "u1").status_code == 202
        reaches(socket, 2.0)
        eventually(lambda: pid_of(hall.stack, part) != before, seconds=30, what="the restart")


def test_nothing_acknowledged_is_missing_after_the_database_was_killed(hall: Classroom) -> None:
    before = pid_of(hall.stack, "mongo")
    acknowledged = 0
    refused = False
    with viewer(hall) as socket:
        for number in range(10):
            assert watch(hall, f"u{number}").status_code == 202
            acknowledged += 1
        os.kill(before, signal.SIGKILL)
        for number in range(10, 13):
            key = {"Idempotency-Key": f"k{number}"}
            while (answer := watch(hall, f"u{number}", headers=key)).status_code != 202:
                assert answer.status_code == 503, answer.text
                assert answer.headers["retry-after"]
                refused = True
            acknowledged += 1
        assert refused
        reaches(socket, float(acknowledged))


def test_everything_in_redis_may_be_deleted(hall: Classroom) -> None:
    import redis  # noqa: PLC0415  # the one test that touches it

    with viewer(hall) as socket:
        watch(hall, "u0")
        with redis.Redis.from_url(hall.stack.servers["REDIS_URL"]) as client:
            client.flushall()
        watch(hall, "u1")
        reaches(socket, 2.0)
        hall.reaches(total_watch_time_minutes=2.0)
