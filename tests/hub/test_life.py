"""A viewer's life at a hub with small limits: each end comes with its code."""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import socket as sockets
import subprocess
import sys
from contextlib import AsyncExitStack, suppress
from typing import Any

import httpx
import pytest
import redis
from pymongo import MongoClient
from websockets.asyncio.client import ClientConnection

from tests.contract.conftest import Classroom
from tests.dialing import close_code, course_path, dial, frame, frame_where, owner_token, post
from tests.hubs import HubProcess
from tests.stack import eventually, free_port, lessons

DATABASE = "coursepulse"


async def test_a_course_given_to_another_instructor_closes_with_4403(room: Classroom) -> None:
    admin = room.stack.token("admin", secrets.token_hex(4))
    async with (
        dial(room.stack, course_path(room), owner_token(room)) as socket,
        dial(room.stack, course_path(room), admin) as other,
    ):
        await frame(socket)
        await frame(other)
        body = {"instructor_id": "another"}
        answer = await asyncio.to_thread(room.owner.put, f"/courses/{room.course_id}", json=body)
        assert answer.status_code == 200
        assert await close_code(socket) == 4403
        assert other.close_code is None


async def test_an_owner_changed_behind_the_product_s_back_closes_with_4403(
    room: Classroom, hub: HubProcess
) -> None:
    async with dial(hub, course_path(room), owner_token(room)) as socket:
        await frame(socket)
        with database(room) as client:
            client[DATABASE].courses.update_one(
                {"_id": room.course_id}, {"$set": {"instructor_id": "another"}}
            )
        assert await close_code(socket) == 4403


async def test_a_deleted_course_closes_with_4404(room: Classroom, hub: HubProcess) -> None:
    async with dial(hub, course_path(room), owner_token(room)) as socket:
        await frame(socket)
        with database(room) as client:
            course = client[DATABASE].courses.find_one_and_delete({"_id": room.course_id})
            assert course is not None
            try:
                assert await close_code(socket) == 4404
            finally:  # later audits look at what there is
                client[DATABASE].courses.insert_one(course)


def database(room: Classroom) -> MongoClient[dict[str, Any]]:
    """Return a client of the installation's database."""
    return MongoClient(room.stack.servers["MONGO_URL"])


async def connected(hub: HubProcess, room: Classroom, stack: AsyncExitStack) -> ClientConnection:
    """Return a connection of a user of its own that has its first frame."""
    token = room.stack.token("admin", secrets.token_hex(4))
    socket = await stack.enter_async_context(dial(hub, course_path(room), token))
    await frame(socket)
    return socket


async def test_a_process_that_has_its_most_connections_closes_the_next_with_4429(
    room: Classroom, hub: HubProcess
) -> None:
    async with AsyncExitStack() as stack:
        admitted = [await connected(hub, room, stack) for _ in range(6)]
        async with dial(hub, course_path(room), owner_token(room)) as one_more:
            assert await close_code(one_more) == 4429
        assert [socket.close_code for socket in admitted] == [None] * 6


async def test_sockets_that_say_nothing_take_no_place_for_long(
    room: Classroom, hub: HubProcess
) -> None:
    async with AsyncExitStack() as stack:
        silent = [await stack.enter_async_context(dial(hub, course_path(room))) for _ in range(6)]
        assert [await close_code(socket) for socket in silent] == [4401] * 6
        await connected(hub, room, stack)


def test_an_event_stream_too_many_is_answered_429(room: Classroom) -> None:
    """The installation's own limit: ten a user, sockets and streams together."""
    sub = secrets.token_hex(4)
    headers = {"Authorization": f"Bearer {room.stack.token('admin', sub)}"}
    path = f"/realtime/course/{room.course_id}/events"
    with httpx.Client(base_url=room.stack.url, headers=headers, timeout=10) as client:
        streams = [client.send(client.build_request("GET", path), stream=True) for _ in range(10)]
        assert [stream.status_code for stream in streams] == [200] * 10
        refused = client.get(path)
        assert refused.status_code == 429
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["retry-after"]
        for stream in streams:
            stream.close()

        def free_again() -> bool:
            with client.stream("GET", path) as one:
                return one.status_code == 200

        eventually(free_again, what="a seat given back")


async def test_a_stopping_hub_tells_everybody_1012(room: Classroom, hub: HubProcess) -> None:
    async with AsyncExitStack() as stack:
        everybody = [await connected(hub, room, stack) for _ in range(5)]
        hub.process.send_signal(signal.SIGTERM)
        assert [await close_code(viewer) for viewer in everybody] == [1012] * 5
    assert hub.stop() == -signal.SIGTERM


async def test_a_viewer_that_stops_reading_is_closed_and_nobody_waits_for_it(
    room: Classroom, hub: HubProcess
) -> None:
    """Its buffers fill, it is given up a second later; the others miss no frame."""
    token = room.stack.token("admin", secrets.token_hex(4))
    stopped = await asyncio.to_thread(open_and_never_read, hub, course_path(room), token)
    with stopped, redis.Redis.from_url(room.stack.servers["REDIS_URL"]) as client:
        async with dial(hub, course_path(room), owner_token(room)) as reader:
            version = (await frame(reader))["version"]
            for number in range(1, 401):
                publish(client, room.course_id, version + number)
                if number % 20 == 0:  # the reader may skip, but reaches each twentieth
                    while (await frame(reader))["version"] < version + number:
                        pass
            await asyncio.to_thread(
                lambda: eventually(lambda: viewers(hub) == 1, seconds=30, what="its end")
            )
            assert await asyncio.to_thread(bytes_held, stopped) <= 256 * 1024
            publish(client, room.course_id, version + 1_000)
            while (await frame(reader))["version"] < version + 1_000:
                pass


