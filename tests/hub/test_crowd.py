"""Viewers that come all at once: each is served, and what they look at is read once."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket as sockets
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
import redis
from websockets.asyncio.client import ClientConnection, connect

from analytics.subjects import Subject
from tests.contract.conftest import Classroom
from tests.dialing import course_path, frame, frame_where, owner_token, post
from tests.hubs import HubProcess
from tests.sockets.raw_socket import RawSocket, handshake
from tests.stack import Stack

CROWD = 1_000
PRESENT = 50
KERNEL_MOST = 32 * 1024 * 1024  # bytes, more than the kernel keeps for a connection


@pytest.fixture
def hub(stack: Stack) -> Iterator[HubProcess]:
    """Yield a hub where one user may have a crowd of connections, let in at a modest rate."""
    started = HubProcess.start(stack, SOCKETS_PER_USER="5000", SOCKET_HANDSHAKES_PER_SECOND="500")
    yield started
    started.stop()


@contextmanager
def commands(stack: Stack) -> Iterator[list[str]]:
    """Note the commands that Redis is sent while the block runs."""
    seen: list[str] = []
    with redis.Redis.from_url(stack.servers["REDIS_URL"]) as client, client.monitor() as monitor:
        stopping = threading.Event()

        def note() -> None:
            while not stopping.is_set():
                seen.append(monitor.next_command()["command"])

        noting = threading.Thread(target=note)
        noting.start()
        yield seen
        stopping.set()
        client.ping()  # one more, so that it looks up
        noting.join()


async def arrive(hub: HubProcess, path: str, token: str, many: int) -> list[ClientConnection]:
    """Open connections, all at once."""
    header = {"Authorization": f"Bearer {token}"}

    async def one() -> ClientConnection:
        return await connect(
            hub.socket_url + path, additional_headers=header, open_timeout=60, compression=None
        )

    return list(await asyncio.gather(*(one() for _ in range(many))))


async def leave(sockets: list[ClientConnection]) -> None:
    await asyncio.gather(*(socket.close() for socket in sockets))


async def first_frame(socket: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(60):
        received: dict[str, Any] = json.loads(await socket.recv())
        return received


async def test_a_crowd_is_served_with_one_read_of_the_state(
    room: Classroom, hub: HubProcess
) -> None:
    room.post("a", "complete", {})
    room.reaches(students=1)
    token = room.stack.token("admin", secrets.token_hex(4))
    with commands(room.stack) as seen:
        crowd = await arrive(hub, course_path(room), token, CROWD)
        frames = await asyncio.gather(*map(first_frame, crowd))
    assert [each["analytics"]["students"] for each in frames] == [1] * CROWD
    key = Subject(room.course_id).frame_key
    reads = [command for command in seen if command.startswith("HMGET") and key in command]
    assert len(reads) == 1
    await leave(crowd)


async def test_a_crowd_costs_those_already_there_no_frame(room: Classroom, hub: HubProcess) -> None:
    """Everybody ends with the last state, and sees versions grow, while a crowd comes and goes."""
    token = room.stack.token("admin", secrets.token_hex(4))
    present = await arrive(hub, course_path(room), token, PRESENT)
    for socket in present:
        await frame(socket)
    arriving = asyncio.create_task(arrive(hub, course_path(room), token, CROWD))
    students = 0
    while not arriving.done() or students < 5:
        students += 1
        await post(room, "a", "complete", {"user_id": f"s{students}"})
        for socket in present:
            await frame_where(socket, students=students)
    crowd = await arriving
    students += 1
    await post(room, "a", "complete", {"user_id": f"s{students}"})
    await asyncio.gather(*(frame_where(socket, students=students) for socket in (*crowd, *present)))
    assert all(socket.close_code is None for socket in (*crowd, *present))
    await leave([*crowd, *present])


def test_who_pours_bytes_while_it_waits_for_its_turn_is_not_read(room: Classroom) -> None:
    hub = HubProcess.start(room.stack, SOCKET_HANDSHAKES_PER_SECOND="10")
    handshakes = handshake(course_path(room), token=owner_token(room))
    try:
        with ExitStack() as stack:
            for _ in range(80):  # eight seconds' worth
                stack.enter_context(RawSocket(hub.port)).send(handshakes)
            offender = stack.enter_context(sockets.create_connection(("127.0.0.1", hub.port)))
            offender.sendall(handshakes[:-2] + b"X-Long: ")
            offender.settimeout(1.0)
            poured = 0
            with suppress(TimeoutError):  # nobody reads: the kernel's buffers are full
                while poured < KERNEL_MOST:
                    poured += offender.send(b"x" * 65_536)
            assert poured < KERNEL_MOST
            offender.settimeout(60.0)
            with suppress(ConnectionResetError):  # as TCP has it where much was left unread
                answer = offender.recv(4_096)
                assert answer == b"" or b" 431 " in answer.splitlines()[0]
    finally:
        hub.stop()
