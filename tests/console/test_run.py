"""`coursepulse run` from start to stop, however the stop comes about."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from tests.console.instances import COURSEPULSE, STOP_LIMIT, Instance, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

DEMO_COURSE = "68a1e085f965e83b626e215e"
KILLED_LIMIT = 5.0


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    # What configuration files, shells and format strings trip over.
    made = Instance(tmp_path / "data %d ; # 'é")
    yield made
    made.end()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    made = Instance(tmp_path_factory.mktemp("running") / "data", demo="on")
    made.start_and_wait()
    yield made
    made.end()


def make_course(client: httpx.Client) -> None:
    body = {"course_id": "kept", "title": "Kept", "instructor_id": "i-1"}
    assert client.post("/courses", json=body).status_code == 201


def assert_nothing_left(instance: Instance) -> None:
    wait_for(lambda: not instance.processes(), KILLED_LIMIT, "the end of every process")
    run_dir = instance.data_dir / "run"
    embedded = json.loads((run_dir / "ports.json").read_text()).values()
    for port in (instance.port, instance.flower_port, *embedded):
        socket.create_server(("127.0.0.1", port)).close()


def test_ready_means_that_every_part_answers(running: Instance) -> None:
    result = running.command("doctor")
    assert result.returncode == 0, result.stdout
    assert all(line.startswith("ok") for line in result.stdout.splitlines())


def test_there_is_exactly_one_ready_line(running: Instance) -> None:
    assert [line for line in running.lines() if line.startswith("ready")] == [
        f"ready {running.url}"
    ]


def test_demo_data_is_there_when_ready(running: Instance) -> None:
    with running.service() as client:
        assert client.get("/courses").json()["total"] == 14
        assert client.get(f"/courses/{DEMO_COURSE}").status_code == 200


def test_a_second_run_of_the_same_data_is_refused_in_one_line(running: Instance) -> None:
    result = running.command("run")
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "in use by another run" in result.stderr


def test_simulated_learners_are_accepted(running: Instance) -> None:
    result = running.command("simulate", "--rate", "20", "--seconds", "1")
    assert result.stdout.startswith("accepted 20, refused 0, failed 0; p50 "), result.stdout
    assert result.returncode == 0


def test_a_part_that_dies_is_restarted_and_told(running: Instance) -> None:
    killed = running.part("api")
    killed.kill()
    wait_for(
        lambda: any(line.split()[:3] == ["api", "ready", "again"] for line in running.lines()),
        20,
        "the API's return",
    )
    assert any(line.split()[:2] == ["api", "died"] for line in running.lines())
    assert running.part("api").pid != killed.pid


def test_what_others_must_not_read_is_private(running: Instance) -> None:
    for path in (running.data_dir, running.data_dir / "run" / "environment.json"):
        assert path.stat().st_mode & 0o077 == 0


def test_ctrl_c_stops_everything_in_order(running: Instance) -> None:
    assert running.process is not None
    os.killpg(running.process.pid, signal.SIGINT)
    assert running.exit_code() == 0
    assert_nothing_left(running)
    assert not (running.data_dir / "run" / "environment.json").exists()
    assert not list((running.data_dir / "run").glob("*.pid"))


def test_sigterm_during_the_start_leaves_nothing(instance: Instance) -> None:
    instance.start()
    wait_for(lambda: any("starting" in line for line in instance.lines()), 20, "the start")
    instance.signal(signal.SIGTERM)
    assert instance.exit_code() == 0
    assert_nothing_left(instance)


def test_data_outlives_a_kill_of_the_whole_group(instance: Instance) -> None:
    instance.start_and_wait()
    with instance.service() as client:
        assert client.get("/courses").json()["total"] == 0  # DEMO=off: an empty system
        make_course(client)
    assert instance.process is not None
    os.killpg(instance.process.pid, signal.SIGKILL)
    instance.process.wait()
    assert instance.start_and_wait() < 10
    with instance.service() as client:
        assert client.get("/courses/kept").status_code == 200
    # The supervisor's death is as good a kill as any: everything goes with it.
    instance.part("supervisor").kill()
    assert instance.exit_code() == 1
    assert_nothing_left(instance)


def test_everything_stops_when_the_parent_dies(instance: Instance) -> None:
    parent = f"import subprocess; subprocess.run({[*COURSEPULSE, 'run']!r})"
    instance.start((sys.executable, "-c", parent))
    instance.wait_ready()
    instance.signal(signal.SIGKILL)
    instance.exit_code()
    wait_for(lambda: not instance.processes(), STOP_LIMIT, "the end of every process")
    assert_nothing_left(instance)
