"""Harm under a stream of events: nothing acknowledged is lost or counted twice, viewers converge.

`make test` does each harm once under a gentle stream; `make chaos` does rounds of all of them in an
order that the seed decides, under a hundred events a second (`--rate`, `--rounds`, `--first-seed`).
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.chaos.harms import CUTS_SOCKETS, HARMS
from tests.chaos.stream import Stream, Watcher
from tests.stack import Stack, eventually, lessons

COURSES = tuple(f"course-{number}" for number in range(10))
BEFORE_SECONDS, AFTER_SECONDS = 1.0, 1.0


@pytest.fixture(scope="module")
def harmed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Yield an installation with ten courses; at the end its numbers are audited."""
    running = Stack.start(tmp_path_factory.mktemp("chaos"))
    for course in COURSES:
        body = {
            "course_id": course,
            "title": "A course",
            "instructor_id": "prof",
            "modules": lessons("a"),
        }
        assert running.client().post("/courses", json=body).status_code == 201
    yield running
    audited = running.run("audit")
    assert audited.returncode == 0, audited.stdout + audited.stderr
    assert running.stop() == 0


@pytest.fixture(scope="module")
def counted() -> dict[str, int]:
    """Return what every test of the module has had acknowledged, by course."""
    return dict.fromkeys(COURSES, 0)


def schedule(config: pytest.Config) -> list[str]:
    """Return the harms in the order of the seed, as many rounds as were asked for."""
    choice = random.Random(config.getoption("first_seed"))
    names: list[str] = []
    for _ in range(config.getoption("rounds")):
        names += choice.sample(sorted(HARMS), len(HARMS))
    return names


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test of each harm of the schedule."""
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", schedule(metafunc.config))


def test_acknowledged_is_counted_exactly_whatever_is_harmed(
    harmed: Stack, counted: dict[str, int], name: str, request: pytest.FixtureRequest
) -> None:
    watchers = [Watcher(harmed, course) for course in COURSES]
    try:
        eventually(lambda: all(each.connections for each in watchers), what="the viewers")
        stream = Stream(harmed, COURSES, request.config.getoption("rate"))
        try:
            with stream:
                time.sleep(BEFORE_SECONDS)
                HARMS[name](harmed)
                time.sleep(AFTER_SECONDS)
        finally:  # the tests after this one count on it
            for course, number in stream.acknowledged.items():
                counted[course] += number
        ended = time.monotonic()

        def exact() -> bool:
            return all(each.minutes == counted[each.course] for each in watchers)

        eventually(exact, seconds=30, what="exact numbers on every screen")
        print(  # noqa: T201  # what `make chaos` is read for
            f"{name}: {stream.acknowledged.total()} events, exact {time.monotonic() - ended:.1f} s"
            f" after the last; slowest answer {stream.slowest_ack:.2f} s;"
            f" refused {dict(stream.refused)}"
        )
    finally:
        for watcher in watchers:
            watcher.close()
    assert stream.acknowledged.total() > 0
    for watcher in watchers:
        assert all(before < after for before, after in pairwise(watcher.versions)), watcher.versions
        if name not in CUTS_SOCKETS:
            assert watcher.connections == 1, "sockets stay open"
