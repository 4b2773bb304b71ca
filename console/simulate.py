"""`coursepulse simulate`: learners on the running system, through its REST API.

Open loop: events are due at fixed times whatever the answers take, and latency counts from the
due time. A 503 or a lost connection is repeated with the same idempotency key, so a restart of
the API loses nothing and counts nothing twice.
"""

from __future__ import annotations

import asyncio
import signal
import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

import httpx

from analytics.errors import CoursepulseError
from console.arguments import positive
from console.client import (
    LONGEST_PAUSE,
    TOKEN_LIFETIME,
    TRY_AGAIN,
    client_options,
    pause_before_retry,
    service_headers,
)
from console.learners import Action, Classroom

if TYPE_CHECKING:
    import argparse

    from analytics.settings import Settings

MOST_AT_ONCE = 64  # requests in flight
PATIENCE = 60.0  # seconds one event is repeated for
READY_PATIENCE = 30.0  # seconds to wait for the API at the start
RENEW_EVERY = 30.0  # seconds between two looks at the list of courses
PAGE = 100
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say how much and for how long."""
    parser.add_argument("--rate", type=positive, required=True, metavar="EVENTS_PER_S")
    parser.add_argument("--seconds", type=positive, metavar="N", help="without it: until stopped")
    parser.add_argument(
        "--instructor",
        action="append",
        metavar="ID",
        help="act in courses of this instructor only (may be repeated); without it in all courses,"
        " and the numbers of real ones change",
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Play until the time is over or a signal comes, then print one line of figures."""
    tally = Tally()
    try:
        asyncio.run(_play(settings, args, tally))
    finally:
        if tally.latencies or tally.refused or tally.failed:
            print(tally.summary(), flush=True)
    return 0


@dataclass
class Tally:
    """What became of the events. Latencies are in seconds; of a long play, the last ones."""

    accepted: int = 0
    refused: int = 0
    failed: int = 0
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=100_000))

    def summary(self) -> str:
        """Write the figures in one line."""
        p50, p99 = (1000 * percentile(list(self.latencies), share) for share in (0.5, 0.99))
        return (
            f"accepted {self.accepted}, refused {self.refused}, failed {self.failed};"
            f" p50 {p50:.1f} ms, p99 {p99:.1f} ms"
        )


def percentile(values: list[float], share: float) -> float:
    """Return the nearest-rank percentile; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0


async def _play(settings: Settings, args: argparse.Namespace, tally: Tally) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop.set)
    async with httpx.AsyncClient(**client_options(settings)) as client:
        only = None if args.instructor is None else frozenset(args.instructor)
        classroom = Classroom(Random(), only)  # noqa: S311  # play, not secrets
        if not await _until_ready(client, settings, stop):
            return
        await _renew(client, settings, classroom)
        if not classroom.courses:
            raise CoursepulseError("there is no course with lessons: POST /courses, or DEMO=on")
        renewing = asyncio.create_task(_keep_renewing(client, settings, classroom))
        try:
            await _send_events(client, classroom, (args.rate, args.seconds), tally, stop)
        finally:
            renewing.cancel()


async def _send_events(
    client: httpx.AsyncClient,
    classroom: Classroom,
    pace: tuple[float, float | None],
    tally: Tally,
    stop: asyncio.Event,
) -> None:
    rate, seconds = pace
    slots = asyncio.Semaphore(MOST_AT_ONCE)
    began = time.monotonic()
    number = 0
    async with asyncio.TaskGroup() as group:
        while not stop.is_set() and (seconds is None or number < rate * seconds):
            due = began + number / rate
            number += 1
            if await _stopped_before(stop, due):
                break
            await slots.acquire()
            sending = group.create_task(_send(client, classroom.next_action(), due, tally, stop))
            sending.add_done_callback(lambda _: slots.release())


async def _send(
    client: httpx.AsyncClient, action: Action, due: float, tally: Tally, stop: asyncio.Event
) -> None:
    key = str(uuid.uuid4())
    give_up = time.monotonic() + PATIENCE
    while True:
        pause = 1.0
        try:
            answer = await client.post(
                action.path, json=action.body, headers={"Idempotency-Key": key}
            )
        except httpx.TransportError:  # it restarts: the same key makes the repeat harmless
            pass
        else:
            if answer.is_success:
                tally.accepted += 1
                tally.latencies.append(time.monotonic() - due)
                return
            if answer.status_code not in TRY_AGAIN:
                tally.refused += 1
                return
            pause = pause_before_retry(answer.headers)
        if time.monotonic() > give_up or await _stopped_before(stop, time.monotonic() + pause):
            tally.failed += 1
            return


async def _until_ready(client: httpx.AsyncClient, settings: Settings, stop: asyncio.Event) -> bool:
    """Wait for the API; return False where a signal came first."""
    give_up = time.monotonic() + READY_PATIENCE
    while True:
        try:
            if (await client.get("/health/ready")).is_success:
                return True
        except httpx.TransportError:  # not yet there
            pass
        if time.monotonic() > give_up:
            message = (
                f"the API at http://{settings.host}:{settings.port} is not ready;"
                " start it with make run, or ask coursepulse doctor"
            )
            raise CoursepulseError(message)
        if await _stopped_before(stop, time.monotonic() + 0.2):
            return False


async def _keep_renewing(
    client: httpx.AsyncClient, settings: Settings, classroom: Classroom
) -> None:
    renewed = time.monotonic()
    while True:
        await asyncio.sleep(RENEW_EVERY)
        if time.monotonic() - renewed > TOKEN_LIFETIME / 2:
            client.headers.update(service_headers(settings))
            renewed = time.monotonic()
        try:
            await _renew(client, settings, classroom)
        except (httpx.TransportError, CoursepulseError):  # it restarts: the old list will do
            await asyncio.sleep(LONGEST_PAUSE)


async def _renew(client: httpx.AsyncClient, settings: Settings, classroom: Classroom) -> None:
    answer = await client.get("/courses", params={"page_size": PAGE})
    if not answer.is_success:
        message = (
            f"GET /courses at port {settings.port} answered {answer.status_code}"
            f" {answer.text[:200]}"
        )
        raise CoursepulseError(message)
    courses = answer.json()["items"]
    if courses:  # an instance being emptied has nothing new to do
        classroom.replace_courses(courses)


async def _stopped_before(stop: asyncio.Event, moment: float) -> bool:
    """Wait until `moment`; return True at once where a signal came."""
    try:
        await asyncio.wait_for(stop.wait(), max(moment - time.monotonic(), 0.0))
    except TimeoutError:
        return stop.is_set()
    return True
