"""Flower as an operator uses it: behind its password, tasks readable, failed ones too."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pymongo import MongoClient

from tests.contract.conftest import Classroom
from tests.stack import Stack, eventually
from tests.whole.test_poison import watch
from tests.whole.test_tracing import lines
from tests.whole.test_whole_path import pid_of

USER, PASSWORD = "operator", "a-long-password"
GUARDED = ["/", "/workers", "/tasks", "/broker", "/metrics", "/api/tasks", "/api/workers",
           "/api/task/types", "/api/queues/length"]  # fmt: skip
ACTIONS = ["/api/task/async-apply/tasks.audit", "/api/task/send-task/tasks.audit",
           "/api/worker/shutdown/any", "/api/worker/pool/shrink/any"]  # fmt: skip


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Yield an installation whose Flower has a password."""
    running = Stack.start(
        tmp_path_factory.mktemp("flower"),
        FLOWER_BASIC_AUTH=f"{USER}:{PASSWORD}",
        LOG_FORMAT="json",
    )
    yield running
    assert running.stop() == 0


@pytest.fixture
def flower(guarded: Stack) -> Iterator[httpx.Client]:
    """Return a client of Flower that knows the password."""
    url = f"http://127.0.0.1:{guarded.flower_port}"
    with httpx.Client(base_url=url, auth=(USER, PASSWORD), timeout=10) as client:
        yield client


@pytest.fixture
def database(guarded: Stack) -> Iterator[Any]:
    """Return the product's database."""
    with MongoClient[dict[str, Any]](guarded.servers["MONGO_URL"]) as client:
        yield client["coursepulse"]


def tasks(flower: httpx.Client, course_id: str, state: str) -> list[dict[str, Any]]:
    """Return the refreshes of a course that Flower knows in this state."""
    answer = flower.get("/api/tasks", params={"taskname": "tasks.refresh_course", "state": state})
    assert answer.status_code == 200
    return [task for task in answer.json().values() if repr(course_id) in task["args"]]


@pytest.mark.parametrize("path", GUARDED)
def test_nothing_is_read_without_the_password(guarded: Stack, path: str) -> None:
    url = f"http://127.0.0.1:{guarded.flower_port}{path}"
    assert httpx.get(url).status_code == 401
    assert httpx.get(url, auth=(USER, "another-password")).status_code == 401
    assert httpx.get(url, auth=(USER, PASSWORD), timeout=20).status_code == 200


@pytest.mark.parametrize("path", ACTIONS)
def test_nothing_is_done_without_the_password(guarded: Stack, path: str) -> None:
    url = f"http://127.0.0.1:{guarded.flower_port}{path}"
    assert httpx.post(url, json={}).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Origin": "https://stranger.example"}, id="another-origin"),
        pytest.param({"Origin": "null"}, id="no-origin-of-its-own"),
        pytest.param({"Sec-Fetch-Site": "cross-site"}, id="another-site"),
        pytest.param({"Sec-Fetch-Site": "same-site"}, id="another-port"),
        pytest.param({"Host": "stranger.example"}, id="a-name-pointed-here"),
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/tasks", "/api/worker/shutdown/any"])
def test_without_a_password_no_page_of_others_gets_anything(
    stack: Stack, path: str, headers: dict[str, str]
) -> None:
    method = "POST" if "shutdown" in path else "GET"
    url = f"http://127.0.0.1:{stack.flower_port}{path}"
    assert httpx.request(method, url, headers=headers).status_code == 403


@pytest.mark.parametrize("headers", [{}, {"Sec-Fetch-Site": "same-origin"}])
def test_without_a_password_this_machine_reads_and_others_are_not_invited(
    stack: Stack, headers: dict[str, str]
) -> None:
    for name in ("127.0.0.1", "localhost"):
        url = f"http://{name}:{stack.flower_port}/api/tasks"
        answer = httpx.get(url, headers=headers | {"Origin": f"http://{name}:{stack.flower_port}"})
        assert answer.status_code == 200
        assert "access-control-allow-origin" not in answer.headers


