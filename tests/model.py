"""The numbers once more, in plain Python: what the product's own are compared with.

Written from the published definitions alone: no totals, no versions, no rounding before the
end. Everything is kept and everything is counted anew on each question, so that a mistake in the
product's running totals cannot be repeated here.

Only time is rounded as it arrives, half up, to the millisecond: the resolution at which the
product keeps it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from math import floor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Number = str | int | float | Decimal
LARGEST_CATEGORIES = 5


class UnknownError(LookupError):
    """No such course, or no such lesson in the course as it is today."""


class ConflictError(ValueError):
    """The idempotency key already stands for other content."""


def half_up(value: Fraction) -> int:
    """Round to the nearest integer, upwards from the middle."""
    return floor(value + Fraction(1, 2))


def exact(number: Number) -> Fraction:
    """Take a number as it is written: a float is its shortest decimal, as JSON carries it."""
    return Fraction(Decimal(str(number)))


def shown(value: Fraction) -> float:
    """Give a number the two decimals in which it is shown."""
    return float(Decimal(half_up(value * 100)) / 100)


def mean(values: Sequence[Fraction]) -> Fraction:
    """Average the values; nothing averages to zero."""
    return sum(values, Fraction(0)) / len(values) if values else Fraction(0)


def milliseconds(seconds: Number) -> int:
    """Take seconds to the millisecond."""
    return half_up(exact(seconds) * 1000)


def covered(segments: Iterable[tuple[int, int]]) -> int:
    """Measure the union of segments: what is watched twice counts once."""
    total, reached = 0, 0
    for start, end in sorted(segments):
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total


@dataclass
class Progress:
    """One student in one course: the progress document."""

    completed: set[str] = field(default_factory=set)
    plain: list[int] = field(default_factory=list)
    segments: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    attempts: list[Fraction] = field(default_factory=list)
    keys: dict[str, tuple[Any, ...]] = field(default_factory=dict)

    @property
    def watched(self) -> int:
        """All milliseconds watched, of lessons since removed too."""
        return sum(self.plain) + sum(covered(segments) for segments in self.segments.values())


@dataclass
class Course:
    """A course as it is today, with all that its students did in it."""

    lessons: list[str]
    category: str | None
    ratings: dict[str, int] = field(default_factory=dict)
    progress: dict[str, Progress] = field(default_factory=dict)


def lesson_ids(modules: Iterable[Mapping[str, Any]]) -> list[str]:
    """List the lessons of modules given in the shape that the REST routes take."""
    return [lesson["lesson_id"] for module in modules for lesson in module.get("lessons") or ()]


class Model:
    """Every course with everything that happened in it.

    Events of a lesson or course that does not exist raise `UnknownError` and change nothing.
    The methods that take `key` treat it as an idempotency key of that student in that course.
    """

    def __init__(self) -> None:
        self.courses: dict[str, Course] = {}

    # The course

    def create_course(
        self,
        course_id: str,
        modules: Iterable[Mapping[str, Any]],
        category: str | None = None,
    ) -> None:
        self.courses[course_id] = Course(lesson_ids(modules), category)

    def put_modules(self, course_id: str, modules: Iterable[Mapping[str, Any]]) -> None:
        self._course(course_id).lessons = lesson_ids(modules)

    def put_category(self, course_id: str, category: str | None) -> None:
        self._course(course_id).category = category

    def rate(self, course: str, user: str, rating: int) -> None:
        """Keep a student's last rating; it makes no progress document."""
        self._course(course).ratings[user] = rating

    # Who is in it

    def enrol(self, course: str, user: str) -> None:
        self._course(course).progress.setdefault(user, Progress())

    def remove(self, course: str, user: str) -> None:
        """Take a student, with all events there, out of the course; a rating is no event of it."""
        self._course(course).progress.pop(user, None)

    def erase(self, user: str) -> None:
        """Take a student out of every course, ratings too."""
        for course_id, course in self.courses.items():
            self.remove(course_id, user)
            course.ratings.pop(user, None)

    # What they do

    def complete(self, course: str, user: str, lesson: str, *, key: str | None = None) -> None:
        """Finish a lesson; once more changes nothing."""
        if progress := self._event(course, user, lesson, key, "complete"):
            progress.completed.add(lesson)

    def watch(
        self,
        course: str,
        user: str,
        lesson: str,
        seconds: Number,
        *,
        key: str | None = None,
    ) -> None:
        """Add seconds watched."""
        amount = milliseconds(seconds)
        if progress := self._event(course, user, lesson, key, "watch", amount):
            progress.plain.append(amount)

    def segments(
        self,
        course: str,
        user: str,
        lesson: str,
        segments: Iterable[Sequence[Number]],
        *,
        key: str | None = None,
    ) -> None:
        """Add stretches `[from, to]` of the video; the union of all so far counts."""
        parts = tuple((milliseconds(start), milliseconds(end)) for start, end in segments)
        if progress := self._event(course, user, lesson, key, "segments", parts):
            progress.segments.setdefault(lesson, []).extend(parts)

    def quiz(  # noqa: PLR0913  # an attempt has two numbers
        self,
        course: str,
        user: str,
        lesson: str,
        score: Number,
        max_score: Number,
        *,
        key: str | None = None,
    ) -> None:
        """Add an attempt: its percentage, unrounded."""
        result = exact(score) * 100 / exact(max_score)
        content = ("quiz", exact(score), exact(max_score))
        if progress := self._event(course, user, lesson, key, *content):
            progress.attempts.append(result)

    # The numbers

    def analytics(self, course: str) -> dict[str, Any]:
        """Answer a course's numbers: the `analytics` object without `generated_at`."""
        taught = self._course(course).lessons
        students = list(self._course(course).progress.values())
        completion = [
            Fraction(100 * sum(lesson in one.completed for lesson in taught), len(taught))
            for one in students
            if taught
        ]
        minutes = Fraction(sum(one.watched for one in students), 60_000)
        attempts = [result for one in students for result in one.attempts]
        return {
            "course_id": course,
            "students": len(students),
            "avg_completion": shown(mean(completion)),
            "total_watch_time_minutes": shown(minutes),
            "avg_watch_time_per_student": shown(minutes / len(students)) if students else 0.0,
            "avg_quiz_score": shown(mean(attempts)),
        }

    def overview(self) -> dict[str, Any]:
        """Answer the platform's numbers: the `data` object without `generated_at`."""
        courses = self.courses.values()
        rated = [
            mean([Fraction(rating) for rating in course.ratings.values()])
            for course in courses
            if course.ratings
        ]
        categories = Counter(course.category for course in courses if course.category)
        by_size = sorted(categories.items(), key=lambda item: (-item[1], item[0]))
        return {
            "total_courses": len(courses),
            "active_students": len({user for course in courses for user in course.progress}),
            "avg_rating": shown(mean(rated)),
            "popular_categories": [
                {"_id": name, "count": count} for name, count in by_size[:LARGEST_CATEGORIES]
            ],
        }

    # Inside

    def _course(self, course: str) -> Course:
        if course not in self.courses:
            raise UnknownError(course)
        return self.courses[course]

    def _event(
        self,
        course: str,
        user: str,
        lesson: str,
        key: str | None,
        *content: Any,
    ) -> Progress | None:
        """Find the document that the event changes; the first one makes it. None: a repeat."""
        if lesson not in self._course(course).lessons:
            raise UnknownError(lesson)
        progress = self._course(course).progress.get(user, Progress())
        if key is not None:
            if key in progress.keys:
                if progress.keys[key] != (lesson, *content):
                    raise ConflictError(key)
                return None
            progress.keys[key] = (lesson, *content)
        self._course(course).progress[user] = progress
        return progress
