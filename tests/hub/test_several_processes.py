"""Several hub processes on the same servers: frames reach all, limits and places hold over all."""

from __future__ import annotations

import asyncio
import secrets
import signal
import time

import pytest
import redis
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from analytics.subjects import place_key
from tests.contract.conftest import Classroom
from tests.dialing import close_code, course_path, dial, frame, frame_where, owner_token, post
from tests.hubs import HubProcess
from tests.stack import eventually
from tests.whole.line import Line

GENEROUS = 30.0


def is_open(socket: ClientConnection) -> bool:
    return socket.close_code is None


async def test_every_process_gets_the_frames(room: Classroom, hubs: list[HubProcess]) -> None:
    path, token = course_path(room), room.stack.token("admin", secrets.token_hex(4))
    async with (
        dial(room.stack, path, owner_token(room)) as at_api,
        dial(hubs[0], path, token) as first,
        dial(hubs[1], path, token) as second,
    ):
        everywhere = (at_api, first, second)
        for socket in everywhere:
            await frame(socket)
        await post(room, "a", "complete", {})
        shown = [await frame_where(socket, students=1) for socket in everywhere]
        assert shown[0] == shown[1] == shown[2]


async def test_the_newest_connection_of_an_instructor_wins_over_all_processes(
    room: Classroom, hubs: list[HubProcess]
) -> None:
    path, token = f"/realtime/instructor/{room.instructor}", owner_token(room)
    async with dial(hubs[0], path, token) as first:
        await frame(first)
        async with dial(hubs[1], path, token) as second:
            await frame(second)
            assert await close_code(first) == 4409
            async with dial(room.stack, path, token) as third:
                await frame(third)
                assert await close_code(second) == 4409
                assert is_open(third)


async def test_the_seats_of_a_user_are_counted_over_all_processes(
    room: Classroom, hubs: list[HubProcess]
) -> None:
    path, token = course_path(room), room.stack.token("admin", secrets.token_hex(4))
    async with dial(hubs[0], path, token) as first, dial(hubs[1], path, token) as second:
        await frame(first)
        await frame(second)
        for hub in hubs:
            async with dial(hub, path, token) as third:
                assert await close_code(third) == 4429
        assert is_open(first)
        assert is_open(second)


async def test_a_seat_given_back_is_free_everywhere(
    room: Classroom, hubs: list[HubProcess]
) -> None:
    path, token = course_path(room), room.stack.token("admin", secrets.token_hex(4))
    for _ in range(5):
        async with dial(hubs[0], path, token) as first, dial(hubs[0], path, token) as second:
            await frame(first)
            await frame(second)
        await until_welcome(hubs[1], path, token)


async def test_the_seats_of_a_killed_process_are_free_again(
    room: Classroom, hubs: list[HubProcess]
) -> None:
    path, token = course_path(room), room.stack.token("admin", secrets.token_hex(4))
    async with dial(hubs[0], path, token) as first, dial(hubs[0], path, token) as second:
        await frame(first)
        await frame(second)
        hubs[0].stop(signal.SIGKILL)
        await until_welcome(hubs[1], path, token)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_limits_and_places_are_healed_after_redis_lost_its_memory(
    room: Classroom, hubs: list[HubProcess], when: str
) -> None:
    """Redis is emptied before or after the second process's connections came."""
    path, token = f"/realtime/instructor/{room.instructor}", owner_token(room)
    user = room.stack.token("admin", secrets.token_hex(4))
    async with dial(hubs[0], path, token) as older, dial(hubs[0], course_path(room), user) as one:
        await frame(older)
        await frame(one)
        if when == "before":
            empty_redis(room)
        async with (
            dial(hubs[1], path, token) as newer,
            dial(hubs[1], course_path(room), user) as two,
        ):
            await frame(newer)
            await frame(two)
            if when == "after":
                empty_redis(room)
            assert await close_code(older) == 4409
            await until_refused(hubs[1], course_path(room), user)
            await asyncio.sleep(2.5)  # two rounds of the registry: nothing more may be closed
            assert all(is_open(socket) for socket in (one, newer, two))


