"""Both WebSocket endpoints with real sockets: frames, routing, authentication, close codes."""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.contract.conftest import Classroom
from tests.dialing import Door, close_code, course_path, dial, frame, frame_where, owner_token, post
from tests.stack import lessons


async def test_a_fresh_course_shows_zeros_then_each_newer_state(
    room: Classroom, door: Door
) -> None:
    async with dial(door, course_path(room), owner_token(room)) as socket:
        first = await frame(socket)
        generated_at = first["analytics"].pop("generated_at")
        assert generated_at.endswith("Z")
        assert first == {
            "event": "course_analytics_update",
            "course_id": room.course_id,
            "analytics": {
                "course_id": room.course_id,
                "students": 0,
                "avg_completion": 0.0,
                "total_watch_time_minutes": 0.0,
                "avg_watch_time_per_student": 0.0,
                "avg_quiz_score": 0.0,
            },
            "version": 0,
            "latest_event_at": None,
            "request_id": None,
        }
        options = {"headers": {"X-Request-ID": "the-first-event"}}
        await asyncio.to_thread(lambda: room.post("a", "complete", {}, **options))
        received = await frame_where(socket, students=1, avg_completion=33.33)
        assert received["request_id"] == "the-first-event"
        assert received["latest_event_at"].endswith("Z")
        await post(room, "a", "watch-time", {"watch_time": 90})
        newer = await frame_where(socket, total_watch_time_minutes=1.5)
        assert newer["version"] > received["version"]


async def test_the_first_frame_is_the_present_state(room: Classroom, door: Door) -> None:
    room.post("a", "complete", {})
    room.reaches(students=1)
    async with dial(door, course_path(room), owner_token(room)) as socket:
        assert (await frame(socket))["analytics"] == room.analytics()


async def test_every_viewer_of_a_course_gets_its_frames_and_no_other(
    room: Classroom, door: Door
) -> None:
    body = {"title": "Other", "instructor_id": room.instructor, "modules": lessons("a")}
    other = room.service.post("/courses", json=body).json()["_id"]
    path = f"/realtime/course/{other}"
    async with (
        dial(door, course_path(room), owner_token(room)) as one,
        dial(door, course_path(room), room.stack.token("admin", "root")) as two,
        dial(door, path, owner_token(room)) as stranger,
    ):
        for socket in (one, two, stranger):
            await frame(socket)
        await post(room, "a", "complete", {})
        for socket in (one, two):
            await frame_where(socket, students=1)
        await post(room, "a", "complete", {"course_id": other, "user_id": "bob"})
        assert (await frame(stranger))["course_id"] == other


async def test_the_platform_frame_has_the_users_shape(room: Classroom, door: Door) -> None:
    path = f"/realtime/instructor/{room.instructor}"
    async with dial(door, path, owner_token(room)) as socket:
        first = await frame(socket)
        assert set(first) == {"event", "data", "version", "latest_event_at", "request_id"}
        assert first["event"] == "platform_overview"
        assert set(first["data"]) == {
            "total_courses",
            "active_students",
            "avg_rating",
            "popular_categories",
            "generated_at",
        }
        active = first["data"]["active_students"]
        await post(room, "a", "complete", {"user_id": f"new-{secrets.token_hex(4)}"})
        # More than one: another test's student may be counted only now.
        while (await frame(socket))["data"]["active_students"] <= active:
            pass


async def test_the_newest_connection_of_an_instructor_wins(room: Classroom, door: Door) -> None:
    path = f"/realtime/instructor/{room.instructor}"
    async with (
        dial(door, path, owner_token(room)) as older,
        dial(door, path, room.stack.token("admin", "root")) as admin,
    ):
        await frame(older)
        await frame(admin)
        async with dial(door, path, owner_token(room)) as newer:
            await frame(newer)
            assert await close_code(older) == 4409
            await post(room, "a", "complete", {"user_id": f"new-{secrets.token_hex(4)}"})
            await frame(admin)
            await frame(newer)


async def test_a_first_message_authenticates(room: Classroom, door: Door) -> None:
    async with dial(door, course_path(room)) as socket:
        await socket.send(json.dumps({"type": "auth", "token": owner_token(room)}))
        assert (await frame(socket))["version"] == 0


async def test_a_session_cookie_with_an_allowed_origin_authenticates(
    room: Classroom, door: Door
) -> None:
    headers = {"Authorization": f"Bearer {owner_token(room)}"}
    answer = room.service.post("/session", headers=headers)
    cookie = answer.headers["set-cookie"].split(";")[0]
    room.service.cookies.clear()
    origin = f"http://localhost:{room.stack.port}"
    async with dial(door, course_path(room), Cookie=cookie, Origin=origin) as socket:
        assert (await frame(socket))["version"] == 0


