"""Networks that go dead without closing anything: connections stay open, and nothing comes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.conftest import Classroom
from tests.stack import Stack, eventually, free_port, lessons
from tests.whole.beats import Clockwork
from tests.whole.line import Line
from tests.whole.test_faults import reaches, viewer, watch

SECRET = "a secret of the test's own, long enough"


def start(data_dir: Path, name: str, url: str) -> Stack:
    """Start an installation that reaches a server by way of a line."""
    data_dir.mkdir()
    (data_dir / "jwt-secret").write_text(SECRET)
    variables = {"JWT_SECRET": SECRET, name: url}
    return Stack.start(data_dir, demo=False, **variables)


@pytest.fixture
def redis_line(clockwork: Clockwork) -> Iterator[Line]:
    """Yield the line to a Valkey of the test's own."""
    line = Line(clockwork.port)
    yield line
    line.close()


@pytest.fixture
def mongo_line(tmp_path: Path) -> Iterator[Line]:
    """Yield the line to a database of the test's own."""
    port = free_port()
    program = Path(sys.executable).with_name("secantusd-py")
    command = [str(program), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--storage-path", str(tmp_path / "mongo"), "--sync-on-commit"]
    with (tmp_path / "mongo.txt").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    line = Line(port)
    yield line
    line.close()
    server.terminate()
    server.wait(20)


def make_hall(stack: Stack) -> Classroom:
    """Return a course on the installation."""
    service, owner = stack.client(), stack.client("instructor", "prof")
    body = {"course_id": "c", "title": "A course", "instructor_id": "prof",
            "modules": lessons("a")}  # fmt: skip
    eventually(lambda: service.post("/courses", json=body).status_code == 201, seconds=20)
    return Classroom(stack, "c", "prof", service, owner)


def test_a_dead_line_to_redis_is_given_up_and_viewers_converge(
    tmp_path: Path, redis_line: Line
) -> None:
    url = f"redis://127.0.0.1:{redis_line.port}/0"
    stack = start(tmp_path / "data", "REDIS_URL", url)
    try:
        hall = make_hall(stack)
        with viewer(hall) as socket:
            assert watch(hall, "u0").status_code == 202
            reaches(socket, 1.0)
            redis_line.go_dead()
            assert watch(hall, "u1").status_code == 202
            eventually(lambda: redis_line.cut, what="connections that died")
            redis_line.come_back()
            assert watch(hall, "u2").status_code == 202
            reaches(socket, 3.0)
            assert watch(hall, "u3").status_code == 202
            reaches(socket, 4.0)
    finally:
        assert stack.stop() == 0


def test_a_dead_line_to_the_database_is_given_up_and_nothing_acknowledged_is_lost(
    tmp_path: Path, mongo_line: Line
) -> None:
    url = f"mongodb://127.0.0.1:{mongo_line.port}/?directConnection=true"
    stack = start(tmp_path / "data", "MONGO_URL", url)
    try:
        hall = make_hall(stack)
        with viewer(hall) as socket:
            assert watch(hall, "u0").status_code == 202
            reaches(socket, 1.0)
            mongo_line.go_dead()
            key = {"Idempotency-Key": "k1"}
            refused = watch(hall, "u1", headers=key)
            assert refused.status_code == 503
            assert refused.headers["retry-after"]
            mongo_line.come_back()
            eventually(lambda: watch(hall, "u1", headers=key).status_code == 202, seconds=30)
            reaches(socket, 2.0)
            hall.reaches(students=2)
    finally:
        assert stack.stop() == 0