def open_and_never_read(hub: HubProcess, path: str, token: str) -> sockets.socket:
    """Shake hands over a socket whose receive buffer is tiny."""
    peer = sockets.socket()
    peer.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4_096)
    peer.connect(("127.0.0.1", hub.port))
    lines = (
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        f"Authorization: Bearer {token}",
        "",
        "",
    )
    peer.sendall("\r\n".join(lines).encode())
    assert peer.recv(12) == b"HTTP/1.1 101"
    return peer


def viewers(hub: HubProcess) -> int:
    """Return how many viewers of courses the hub has."""
    answer = httpx.get(f"http://127.0.0.1:{hub.port}/health/live").json()
    number: int = answer["viewers"]["course"]
    return number


def bytes_held(peer: sockets.socket) -> int:
    """Return how many bytes had been handed on for a peer that read none of them."""
    held = 0
    with suppress(ConnectionResetError):  # the rest was thrown away
        while data := peer.recv(65_536):
            held += len(data)
    return held


def publish(client: redis.Redis, course_id: str, version: int) -> None:
    """Publish a frame of about 3 KB."""
    analytics = {"course_id": course_id, "students": 1, "pad": "x" * 3_000}
    body = {"event": "course_analytics_update", "course_id": course_id, "analytics": analytics}
    client.publish(f"analytics:{course_id}", json.dumps(body | {"version": version}))


@pytest.mark.parametrize("kind", ["its own protocol", "plain ASGI"])
async def test_an_expired_token_ends_its_connection(room: Classroom, kind: str) -> None:
    started = await asyncio.to_thread(HubProcess.start, room.stack, kind)
    try:
        async with dial(started, course_path(room), owner_token(room, ttl=2)) as socket:
            await frame(socket)
            await post(room, "a", "complete", {})
            await frame_where(socket, students=1)
            assert await close_code(socket) == 4401
    finally:
        await asyncio.to_thread(started.stop)


async def test_an_ended_session_closes_its_sockets_with_4401_and_no_others(
    room: Classroom, hub: HubProcess
) -> None:
    ended, kept = await asyncio.to_thread(session, room), await asyncio.to_thread(session, room)
    async with (
        dial(hub, course_path(room), **ended) as socket,
        dial(hub, course_path(room), **kept) as other,
    ):
        await frame(socket)
        await frame(other)
        await asyncio.to_thread(sign_out, room, ended)
        assert await close_code(socket) == 4401
        await post(room, "a", "complete", {})
        await frame_where(other, students=1)


async def test_a_session_that_ended_does_not_close_whoever_sent_a_token_since(
    room: Classroom, hub: HubProcess
) -> None:
    renewed, ended = await asyncio.to_thread(session, room), await asyncio.to_thread(session, room)
    async with (
        dial(hub, course_path(room), **renewed) as socket,
        dial(hub, course_path(room), **ended) as other,
    ):
        await frame(socket)
        await frame(other)
        await socket.send(json.dumps({"type": "auth", "token": owner_token(room)}))
        await (await socket.ping())  # what was sent before it is read, and soon verified
        for each in (renewed, ended):
            await asyncio.to_thread(sign_out, room, each)
        assert await close_code(other) == 4401
        await post(room, "a", "complete", {})
        await frame_where(socket, students=1)


def session(room: Classroom) -> dict[str, str]:
    """Begin a session of the course's instructor; return the headers a browser would send."""
    bearer = {"Authorization": f"Bearer {owner_token(room)}"}
    answer = httpx.post(f"{room.stack.url}/session", headers=bearer)
    cookie = answer.headers["set-cookie"].split(";")[0]
    return {"Cookie": cookie, "Origin": f"http://localhost:{room.stack.port}"}


def sign_out(room: Classroom, headers: dict[str, str]) -> None:
    """End the session."""
    assert httpx.delete(f"{room.stack.url}/session", headers=headers).status_code == 204


def test_a_hub_without_its_settings_says_in_a_line_each_what_it_needs(room: Classroom) -> None:
    command = (sys.executable, "-m", "uvicorn", "realtime.app:app", "--port", str(free_port()))
    done = subprocess.run(
        command, env=room.stack.environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 3
    told = [line for line in done.stderr.splitlines() if line.startswith("coursepulse: ")]
    assert [line.split(":")[1].strip() for line in told] == ["MONGO_URL", "REDIS_URL", "JWT_SECRET"]
    assert "Traceback" not in done.stderr


async def test_a_broken_document_of_one_course_holds_up_no_other(
    room: Classroom, hub: HubProcess
) -> None:
    headers = await asyncio.to_thread(session, room)
    broken = f"broken-{secrets.token_hex(4)}"
    body = {
        "course_id": broken, "title": "A course", "instructor_id": room.instructor,
        "modules": lessons("a"),
    }  # fmt: skip
    assert room.service.post("/courses", json=body).status_code == 201
    event = {"course_id": broken, "user_id": "student"}
    assert room.service.post("/progress/lessons/a/complete", json=event).status_code == 202
    with database(room) as client:
        totals = client[DATABASE].course_totals
        await asyncio.to_thread(eventually, lambda: totals.find_one({"_id": broken}) is not None)
        async with (
            dial(hub, f"/realtime/course/{broken}", owner_token(room)) as first,
            dial(hub, course_path(room), **headers) as socket,
        ):
            await frame(first)
            await frame(socket)
            stored = totals.find_one_and_update({"_id": broken}, {"$unset": {"frame": ""}})
            assert stored is not None
            totals.update_one({"_id": broken}, {"$set": {"version": 9_000_000_000_000_000}})
            try:
                await asyncio.to_thread(sign_out, room, headers)
                assert await close_code(socket) == 4401
            finally:  # later audits look at what there is
                totals.replace_one({"_id": broken}, stored)
