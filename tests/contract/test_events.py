"""Both event streams with real connections: frames, resuming, refusals, ends, clean-up."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import redis
from websockets.sync.client import connect

from tests.contract.conftest import Classroom, httpx_quote
from tests.stack import Stack, eventually, lessons
from tests.whole.test_whole_path import pid_of

PATIENCE = 20.0


@dataclass
class Event:
    """One event as it came; its data is the frame's JSON text."""

    id: int
    data: str

    @property
    def frame(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.data)
        return parsed


def events(answer: httpx.Response) -> Iterator[Event]:
    """Read events as the standard says, as far as this server uses it."""
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        if not line:
            if "data" in fields:
                yield Event(int(fields["id"]), fields["data"])
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")


@contextmanager
def stream(
    stack: Stack, path: str, token: str | None, **headers: str
) -> Iterator[tuple[httpx.Response, Iterator[Event]]]:
    """Open a stream; the answer and its events."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if token is not None:
        given["Authorization"] = f"Bearer {token}"
    with (
        httpx.Client(base_url=stack.url, timeout=PATIENCE) as client,
        client.stream("GET", path, headers=given) as answer,
    ):
        yield answer, events(answer)


def course_path(room: Classroom) -> str:
    return f"/realtime/course/{httpx_quote(room.course_id)}/events"


def owner_token(room: Classroom, ttl: float = 600) -> str:
    return room.stack.token("instructor", room.instructor, ttl)


def test_the_first_event_is_the_present_state_and_newer_ones_follow(room: Classroom) -> None:
    with stream(room.stack, course_path(room), owner_token(room)) as (answer, received):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-accel-buffering"] == "no"
        assert answer.headers["x-request-id"]
        version = next(received).id
        assert version == 0
        room.post("a", "complete", {})
        while True:
            event = next(received)
            assert event.id == event.frame["version"] > version
            version = event.id
            if event.frame["analytics"]["avg_completion"] == 33.33:
                break


def test_an_event_is_the_same_text_as_the_sockets_frame(room: Classroom) -> None:
    room.post("a", "complete", {})
    room.reaches(students=1)
    token = owner_token(room)
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{room.stack.socket_url}/realtime/course/{room.course_id}"
    with (
        stream(room.stack, course_path(room), token) as (_, received),
        connect(url, additional_headers=headers) as socket,
    ):
        assert next(received).data == socket.recv(timeout=PATIENCE)


def test_the_platforms_events_have_the_users_shape(room: Classroom) -> None:
    path = f"/realtime/instructor/{room.instructor}/events"
    with stream(room.stack, path, owner_token(room)) as (_, received):
        frame = next(received).frame
        assert frame["event"] == "platform_overview"
        assert set(frame) == {"event", "data", "version", "latest_event_at", "request_id"}


def test_a_stream_does_not_push_out_the_instructors_socket(room: Classroom) -> None:
    path = f"/realtime/instructor/{room.instructor}"
    token = owner_token(room)
    with connect(
        room.stack.socket_url + path, additional_headers={"Authorization": f"Bearer {token}"}
    ) as socket:
        version = json.loads(socket.recv(timeout=PATIENCE))["version"]
        with stream(room.stack, f"{path}/events", token) as (_, received):
            next(received)
            room.post("a", "complete", {"user_id": room.course_id})
            assert json.loads(socket.recv(timeout=PATIENCE))["version"] > version


def test_the_state_already_seen_is_not_repeated(room: Classroom) -> None:
    room.post("a", "complete", {})
    room.reaches(students=1)
    with stream(room.stack, course_path(room), owner_token(room)) as (_, received):
        seen = next(received).id
    with stream(room.stack, course_path(room), owner_token(room), Last_Event_ID=str(seen)) as (
        _,
        received,
    ):
        room.post("b", "complete", {})
        assert next(received).id > seen


@pytest.mark.parametrize("last", ["1", "-7", "nonsense", "٣", "9" * 40])
def test_a_state_newer_than_what_was_seen_comes_at_once(room: Classroom, last: str) -> None:
    room.post("a", "complete", {})
    room.reaches(students=1)
    header = {b"Last-Event-ID": last.encode()}
    client = room.stack.client("instructor", room.instructor)
    with client.stream("GET", course_path(room), headers=header) as answer:
        assert next(events(answer)).frame["analytics"]["students"] == 1


def test_a_session_cookie_opens_a_stream(room: Classroom) -> None:
    headers = {"Authorization": f"Bearer {owner_token(room)}"}
    answer = room.service.post("/session", headers=headers)
    cookie = answer.headers["set-cookie"].split(";")[0]
    room.service.cookies.clear()
    with stream(room.stack, course_path(room), None, Cookie=cookie) as (_, received):
        assert next(received).id == 0


def refusal(stack: Stack, path: str, token: str | None) -> int:
    with stream(stack, path, token) as (answer, _):
        answer.read()
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code
        return answer.status_code


def test_a_stream_is_refused_before_it_begins(room: Classroom) -> None:
    instructor_path = f"/realtime/instructor/{room.instructor}/events"
    for path in (course_path(room), instructor_path):
        assert refusal(room.stack, path, None) == 401
        assert refusal(room.stack, path, "a.b.c") == 401
        for role in ("student", "instructor", "service"):
            assert refusal(room.stack, path, room.stack.token(role, "stranger")) == 403
    assert refusal(room.stack, "/realtime/course/absent/events", owner_token(room)) == 404


def test_a_course_whose_id_holds_a_slash_has_a_stream(room: Classroom) -> None:
    course = f"{room.course_id}/of two parts"
    body = {
        "course_id": course,
        "title": "Other",
        "instructor_id": room.instructor,
        "modules": lessons("a"),
    }
    assert room.service.post("/courses", json=body).status_code == 201
    path = f"/realtime/course/{httpx_quote(course)}/events"
    with stream(room.stack, path, owner_token(room)) as (_, received):
        assert next(received).frame["course_id"] == course


def test_a_stream_ends_with_its_token(room: Classroom) -> None:
    with stream(room.stack, course_path(room), owner_token(room, ttl=4)) as (_, received):
        assert [event.id for event in received] == [0]


def test_a_viewer_that_goes_leaves_nothing_behind(room: Classroom) -> None:
    channel = f"analytics:{room.course_id}"
    url = room.stack.servers["REDIS_URL"]
    with redis.Redis.from_url(url, decode_responses=True) as client:

        def subscribers() -> Any:
            return dict(client.pubsub_numsub(channel))[channel]

        with stream(room.stack, course_path(room), owner_token(room)) as (_, received):
            next(received)
            assert subscribers() == 1
        eventually(lambda: subscribers() == 0, what="the end of the subscription")


@pytest.fixture(scope="module")
def restarted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Yield an installation whose API a test may restart."""
    running = Stack.start(tmp_path_factory.mktemp("restarted"))
    yield running
    assert running.stop() == 0


def test_streams_end_before_the_server_stops(restarted: Stack) -> None:
    path, token = "/realtime/instructor/prof/events", restarted.token("instructor", "prof")
    before = pid_of(restarted, "api")
    with stream(restarted, path, token) as (_, received):
        seen = next(received).id
        os.kill(before, signal.SIGTERM)
        assert list(received) == []  # a torn stream would raise
    eventually(lambda: pid_of(restarted, "api") != before, seconds=30, what="the restart")
    client = restarted.client()
    eventually(lambda: answers(client), seconds=30, what="the API")
    with stream(restarted, path, token) as (_, received):
        assert next(received).id >= seen


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health/ready").is_success
    except httpx.TransportError:
        return False