def test_a_finished_refresh_is_readable(guarded: Stack, flower: httpx.Client) -> None:
    course = Classroom.create(guarded, "readable")

    def finished() -> list[dict[str, Any]]:
        watch(course)  # Flower shows what it hears: a refresh from before it listened is not there
        return tasks(flower, "readable", "SUCCESS")

    task = eventually(finished, seconds=30, what="a finished refresh in Flower")[0]
    assert task["name"] == "tasks.refresh_course"
    assert task["runtime"] > 0
    assert task["retries"] == 0
    assert "published version" in task["result"]
    assert task["worker"].startswith("worker-")
    page = flower.get(f"/task/{task['uuid']}").text
    assert "tasks.refresh_course" in page
    assert "readable" in page


def test_a_refresh_that_raises_is_readable_with_its_reason(
    guarded: Stack, flower: httpx.Client, database: Any
) -> None:
    course = Classroom.create(guarded, "raises")
    broken = {"course_id": "raises", "user_id": "x", "dirty": "raises", "alive": True,
              "uncounted": [{}]}  # fmt: skip
    database.progress.insert_one(broken)
    watch(course)
    # Each of the three tries is a task of its own.
    failed = eventually(
        lambda: (found := tasks(flower, "raises", "FAILURE"))[2:] and found,
        seconds=30,
        what="three failed refreshes in Flower",
    )
    assert len(failed) == 3
    for task in failed:
        assert "KeyError" in task["exception"]
        assert "course_fold" in task["traceback"]
        assert task["failed"] > task["started"]
    page = flower.get(f"/task/{failed[0]['uuid']}").text
    assert "KeyError" in page
    assert "raises" in page

    def parked() -> bool:
        told = [line for line in lines(guarded, "worker") if line.get("subject") == "course:raises"]
        return "refresh parked" in {line["event"] for line in told}

    eventually(parked, what="the parking in the worker's log")
    raised = [line for line in lines(guarded, "worker") if "raised unexpected" in line["event"]]
    assert "course_fold" in raised[0]["exception"]


def test_a_refresh_whose_process_was_killed_is_shown_as_failed(
    guarded: Stack, flower: httpx.Client
) -> None:
    course = Classroom.create(guarded, "killed")
    watch(course)
    course.reaches(total_watch_time_minutes=1.0)
    worker, mongo = pid_of(guarded, "worker"), pid_of(guarded, "mongo")

    def lost() -> list[dict[str, Any]]:
        failed = tasks(flower, "killed", "FAILURE")
        return [task for task in failed if "WorkerLostError" in task["exception"]]

    def killed() -> list[dict[str, Any]]:
        """Stop the database under a refresh, and kill the process that waits for it."""
        watch(course)
        os.kill(mongo, signal.SIGSTOP)
        try:
            eventually(lambda: tasks(flower, "killed", "STARTED"), seconds=1)
        except AssertionError:  # it was quicker than the stop
            return lost()
        finally:
            for child in psutil.Process(worker).children():
                child.kill()
            os.kill(mongo, signal.SIGCONT)
        with suppress(AssertionError):  # it had failed by itself, for want of the database
            eventually(lost, seconds=5)
        return lost()

    [task, *_] = eventually(killed, seconds=60, what="a killed refresh in Flower")
    assert "SIGKILL" in task["exception"]


def test_its_metrics_count_the_tasks(guarded: Stack, flower: httpx.Client) -> None:
    course = Classroom.create(guarded, "counted")

    def succeeded() -> float:
        watch(course)
        return sum(
            sample.value
            for family in text_string_to_metric_families(flower.get("/metrics").text)
            for sample in family.samples
            if sample.name == "flower_events_total"
            and sample.labels["task"] == "tasks.refresh_course"
            and sample.labels["type"] == "task-succeeded"
        )

    eventually(succeeded, seconds=30, what="a counted task")
    names = {family.name for family in text_string_to_metric_families(flower.get("/metrics").text)}
    assert {"flower_task_runtime_seconds", "flower_worker_online"} <= names
    assert "counted" not in json.dumps(sorted(names)), "ids are no labels"
