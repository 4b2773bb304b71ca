"""Who may do what: credentials, roles, ownership, sessions."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

import httpx
import jwt
import pytest

from tests.contract.conftest import Classroom
from tests.stack import Stack

ROUTES = [
    ("GET", "/courses"),
    ("POST", "/courses"),
    ("GET", "/courses/c"),
    ("PUT", "/courses/c"),
    ("PUT", "/courses/c/modules/m"),
    ("POST", "/courses/c/enrollments"),
    ("DELETE", "/courses/c/enrollments/u"),
    ("DELETE", "/students/u"),
    ("PUT", "/courses/c/rating"),
    ("POST", "/progress/lessons/l/complete"),
    ("POST", "/progress/lessons/l/watch-time"),
    ("POST", "/progress/lessons/l/quiz-attempts"),
    ("GET", "/progress/courses/c"),
    ("GET", "/courses/c/analytics"),
    ("GET", "/analytics/courses/c/performance"),
    ("GET", "/analytics/platform/overview"),
    ("POST", "/analytics/courses/c/refresh"),
    ("POST", "/analytics/platform/refresh"),
    ("POST", "/session"),
    ("DELETE", "/session"),
    ("GET", "/no/such/route"),
]


def claims(**changes: Any) -> dict[str, Any]:
    return {"sub": "ann", "role": "admin", "exp": int(time.time()) + 600} | changes


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in claims().items() if key != name}


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_without_credentials_every_closed_route_answers_401(
    stack: Stack, method: str, path: str
) -> None:
    answer = httpx.request(method, stack.url + path, content=b"{not json")
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "bad",
    [
        claims(exp=int(time.time()) - 1),
        claims(exp="soon"),
        claims(role="root"),
        claims(role=["admin"]),
        claims(sub=""),
        claims(sub=5),
        claims(sub="x" * 201),
        without("exp"),
        without("sub"),
        without("role"),
    ],
    ids=lambda bad: str(bad)[:70],
)
def test_a_token_with_wrong_claims_is_refused(stack: Stack, bad: dict[str, Any]) -> None:
    token = jwt.api_jws.encode(json.dumps(bad).encode(), stack.secret, algorithm="HS256")
    answer = httpx.get(stack.url + "/courses", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401


@pytest.mark.parametrize("header", ["Bearer", "Basic x", "Bearer a.b.c", "Bearer \xff"])
def test_a_malformed_header_is_refused(stack: Stack, header: str) -> None:
    headers = {b"Authorization": header.encode("latin-1")}
    assert httpx.get(stack.url + "/courses", headers=headers).status_code == 401


def test_a_token_that_never_ends_is_only_a_token(stack: Stack) -> None:
    token = jwt.encode(claims(exp=10**400), stack.secret, algorithm="HS256")
    headers = {"Authorization": f"Bearer {token}"}
    assert httpx.get(stack.url + "/courses", headers=headers).status_code == 200


def test_forged_and_unsigned_tokens_are_refused(stack: Stack) -> None:
    forged = jwt.encode(claims(), "another secret of at least 32 bytes", algorithm="HS256")
    unsigned = jwt.encode(claims(), "", algorithm="none")
    for token in (forged, unsigned):
        headers = {"Authorization": f"Bearer {token}"}
        assert httpx.get(stack.url + "/courses", headers=headers).status_code == 401


def test_a_student_acts_only_for_itself(room: Classroom) -> None:
    student = room.stack.client("student", "eve")
    path = "/progress/lessons/a/complete"
    for_other = {"course_id": room.course_id, "user_id": "ann"}
    assert student.post(path, json=for_other).status_code == 403
    assert student.post(path, json={"course_id": room.course_id}).status_code == 202
    assert room.progress("eve")["completed_count"] == 1


def test_a_service_names_the_student(room: Classroom) -> None:
    answer = room.service.post("/progress/lessons/a/complete", json={"course_id": room.course_id})
    assert answer.status_code == 422
    assert "user_id" in answer.json()["detail"]


@pytest.mark.parametrize("role", ["student", "instructor", "service"])
def test_analytics_are_for_the_owner_and_admins(room: Classroom, role: Any) -> None:
    stranger = room.stack.client(role, "stranger")
    for path in ("analytics",):
        assert stranger.get(f"/courses/{room.course_id}/{path}").status_code == 403
    assert room.stack.client("admin").get(f"/courses/{room.course_id}/analytics").is_success
    assert room.owner.get(f"/analytics/courses/{room.course_id}/performance").is_success
    assert room.owner.get("/courses/absent/analytics").status_code == 404


def test_edits_are_for_the_owner_admins_and_services(room: Classroom) -> None:
    path = f"/courses/{room.course_id}"
    for client, status in (
        (room.stack.client("student"), 403),
        (room.stack.client("instructor", "stranger"), 403),
        (room.owner, 200),
        (room.stack.client("admin"), 200),
        (room.service, 200),
    ):
        assert client.put(path, json={"title": "Renamed"}).status_code == status
        assert client.put(f"{path}/modules/m1", json={"title": "New"}).status_code == status
        assert client.put("/courses/absent", json={"title": "New"}).status_code == 404


def test_only_services_and_admins_remove_and_erase(room: Classroom) -> None:
    for path in (f"/courses/{room.course_id}/enrollments/u", "/students/nobody"):
        assert room.owner.delete(path).status_code == 403
        assert room.service.delete(path).is_success


def test_the_forced_platform_refresh_is_the_admins(room: Classroom) -> None:
    assert room.owner.post("/analytics/platform/refresh").status_code == 403
    answer = room.stack.client("admin").post("/analytics/platform/refresh")
    assert answer.status_code == 202
    assert answer.json()["task_id"]


def test_a_session_cookie_serves_reads_and_writes_of_an_allowed_origin(room: Classroom) -> None:
    with httpx.Client(base_url=room.stack.url) as browser:
        use_a_session(room, browser)


def use_a_session(room: Classroom, browser: httpx.Client) -> None:
    bearer = {"Authorization": f"Bearer {room.stack.token('instructor', room.instructor)}"}
    answer = browser.post("/session", headers=bearer)
    assert answer.status_code == 204
    cookie = answer.headers["set-cookie"]
    assert f"coursepulse_session_{room.stack.port}=" in cookie
    assert "HttpOnly" in cookie
    assert "samesite=lax" in cookie.lower()
    assert "Secure" not in cookie

    path = f"/courses/{room.course_id}"
    assert browser.get(f"{path}/analytics").status_code == 200
    own = {"Origin": f"http://localhost:{room.stack.port}"}
    assert browser.put(path, json={"title": "By cookie"}).status_code == 403
    strange = {"Origin": "http://evil.example"}
    assert browser.put(path, json={"title": "By cookie"}, headers=strange).status_code == 403
    assert browser.put(path, json={"title": "By cookie"}, headers=own).status_code == 200

    ended = dict(browser.cookies)
    assert browser.delete("/session", headers=own).status_code == 204
    replay = httpx.get(room.stack.url + "/courses", cookies=ended)
    assert replay.status_code == 401


def test_the_demos_sign_in_is_absent_without_the_demo(stack: Stack) -> None:
    origin = {"Origin": f"http://localhost:{stack.port}"}
    answer = httpx.post(stack.url + "/demo/session", headers=origin)
    assert answer.status_code in {401, 404}


def test_an_instructor_creates_only_its_own_courses(room: Classroom) -> None:
    body = {"title": "A course", "instructor_id": secrets.token_hex(4)}
    assert room.owner.post("/courses", json=body).status_code == 403
    body["instructor_id"] = room.instructor
    assert room.owner.post("/courses", json=body).status_code == 201
    assert room.stack.client("student").post("/courses", json=body).status_code == 403
