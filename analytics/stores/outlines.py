"""Which lessons a course has, remembered for a few seconds.

Every progress event asks. An announced edit drops the entry; where the announcement was lost, the
entry's age bounds the harm; and before a lesson is called absent the course is read again.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

from analytics.courses import lesson_ids
from analytics.errors import NotFound
from analytics.stores.courses import Courses

MAXIMUM_COURSES = 2_000
MAXIMUM_AGE = 5.0


@dataclass(frozen=True, slots=True)
class _Outline:
    lessons: frozenset[str]
    read_at: float


class Outlines:
    """A small cache of courses' lesson ids; one per process."""

    def __init__(self, courses: Courses) -> None:
        self._courses = courses
        self._known: OrderedDict[str, _Outline] = OrderedDict()

    async def require_lesson(self, course_id: str, lesson_id: str) -> None:
        """Raise `NotFound` unless the course exists and has the lesson."""
        known = self._known.get(course_id)
        fresh = known is not None and time.monotonic() - known.read_at < MAXIMUM_AGE
        if known is not None and fresh and lesson_id in known.lessons:
            return
        if lesson_id not in await self._read(course_id):
            message = (
                f"Course {course_id!r} has no lesson {lesson_id[:200]!r}; check both ids, "
                "or add the lesson to a module first."
            )
            raise NotFound(message)

    def drop(self, course_id: str) -> None:
        """Forget a course that was edited."""
        self._known.pop(course_id, None)

    async def _read(self, course_id: str) -> frozenset[str]:
        course = await self._courses.get(course_id)
        lessons = frozenset(lesson_ids(course))
        self._known[course_id] = _Outline(lessons, time.monotonic())
        self._known.move_to_end(course_id)
        while len(self._known) > MAXIMUM_COURSES:
            self._known.popitem(last=False)
        return lessons
