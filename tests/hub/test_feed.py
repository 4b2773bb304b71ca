"""The one subscription of a hub: lines that go dead, messages that nobody can read."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Iterator

import pytest
import redis

from analytics.subjects import ANNOUNCEMENTS, COURSE_CHANGES, INSTRUCTOR_CLAIMS, Subject
from tests.contract.conftest import Classroom
from tests.dialing import course_path, dial, frame, frame_where, owner_token, post
from tests.hubs import HubProcess
from tests.stack import Stack, eventually
from tests.whole.line import Line

LONGER_THAN_THE_HUB_WAITS = 7.0


@pytest.fixture
def line(stack: Stack) -> Iterator[Line]:
    """Yield a line to the installation's Redis."""
    opened = Line(int(stack.servers["REDIS_URL"].rsplit(":", 1)[1].split("/")[0]))
    yield opened
    opened.close()


@pytest.fixture
def far(stack: Stack, line: Line) -> Iterator[HubProcess]:
    """Yield a hub that reaches Redis by way of the line."""
    started = HubProcess.start(stack, REDIS_URL=f"redis://127.0.0.1:{line.port}")
    yield started
    assert started.stop() == -15


def only_published(room: Classroom) -> int:
    """Publish a frame that stands nowhere else, so that nothing but the feed can bring it."""
    version = int(time.time() * 1_000) + 60_000
    made_up = {"event": "course_analytics_update", "course_id": room.course_id, "version": version}
    with redis.Redis.from_url(room.stack.servers["REDIS_URL"]) as client:
        client.publish(Subject(room.course_id).channel, json.dumps(made_up))
    return version


async def test_a_line_that_was_dead_for_long_brings_frames_again(
    room: Classroom, far: HubProcess, line: Line
) -> None:
    admin = room.stack.token("admin", secrets.token_hex(4))
    log = room.stack.data_dir / "logs" / f"hub-{far.port}.log"
    async with dial(far, course_path(room), owner_token(room)) as socket:
        await frame(socket)
        async with dial(far, "/realtime/instructor/another", admin) as leaving:
            await frame(leaving)
            line.go_dead()
        # Its subject has no viewers any more: the hub wants to unsubscribe on a dead line.
        await asyncio.sleep(LONGER_THAN_THE_HUB_WAITS)
        async with dial(far, course_path(room), admin) as newcomer:
            assert (await frame(newcomer))["version"] >= 0
            await post(room, "a", "complete", {})
            await frame_where(socket, students=1)  # by the rounds
            line.come_back()
            back = "the feed is back"
            await asyncio.to_thread(eventually, lambda: back in log.read_text(), what=back)
            version = await asyncio.to_thread(only_published, room)
            for viewer in (socket, newcomer):
                while (await frame(viewer))["version"] != version:
                    pass


async def test_messages_that_nobody_can_read_stop_nothing(room: Classroom, hub: HubProcess) -> None:
    channels = (Subject(room.course_id).channel, ANNOUNCEMENTS, COURSE_CHANGES, INSTRUCTOR_CLAIMS)
    async with dial(hub, course_path(room), owner_token(room)) as socket:
        await frame(socket)
        with redis.Redis.from_url(room.stack.servers["REDIS_URL"]) as client:
            for channel in channels:
                for rubbish in ("not json", "[]", "{}", '{"version": "x"}', b"\xff"):
                    client.publish(channel, rubbish)
        version = await asyncio.to_thread(only_published, room)
        while (await frame(socket))["version"] != version:
            pass
