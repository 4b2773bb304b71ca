"""Bad input gets a 4xx that says what to do, and stores nothing."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.contract.conftest import Classroom
from tests.stack import lessons

DEEP = "[" * 100_000


def assert_problem(answer: httpx.Response, *statuses: int) -> None:
    assert 400 <= answer.status_code < 500, answer.text
    assert not statuses or answer.status_code in statuses, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["detail"]
    assert problem["type"].startswith("https://")
    assert answer.headers["x-request-id"]


def assert_nothing_stored(room: Classroom) -> None:
    assert room.progress()["last_accessed"] is None
    assert room.analytics()["students"] == 0


WATCH: list[dict[str, Any]] = [
    {"watch_time": -1},
    {"watch_time": 86_401},
    {"watch_time": 1e300},
    {"watch_time": "5"},
    {"watch_time": True},
    {"watch_time": None},
    {"watch_time": {"$gt": ""}},
    {"watch_time": [1]},
    {},
    {"watch_time": 1, "segments": [[0, 1]]},
    {"segments": []},
    {"segments": [[1]]},
    {"segments": [[1, 2, 3]]},
    {"segments": [[5, 1]]},
    {"segments": [[-1, 1]]},
    {"segments": [["0", "1"]]},
    {"segments": [[0, 86_401]]},
    {"segments": [[0, 1]] * 501},
    {"segments": {"$gt": ""}},
    {"watch_time": 1, "unknown": 1},
    {"watch_time": 1, "user_id": {"$gt": ""}},
    {"watch_time": 1, "user_id": ""},
    {"watch_time": 1, "user_id": "x" * 201},
    {"watch_time": 1, "user_id": "nul\x00"},
    {"watch_time": 1, "user_id": 7},
    {"watch_time": 1, "course_id": {"$ne": None}},
    {"watch_time": 1, "course_id": "x" * 10_000},
]


@pytest.mark.parametrize("body", WATCH, ids=lambda body: json.dumps(body)[:60])
def test_a_wrong_watch_time_is_refused(room: Classroom, body: dict[str, Any]) -> None:
    assert_problem(room.post("a", "watch-time", body), 422)
    assert_nothing_stored(room)


QUIZ: list[dict[str, Any]] = [
    {"score": 2, "max_score": 1},
    {"score": -1, "max_score": 1},
    {"score": 0, "max_score": 0},
    {"score": 1},
    {"max_score": 1},
    {"score": "1", "max_score": 2},
    {"score": True, "max_score": 2},
    {"score": 1, "max_score": 1e30},
    {"score": {"$gt": ""}, "max_score": 1},
]


@pytest.mark.parametrize("body", QUIZ, ids=json.dumps)
def test_a_wrong_quiz_attempt_is_refused(room: Classroom, body: dict[str, Any]) -> None:
    assert_problem(room.post("c", "quiz-attempts", body), 422)
    assert_nothing_stored(room)


RAW = [
    b"",
    b"{",
    b"[]",
    b'"text"',
    b"null",
    b"\xff\xfe{}",
    b'{"course_id": "@", "user_id": "ann", "watch_time": NaN}',
    b'{"course_id": "@", "user_id": "ann", "watch_time": Infinity}',
    b'{"course_id": "@", "user_id": "ann", "watch_time": 1e400}',
    b'{"course_id": "@", "user_id": "ann", "watch_time": ' + b"9" * 5_000 + b"}",
    b'{"course_id": "@", "user_id": "\\ud800", "watch_time": 1}',
    b'{"course_id": "\\ud800", "user_id": "ann", "watch_time": 1}',
    b'{"course_id": "@", "user_id": "ann", "watch_time": 1, "\\ud800": 1}',
    DEEP.encode(),
]


@pytest.mark.parametrize("raw", RAW, ids=lambda raw: repr(raw[:60]))
def test_a_body_that_is_not_the_object_asked_for_is_refused(room: Classroom, raw: bytes) -> None:
    content = raw.replace(b"@", room.course_id.encode())
    headers = {"Content-Type": "application/json"}
    answer = room.service.post("/progress/lessons/a/watch-time", content=content, headers=headers)
    assert_problem(answer)
    assert_nothing_stored(room)


@pytest.mark.parametrize("lesson", ["nope", "x" * 10_000, "nul\x00", "tab\t", "%"])
def test_an_impossible_or_absent_lesson_is_refused(room: Classroom, lesson: str) -> None:
    assert_problem(room.post(lesson, "complete", {}), 404, 422)
    assert_nothing_stored(room)


def test_a_lesson_of_another_course_is_refused(room: Classroom) -> None:
    other = room.service.post(
        "/courses", json={"title": "Other", "instructor_id": "i", "modules": lessons("elsewhere")}
    ).json()["_id"]
    assert_problem(room.post("elsewhere", "complete", {}), 404)
    assert_problem(room.post("a", "complete", {"course_id": other}), 404)
    assert_problem(room.post("a", "complete", {"course_id": "no such course"}), 404)
    assert_nothing_stored(room)


@pytest.mark.parametrize("chunked", [False, True], ids=["with length", "without length"])
def test_a_body_over_256_kib_is_refused(room: Classroom, chunked: bool) -> None:  # noqa: FBT001
    content = b'{"x": "' + b"x" * 300_000 + b'"}'
    stream = iter([content[:150_000], content[150_000:]]) if chunked else content
    headers = {"Content-Type": "application/json"}
    answer = room.service.post("/courses", content=stream, headers=headers)
    assert_problem(answer, 413)


COURSES: list[dict[str, Any]] = [
    {},
    {"title": "ab"},
    {"title": "x" * 201},
    {"title": 5},
    {"instructor_id": None},
    {"instructor_id": {"$gt": ""}},
    {"difficulty": "hard"},
    {"tags": "python"},
    {"modules": {}},
    {"modules": lessons("a") * 2},
    {"modules": lessons("a") + lessons("a", module_id="m2")},
    {"modules": lessons("a", "a")},
    {"modules": [{"module_id": "m", "title": "t", "lessons": [{"lesson_id": "a"}]}]},
    {"modules": lessons("nul\x00")},
    {"published": "yes"},
    {"lessons_count": 3},
    {"course_id": ""},
    {"course_id": "a\nb"},
]


@pytest.mark.parametrize("change", COURSES, ids=lambda change: json.dumps(change)[:60])
def test_a_wrong_course_is_refused(room: Classroom, change: dict[str, Any]) -> None:
    body = {"title": "Fine", "instructor_id": "i"} | change if change else {}
    before = room.service.get("/courses").json()["total"]
    assert_problem(room.service.post("/courses", json=body), 422)
    assert room.service.get("/courses").json()["total"] == before


def test_an_edit_that_repeats_a_lesson_id_is_refused_and_changes_nothing(room: Classroom) -> None:
    path = f"/courses/{room.course_id}"
    before = room.service.get(path).json()
    twice = lessons("a") + lessons("a", module_id="m2")
    assert_problem(room.service.put(path, json={"modules": twice}), 422)
    repeated = {"lessons": lessons("a", "a")[0]["lessons"]}
    assert_problem(room.service.put(f"{path}/modules/m1", json=repeated), 422)
    assert room.service.get(path).json() == before


ODD_IDS = [
    "a.b",
    "$set",
    "$",
    "..x",
    "0",
    "1.5",
    "%2E",
    "__proto__",
    "ünï✓",
    "two words",
    "a/b",
    "_",
]


@pytest.mark.parametrize("odd", ODD_IDS)
def test_an_odd_id_is_only_an_id(room: Classroom, odd: str) -> None:
    path = f"/courses/{room.course_id}"
    assert room.service.put(path, json={"modules": lessons(odd, "z")}).status_code == 200
    body = {"user_id": f"{odd} student"}
    assert room.post(odd, "complete", body).status_code == 202
    assert room.post(odd, "watch-time", body | {"segments": [[0, 60]]}).status_code == 202
    assert room.post(odd, "quiz-attempts", body | {"score": 1, "max_score": 2}).status_code == 202
    own = room.progress(f"{odd} student")
    assert [item["lesson_id"] for item in own["completed_lessons"]] == [odd]
    assert own["video_watch_times"] == {odd: 60.0}
    assert own["quiz_attempts"][0]["lesson_id"] == odd
    room.reaches(students=1, avg_completion=50.0, total_watch_time_minutes=1.0, avg_quiz_score=50.0)