async def test_a_bad_cookie_counts_as_none(room: Classroom, door: Door) -> None:
    cookie = f"coursepulse_session_{room.stack.port}=forged"
    origin = f"http://localhost:{room.stack.port}"
    async with dial(door, course_path(room), Cookie=cookie, Origin=origin) as socket:
        await socket.send(json.dumps({"type": "auth", "token": owner_token(room)}))
        assert (await frame(socket))["version"] == 0


async def test_a_strange_origin_is_refused_before_the_handshake(
    room: Classroom, door: Door
) -> None:
    evil = "http://evil.example"
    with pytest.raises(InvalidStatus) as refused:
        async with dial(door, course_path(room), owner_token(room), Origin=evil):
            pass
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("token", ["", "a.b.c"])
async def test_a_bad_header_closes_with_4401(room: Classroom, door: Door, token: str) -> None:
    async with dial(door, course_path(room), token) as socket:
        assert await close_code(socket) == 4401


@pytest.mark.parametrize("message", ['{"type": "auth", "token": "a.b.c"}', "hello", "[" * 3_000])
async def test_a_bad_first_message_closes_with_4401(
    room: Classroom, door: Door, message: str
) -> None:
    async with dial(door, course_path(room)) as socket:
        await socket.send(message)
        assert await close_code(socket) == 4401


async def test_silence_after_opening_closes_with_4401(room: Classroom, door: Door) -> None:
    async with dial(door, course_path(room)) as socket:
        assert await close_code(socket) == 4401


async def test_an_expired_token_closes_with_4401(room: Classroom, door: Door) -> None:
    async with dial(door, course_path(room), owner_token(room, ttl=2)) as socket:
        await frame(socket)
        assert await close_code(socket) == 4401


async def test_a_fresh_token_extends_the_connection(room: Classroom, door: Door) -> None:
    async with dial(door, course_path(room), owner_token(room, ttl=2)) as socket:
        await frame(socket)
        await socket.send(json.dumps({"type": "auth", "token": owner_token(room)}))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):  # past the first token's end
                await socket.recv()
        await post(room, "a", "complete", {})
        await frame_where(socket, students=1)


async def test_a_token_of_another_user_closes_with_4401(room: Classroom, door: Door) -> None:
    async with dial(door, course_path(room), owner_token(room)) as socket:
        await frame(socket)
        other = room.stack.token("admin", "root")
        await socket.send(json.dumps({"type": "auth", "token": other}))
        assert await close_code(socket) == 4401


@pytest.mark.parametrize("role", ["student", "instructor", "service"])
async def test_a_stranger_is_closed_with_4403(room: Classroom, door: Door, role: Any) -> None:
    stranger = room.stack.token(role, "stranger")
    for path in (course_path(room), f"/realtime/instructor/{room.instructor}"):
        async with dial(door, path, stranger) as socket:
            assert await close_code(socket) == 4403


async def test_an_absent_course_closes_with_4404(room: Classroom, door: Door) -> None:
    async with dial(door, "/realtime/course/absent", owner_token(room)) as socket:
        assert await close_code(socket) == 4404


async def test_a_message_over_4_kib_closes_with_1009(room: Classroom, door: Door) -> None:
    async with dial(door, course_path(room), owner_token(room)) as socket:
        await frame(socket)
        await socket.send("x" * 4_097)
        assert await close_code(socket) == 1009


async def test_more_than_100_messages_a_minute_close_with_4429(room: Classroom, door: Door) -> None:
    async with dial(door, course_path(room), owner_token(room)) as socket:
        await frame(socket)
        for _ in range(101):
            await socket.send("ignored")
        assert await close_code(socket) == 4429


async def test_other_messages_are_ignored(room: Classroom, door: Door) -> None:
    async with dial(door, course_path(room), owner_token(room)) as socket:
        await frame(socket)
        for message in ("hello", "{", '{"type": "auth"}', b"\xff\x00"):
            await socket.send(message)
        await post(room, "a", "complete", {})
        await frame_where(socket, students=1)


async def test_a_viewer_that_vanishes_harms_nobody(room: Classroom, door: Door) -> None:
    async with (
        dial(door, course_path(room), owner_token(room)) as stays,
        dial(door, course_path(room), owner_token(room)) as vanishes,
    ):
        await frame(stays)
        await frame(vanishes)
        vanishes.transport.abort()
        await post(room, "a", "complete", {})
        await frame_where(stays, students=1)
