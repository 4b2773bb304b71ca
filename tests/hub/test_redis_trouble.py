"""Redis is killed, frozen, emptied under viewers at several hubs: they stay, and converge."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator

import pytest

from tests.chaos.harms import HARMS
from tests.contract.conftest import Classroom
from tests.dialing import close_code, course_path, dial, frame, frame_where, owner_token, post
from tests.hubs import HubProcess
from tests.stack import Stack, eventually


@pytest.fixture(scope="module")
def harmed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Yield an installation whose Redis is harmed."""
    running = Stack.start(tmp_path_factory.mktemp("trouble"))
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def pair(harmed: Stack) -> Iterator[tuple[HubProcess, HubProcess]]:
    """Yield two hubs beside the installation's own."""
    started = HubProcess.start(harmed), HubProcess.start(harmed)
    yield started
    for each in started:
        each.stop()


@pytest.mark.parametrize(
    "harm",
    [
        "Valkey is killed",
        "Valkey is emptied",
        "Valkey is killed and its files deleted",
        "Valkey is frozen",
    ],
)
async def test_viewers_at_all_hubs_stay_and_converge(
    harmed: Stack, pair: tuple[HubProcess, HubProcess], harm: str
) -> None:
    room = Classroom.create(harmed, f"course, {harm}", f"prof, {harm}")
    path, place = course_path(room), f"/realtime/instructor/{room.instructor}".replace(" ", "%20")
    token = harmed.token("admin", secrets.token_hex(4))
    async with (
        dial(harmed, path, token) as at_api,
        dial(pair[0], path, token) as first,
        dial(pair[1], path, token) as second,
        dial(pair[0], place, owner_token(room)) as claimed,
    ):
        viewers = (at_api, first, second)
        for socket in (*viewers, claimed):
            await frame(socket)
        harming = asyncio.create_task(asyncio.to_thread(HARMS[harm], harmed))
        students = 0
        while not harming.done() or students < 5:
            students += 1
            await post(room, "a", "complete", {"user_id": f"{harm} {students}"})
            await asyncio.sleep(0.2)
        await harming
        shown = [await frame_where(socket, students=students) for socket in viewers]
        assert shown[0] == shown[1] == shown[2]
        assert all(socket.close_code is None for socket in (*viewers, claimed))
        async with dial(pair[1], place, owner_token(room)) as newer:
            await frame(newer)
            assert await close_code(claimed) == 4409


@pytest.mark.parametrize("harm", ["Valkey is killed", "Valkey is frozen"])
async def test_each_trouble_is_told_once_and_its_end(
    harmed: Stack, pair: tuple[HubProcess, HubProcess], harm: str
) -> None:
    log = harmed.data_dir / "logs" / f"hub-{pair[0].port}.log"
    before = log.read_text().count("the feed is interrupted")
    await asyncio.to_thread(HARMS[harm], harmed)

    def told() -> bool:
        text = log.read_text()
        interrupted, back = (text.count(f"the feed is {what}") for what in ("interrupted", "back"))
        return interrupted == back == before + 1

    await asyncio.to_thread(eventually, told, what="one interruption and its end")
