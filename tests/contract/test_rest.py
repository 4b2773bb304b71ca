"""What the routes do with good input."""

from __future__ import annotations

import secrets
from typing import Any

import httpx
import pytest

from tests.contract.conftest import Classroom
from tests.stack import Stack, eventually, lessons


def test_a_course_comes_back_as_it_was_given(stack: Stack) -> None:
    service, course_id = stack.client(), f"c {secrets.token_hex(4)}/ü"
    body = {
        "course_id": course_id,
        "title": "Ünicode",
        "instructor_id": "prof",
        "category": "Data",
        "tags": ["a", "b"],
        "difficulty": "beginner",
        "modules": lessons("x", "y"),
        "published": True,
    }
    body["modules"][0]["lessons"][0]["duration_minutes"] = 2.5  # type: ignore[index]
    answer = service.post("/courses", json=body)
    assert answer.status_code == 201
    course = answer.json()
    assert course["_id"] == course_id
    assert course["lessons_count"] == 2
    assert course["total_duration_minutes"] == 2.5
    assert (course["ratings_avg"], course["ratings_count"], course["enroll_count"]) == (0.0, 0, 0)
    assert service.post("/courses", json=body).status_code == 409
    assert answer.headers["location"].startswith("/courses/c%20")


def test_courses_are_filtered_sorted_and_paged(stack: Stack) -> None:
    service, mark = stack.client(), secrets.token_hex(6)
    for number in range(3):
        modules = lessons("x")
        modules[0]["lessons"][0]["duration_minutes"] = 10 * (number + 1)
        body = {
            "title": f"{mark} number {number}",
            "instructor_id": mark,
            "tags": ["t", str(number)],
            "modules": modules,
        }
        assert service.post("/courses", json=body).status_code == 201

    def titles(**query: Any) -> list[str]:
        page = service.get("/courses", params={"instructor_id": mark, **query}).json()
        return [item["title"].removeprefix(f"{mark} number ") for item in page["items"]]

    assert titles() == ["2", "1", "0"]
    assert titles(sort_by="duration") == ["0", "1", "2"]
    assert titles(tags="t,1") == ["1"]
    assert titles(search=f"{mark.upper()} NUMBER 2") == ["2"]
    assert titles(min_duration=15, max_duration=25) == ["1"]
    assert titles(page=2, page_size=2) == ["0"]
    assert titles(search=".*") == []
    assert service.get("/courses", params={"page_size": 0}).status_code == 422


def test_an_edit_honours_if_match(room: Classroom) -> None:
    path = f"/courses/{room.course_id}"
    etag = room.owner.get(path).headers["etag"]
    assert room.owner.put(path, json={"title": "One"}, headers={"If-Match": etag}).is_success
    late = room.owner.put(path, json={"title": "Two"}, headers={"If-Match": etag})
    assert late.status_code == 412
    assert room.owner.get(path).json()["title"] == "One"


def test_edited_modules_change_the_completion(room: Classroom) -> None:
    room.post("a", "complete", {})
    room.reaches(avg_completion=33.33)
    room.owner.put(f"/courses/{room.course_id}", json={"modules": lessons("b", "c")})
    room.reaches(avg_completion=0.0)
    module = {"lessons": lessons("a", "b")[0]["lessons"]}
    room.owner.put(f"/courses/{room.course_id}/modules/m1", json=module)
    room.reaches(avg_completion=50.0)


def test_watch_time_adds_seconds_and_the_union_of_segments(room: Classroom) -> None:
    room.post("a", "watch-time", {"watch_time": 30.5})
    room.post("a", "watch-time", {"segments": [[0, 60], [30, 90]]})
    room.post("a", "watch-time", {"segments": [[60, 89.5], [90, 99.5]]})
    assert room.progress()["video_watch_times"] == {"a": 130.0}
    room.reaches(total_watch_time_minutes=2.17, avg_watch_time_per_student=2.17)


def test_own_progress_has_the_contracts_shape(room: Classroom) -> None:
    blank = room.progress()
    assert blank == {
        "user_id": "ann",
        "course_id": room.course_id,
        "progress_percent": 0.0,
        "completed_count": 0,
        "total_lessons": 3,
        "completed_lessons": [],
        "video_watch_times": {},
        "quiz_attempts": [],
        "last_accessed": None,
    }
    room.post("a", "complete", {})
    room.post("c", "quiz-attempts", {"score": 2.5, "max_score": 10})
    own = room.progress()
    assert own["progress_percent"] == 33.33
    assert own["quiz_attempts"][0] | {"attempted_at": ""} == {
        "lesson_id": "c",
        "score": 2.5,
        "max_score": 10.0,
        "attempted_at": "",
    }
    assert own["last_accessed"].endswith("Z")
    assert (
        room.stack.client("student", "ann").get(f"/progress/courses/{room.course_id}").json() == own
    )


