"""Thousands of seeded schedules of crashes, delays, losses, repeats and jumping clocks.

`--schedules N --first-seed S` runs more of them, or one again; `make chaos` runs ten thousand.
"""

from __future__ import annotations

from itertools import pairwise

import pytest

from analytics.numbers import LessonSums
from tests.schedules.machine import LESSON, Machine

STEPS = 150
# A lease, a window, a reconcile's turn, and clean-ups of a few events each.
LONGEST_REST_MS = 10_000


def test_every_schedule_ends_exact_and_never_goes_back(request: pytest.FixtureRequest) -> None:
    first = request.config.getoption("first_seed")
    for seed in range(first, first + request.config.getoption("schedules")):
        machine = Machine(seed)
        machine.run(STEPS)
        took = machine.rest(LONGEST_REST_MS)
        repeat = f"repeat with --first-seed {seed} --schedules 1"
        assert took <= LONGEST_REST_MS, f"not at rest; {repeat}"
        for name, course in machine.courses.items():
            sums = course.totals.sums.get(LESSON, LessonSums())
            assert sums == course.accepted, f"course {name} is not exact; {repeat}"
            assert course.totals.students == course.students, f"course {name}; {repeat}"
            assert not course.is_owed(), repeat
            for versions in (course.committed, [version for version, _ in course.shown]):
                grown = all(before < after for before, after in pairwise(versions))
                assert grown, f"course {name} went back; {repeat}"
            shown = course.shown[-1][1] if course.shown else course.totals
            assert shown == course.totals, f"course {name} shows an older state; {repeat}"


def test_a_machine_without_its_reconcile_does_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check can fail: with what heals it taken away, a schedule is caught."""
    monkeypatch.setattr(Machine, "reconcile", lambda _: None)
    stalled = 0
    for seed in range(100):
        machine = Machine(seed)
        machine.run(STEPS)
        stalled += machine.rest(LONGEST_REST_MS) > LONGEST_REST_MS
    assert stalled
