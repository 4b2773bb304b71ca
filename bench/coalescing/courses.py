"""The courses of `coalescing`: one large, many small, a quiet one; every student did one thing."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass

from bench.scenario import Scenario, send_all, student_name

LARGE_STUDENTS = 1_000
SMALL_COURSES = 1_000
SMALL_STUDENTS = 3
RATES = (10.0, 100.0)
CONNECTIONS = 24
QUIET = "quiet"


@dataclass(frozen=True, slots=True)
class Courses:
    """The scenarios by where the events go."""

    one: Scenario
    spread: Scenario

    @classmethod
    def at(cls, port: int, token: str) -> Courses:
        """Return the scenarios for what listens on the port."""
        small = tuple(f"small-{number}" for number in range(SMALL_COURSES))
        return cls(
            Scenario(port, token, ("large",), LARGE_STUDENTS),
            Scenario(port, token, small, SMALL_STUDENTS),
        )

    def named(self) -> list[tuple[str, Scenario]]:
        """Return both with what they are called."""
        return [("one course", self.one), (f"{SMALL_COURSES:,} courses", self.spread)]

    def prepare(self) -> Counter[str]:
        """Create the courses over HTTP, one event a student; return each course's minutes."""
        minutes: Counter[str] = Counter()
        creations, events = [], []
        quiet = Scenario(self.one.port, self.one.token, (QUIET,), SMALL_STUDENTS)
        for scenario in (self.one, self.spread, quiet):
            creations += [scenario.create(course) for course in scenario.courses]
            for number in range(scenario.students):
                student = student_name(number)
                events += [scenario.watch(course, student, 0) for course in scenario.courses]
            minutes.update(dict.fromkeys(scenario.courses, scenario.students))
        asyncio.run(send_all(self.one.port, creations, CONNECTIONS))
        asyncio.run(send_all(self.one.port, events, CONNECTIONS))
        return minutes
