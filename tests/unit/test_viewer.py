"""A viewer's mailbox: versions never go back, the newest is reached, however slowly it reads."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from analytics.messages import Frame
from realtime.viewer import Viewer


@given(st.lists(st.one_of(st.just(None), st.integers(0, 20)), max_size=40))
def test_any_interleaving_of_frames_and_slow_reads_ends_at_the_newest(
    steps: list[int | None],
) -> None:
    asyncio.run(play(steps))


async def play(steps: list[int | None]) -> None:
    """Offer the versions given; None lets a blocked send go on."""
    sent: list[int] = []
    gate = asyncio.Semaphore(0)

    async def send(text: str) -> None:
        await gate.acquire()
        sent.append(int(text))

    viewer = Viewer(send, lambda: None)
    for step in steps:
        if step is None:
            gate.release()
        else:
            viewer.offer(Frame(step, str(step)))
        await asyncio.sleep(0)
    for _ in range(len(steps) + 1):
        gate.release()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    versions = [step for step in steps if step is not None]
    assert sent == sorted(set(sent))
    assert sent[-1:] == ([max(versions)] if versions else [])
    viewer.close()


async def test_a_socket_that_takes_nothing_is_given_up() -> None:
    given_up = asyncio.Event()

    async def send(_: str) -> None:
        raise TimeoutError  # what the deadline around a stuck send turns into

    viewer = Viewer(send, given_up.set)
    viewer.offer(Frame(1, "1"))
    async with asyncio.timeout(5):
        await given_up.wait()


async def test_a_socket_that_is_gone_ends_the_sending_quietly() -> None:
    tried = asyncio.Event()

    async def send(_: str) -> None:
        tried.set()
        raise RuntimeError("the connection is closed")

    gone: list[bool] = []
    viewer = Viewer(send, lambda: gone.append(True))
    viewer.offer(Frame(1, "1"))
    await tried.wait()
    await asyncio.sleep(0)
    assert gone == []
