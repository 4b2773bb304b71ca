"""A request's id leads from the answer to both processes' logs and to the screen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.contract.conftest import Classroom
from tests.stack import Stack, eventually, lessons

USER = "user-whom-no-log-names"
CROWD = 200  # more in one refresh than one line lists


@pytest.fixture(scope="module")
def logging_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Yield an installation whose logs are for machines."""
    running = Stack.start(tmp_path_factory.mktemp("tracing"), LOG_FORMAT="json")
    yield running
    assert running.stop() == 0


@pytest.fixture
def hall(logging_stack: Stack, request: pytest.FixtureRequest) -> Classroom:
    """Return a course of the test's own."""
    return Classroom.create(logging_stack, request.node.name[:100])


def watch(hall: Classroom, request_id: str, user: str = USER) -> httpx.Response:
    """Watch a minute, under a request id."""
    body = {"watch_time": 60, "user_id": user}
    return hall.post("a", "watch-time", body, headers={"X-Request-ID": request_id})


def lines(stack: Stack, part: str) -> list[dict[str, Any]]:
    """Return a part's log so far; every whole line must be JSON."""
    text = (stack.data_dir / f"logs/{part}.log").read_text()
    return [json.loads(line) for line in text.split("\n")[:-1]]


def answered(stack: Stack, request_id: str) -> list[dict[str, Any]]:
    """Wait for the API's lines about a request: they reach the file by way of the supervisor."""

    def found() -> list[dict[str, Any]]:
        return [line for line in lines(stack, "api") if line.get("request_id") == request_id]

    return eventually(found, what=f"the API's line about {request_id}")


def refreshes(stack: Stack, request_id: str) -> list[dict[str, Any]]:
    """Return the worker's lines about refreshes that a request is part of."""
    return [line for line in lines(stack, "worker") if request_id in line.get("requests", ())]


def test_a_request_s_id_is_on_the_screen_and_in_both_logs(hall: Classroom) -> None:
    headers = {"Authorization": f"Bearer {hall.stack.token('admin', 'root')}"}
    url = f"{hall.stack.socket_url}/realtime/course/{hall.course_id}"
    with connect(url, additional_headers=headers) as socket:
        assert watch(hall, "trace.1").headers["x-request-id"] == "trace.1"
        while (frame := json.loads(socket.recv(timeout=20)))["request_id"] != "trace.1":
            pass
    [told] = answered(hall.stack, "trace.1")
    assert told["method"] == "POST"
    assert told["route"] == "/progress/lessons/{lesson_id}/watch-time"
    assert told["status"] == 202
    assert told["ms"] > 0

    def of_course() -> list[dict[str, Any]]:
        subject = f"course:{hall.course_id}"
        return [each for each in refreshes(hall.stack, "trace.1") if each["subject"] == subject]

    [line] = eventually(of_course, what="the worker's line")
    assert line["version"] == frame["version"]
    assert line["request_id"] == "trace.1"
    assert line["events"] == 1
    assert line["took_ms"] > 0


def test_events_that_share_a_refresh_are_all_named(hall: Classroom) -> None:
    ids = [f"crowd-{number}" for number in range(CROWD)]
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(
            lambda number: watch(hall, ids[number], f"{USER}-{number % 9}"), range(CROWD)
        )
        assert {answer.status_code for answer in answers} == {202}
    hall.reaches(total_watch_time_minutes=float(CROWD))

    def named() -> bool:
        found = {each for line in lines(hall.stack, "worker") for each in line.get("requests", ())}
        return found.issuperset(ids)

    eventually(named, what="every id in the worker's log")
    subject = f"course:{hall.course_id}"
    told = [line for line in lines(hall.stack, "worker") if line.get("subject") == subject]
    assert sum(line.get("events", 0) for line in told) == CROWD
    assert len([line for line in told if "events" in line]) < CROWD, "refreshes were shared"


def test_a_forced_refresh_is_found_by_its_request(hall: Classroom) -> None:
    path = f"/analytics/courses/{hall.course_id}/refresh"
    answer = hall.owner.post(path, headers={"X-Request-ID": "forced"})
    assert answer.status_code == 202
    eventually(lambda: refreshes(hall.stack, "forced"), what="the worker's line")


def test_a_refused_write_is_in_the_log_and_a_stranger_s_is_not(hall: Classroom) -> None:
    body = {"course_id": hall.course_id, "watch_time": -1}
    path = "/progress/lessons/a/watch-time"
    url = hall.stack.url + path
    assert httpx.post(url, json=body, headers={"X-Request-ID": "stranger"}).status_code == 401
    refused = hall.service.post(path, json=body, headers={"X-Request-ID": "refused"})
    assert refused.status_code == 422
    assert answered(hall.stack, "refused")[0]["status"] == 422
    # Lines are in the order of the answers.
    assert "stranger" not in {line.get("request_id") for line in lines(hall.stack, "api")}


def test_every_line_of_every_part_is_json_and_names_no_user(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    running = Stack.start(tmp_path_factory.mktemp("json"), LOG_FORMAT="json")
    service, owner = running.client(), running.client("instructor", "prof")
    body = {"course_id": "c", "title": "A course", "instructor_id": "prof",
            "modules": lessons("a")}  # fmt: skip
    assert service.post("/courses", json=body).status_code == 201
    hall = Classroom(running, "c", "prof", service, owner)
    assert watch(hall, "seen").status_code == 202
    hall.reaches(total_watch_time_minutes=1.0)
    assert service.delete(f"/courses/c/enrollments/{USER}").status_code == 204
    hall.reaches(students=0)
    assert running.stop() == 0
    for part in ("api", "worker", "beat", "flower"):
        found = lines(running, part)
        assert found, part
        assert {"event", "level", "logger"} <= set.intersection(*map(set, found)), part
        assert USER not in json.dumps(found)
