"""Which lessons a course has, remembered for a few seconds.

Every progress event asks. An announced edit drops the entry; where the announcement was lost, the
entry's age bounds the harm; and before a lesson is called absent the course is read again.
"""

from __future__ import annotations

from cachetools import TTLCache

from analytics.courses import lesson_ids
from analytics.errors import NotFound
from analytics.stores.courses import Courses

MAXIMUM_COURSES = 2_000
MAXIMUM_AGE = 5.0  # seconds


class Outlines:
    """A small cache of courses' lesson ids; one per process."""

    def __init__(self, courses: Courses) -> None:
        self._courses = courses
        self._known: TTLCache[str, frozenset[str]] = TTLCache(MAXIMUM_COURSES, MAXIMUM_AGE)

    async def require_lesson(self, course_id: str, lesson_id: str) -> None:
        """Raise `NotFound` unless the course exists and has the lesson."""
        if lesson_id in self._known.get(course_id, ()):
            return
        lessons = frozenset(lesson_ids(await self._courses.get(course_id)))
        self._known[course_id] = lessons
        if lesson_id not in lessons:
            message = (
                f"Course {course_id!r} has no lesson {lesson_id[:200]!r}; check both ids, "
                "or add the lesson to a module first."
            )
            raise NotFound(message)

    def drop(self, course_id: str) -> None:
        """Forget a course that was edited."""
        self._known.pop(course_id, None)