async def test_frames_go_on_after_redis_lost_its_memory(
    room: Classroom, hubs: list[HubProcess]
) -> None:
    token = room.stack.token("admin", secrets.token_hex(4))
    async with dial(hubs[0], course_path(room), token) as socket:
        await frame(socket)
        empty_redis(room)
        await post(room, "a", "complete", {})
        await frame_where(socket, students=1)


def empty_redis(room: Classroom) -> None:
    with redis.Redis.from_url(room.stack.servers["REDIS_URL"]) as client:
        client.flushall()


async def until_welcome(hub: HubProcess, path: str, token: str) -> None:
    """Knock until a connection is served."""
    async with asyncio.timeout(GENEROUS):
        while True:
            async with dial(hub, path, token) as socket:
                try:
                    await frame(socket)
                except ConnectionClosed:
                    assert socket.close_code == 4429
                else:
                    return
            await asyncio.sleep(0.1)


async def until_refused(hub: HubProcess, path: str, token: str) -> None:
    """Knock until no seat is left."""
    async with asyncio.timeout(GENEROUS):
        while True:
            async with dial(hub, path, token) as socket:
                try:
                    await frame(socket)
                except ConnectionClosed:
                    assert socket.close_code == 4429
                    return
            await asyncio.sleep(0.1)


async def test_a_claim_ahead_of_the_clock_locks_nobody_out(
    room: Classroom, hubs: list[HubProcess]
) -> None:
    path, token = f"/realtime/instructor/{room.instructor}", owner_token(room)
    key = place_key(f"{room.instructor}\x1f{room.instructor}")
    with redis.Redis.from_url(room.stack.servers["REDIS_URL"], decode_responses=True) as client:
        ahead = f"{int(time.time()) + 3_600:012d}.000000"
        async with dial(hubs[0], path, token) as first:
            await frame(first)
            client.set(key, ahead)
            async with dial(hubs[1], path, token) as second:
                await frame(second)
                assert await close_code(first) == 4409
                standing = client.get(key)
                assert standing is not None
                assert standing < ahead
                await asyncio.to_thread(eventually, lambda: client.ttl(key) >= 59)  # held anew
                await post(room, "a", "complete", {})
                await frame(second)
                assert is_open(second)


async def test_seats_given_back_while_redis_was_away_are_free(room: Classroom) -> None:
    port = int(room.stack.servers["REDIS_URL"].rsplit(":", 1)[1].split("/")[0])
    line = Line(port)
    path, token = course_path(room), room.stack.token("admin", secrets.token_hex(4))
    far = await asyncio.to_thread(
        HubProcess.start,
        room.stack,
        SOCKETS_PER_USER="2",
        REDIS_URL=f"redis://127.0.0.1:{line.port}",
    )
    near = await asyncio.to_thread(HubProcess.start, room.stack, SOCKETS_PER_USER="2")
    try:
        async with dial(far, path, token) as first, dial(far, path, token) as second:
            await frame(first)
            await frame(second)
            async with dial(near, path, token) as third:
                assert await close_code(third) == 4429
            line.go_dead()
        # Both have left; the hub could not say so. Its attempts must end while the line is dead.
        await asyncio.sleep(2.0)
        line.come_back()

        async def let_in() -> bool:
            async with dial(near, path, token) as socket:
                try:
                    await frame(socket)
                except ConnectionClosed:
                    return False
                return True

        async with asyncio.timeout(GENEROUS):
            while not await let_in():  # noqa: ASYNC110  # nothing here could set an event
                await asyncio.sleep(0.5)
    finally:
        await asyncio.to_thread(far.stop)
        await asyncio.to_thread(near.stop)
        line.close()