def test_a_repeated_key_answers_the_same_receipt(room: Classroom) -> None:
    key = {"Idempotency-Key": "k1"}
    first = room.post("a", "watch-time", {"watch_time": 60}, headers=key)
    again = room.post("a", "watch-time", {"watch_time": 60}, headers=key)
    assert first.status_code == again.status_code == 202
    assert first.json() == again.json()
    other = room.post("a", "watch-time", {"watch_time": 61}, headers=key)
    assert other.status_code == 409
    elsewhere = room.post("b", "watch-time", {"watch_time": 60}, headers=key)
    assert elsewhere.status_code == 409
    neighbour = room.post("a", "watch-time", {"watch_time": 61, "user_id": "bob"}, headers=key)
    assert neighbour.status_code == 202
    room.reaches(total_watch_time_minutes=2.02)


def test_a_repeat_is_answered_also_where_the_lesson_is_gone(room: Classroom) -> None:
    key = {"Idempotency-Key": "k1"}
    first = room.post("a", "complete", {}, headers=key)
    room.owner.put(f"/courses/{room.course_id}", json={"modules": lessons("b")})
    assert room.post("a", "complete", {}, headers=key).json() == first.json()


def test_finishing_a_lesson_again_changes_nothing(room: Classroom) -> None:
    room.post("a", "complete", {})
    before = room.progress()
    assert room.post("a", "complete", {}).status_code == 202
    assert room.progress() == before


def test_enrolment_removal_and_return(room: Classroom) -> None:
    path = f"/courses/{room.course_id}/enrollments"
    assert room.service.post(path, json={"user_id": "ann"}).status_code == 201
    assert room.service.post(path, json={"user_id": "ann"}).status_code == 200
    assert room.stack.client("student", "bob").post(path).status_code == 201
    room.post("a", "watch-time", {"watch_time": 60})
    room.reaches(students=2, total_watch_time_minutes=1.0)
    eventually(
        lambda: room.service.get(f"/courses/{room.course_id}").json()["enroll_count"] == 2,
        what="the enrolment count",
    )
    assert room.service.delete(f"{path}/ann").status_code == 204
    assert room.service.delete(f"{path}/ann").status_code == 204
    room.reaches(students=1, total_watch_time_minutes=0.0)
    assert room.progress()["last_accessed"] is None
    assert room.service.post(path, json={"user_id": "ann"}).status_code == 201
    room.reaches(students=2)


def test_an_erased_student_is_gone_everywhere(room: Classroom) -> None:
    user = f"user-{secrets.token_hex(4)}"
    room.post("a", "complete", {"user_id": user})
    room.service.put(f"/courses/{room.course_id}/rating", json={"rating": 5, "user_id": user})
    room.reaches(students=1)
    assert room.service.delete(f"/students/{user}").status_code == 202
    room.reaches(students=0, avg_completion=0.0)
    eventually(
        lambda: room.service.get(f"/courses/{room.course_id}").json()["ratings_count"] == 0,
        what="the rating's withdrawal",
    )
    assert room.progress(user)["completed_count"] == 0


def test_the_last_rating_stands_and_makes_no_progress(room: Classroom) -> None:
    path = f"/courses/{room.course_id}"
    for rating in (1, 5, 4):
        body = {"rating": rating, "user_id": "ann"}
        assert room.service.put(f"{path}/rating", json=body).status_code == 200
    room.service.put(f"{path}/rating", json={"rating": 5, "user_id": "bob"})

    def rated() -> bool:
        course = room.service.get(path).json()
        return (course["ratings_avg"], course["ratings_count"]) == (4.5, 2)

    eventually(rated, what="the ratings")
    assert room.analytics()["students"] == 0
    for wrong in (0, 6, 3.5, "5", True):
        refused = room.service.put(f"{path}/rating", json={"rating": wrong, "user_id": "ann"})
        assert refused.status_code == 422


def test_analytics_answer_304_until_they_change(room: Classroom) -> None:
    path = f"/courses/{room.course_id}/analytics"
    room.post("a", "complete", {})
    room.reaches(students=1)
    etag = room.owner.get(path).headers["etag"]
    assert room.owner.get(path, headers={"If-None-Match": etag}).status_code == 304
    assert room.owner.post(f"/analytics/courses/{room.course_id}/refresh").status_code == 202
    eventually(
        lambda: room.owner.get(path, headers={"If-None-Match": etag}).status_code == 200,
        what="the forced refresh's version",
    )


def test_a_request_id_is_taken_over_or_made(stack: Stack) -> None:
    given = httpx.get(stack.url + "/health/live", headers={"X-Request-ID": "abc-1"})
    assert given.headers["x-request-id"] == "abc-1"
    made = httpx.get(stack.url + "/health/live", headers={"X-Request-ID": "a b"})
    assert len(made.headers["x-request-id"]) == 32


def test_readiness_names_each_dependency(stack: Stack) -> None:
    answer = httpx.get(stack.url + "/health/ready")
    assert answer.status_code == 200
    assert answer.json()["dependencies"] == {"mongodb": "up", "redis": "up", "schema": "up"}


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/", "/static/page.js"])
def test_open_pages_answer_anybody(stack: Stack, path: str) -> None:
    assert httpx.get(stack.url + path).status_code == 200
