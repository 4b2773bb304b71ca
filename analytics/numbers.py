"""The numbers as the contract defines them: pure functions of exact integer sums.

Sums are integers (milliseconds; scores × 10⁶, apart for each largest score), so nothing is lost
before the one rounding, half up, when a number is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

from analytics.events import Part

MILLISECONDS_PER_MINUTE = 60_000


def half_up(value: Fraction, places: int = 2) -> float:
    """Round once, half up (away from zero), to `places` decimals."""
    scale = 10**places
    scaled = abs(value) * scale
    whole = (scaled.numerator * 2 + scaled.denominator) // (scaled.denominator * 2)
    return float(Fraction(whole if value >= 0 else -whole, scale))


def to_units(value: float | Decimal, unit: int) -> int:
    """Return `value` in integer parts of 1/`unit`, half up; a float counts as its shortest text."""
    exact = value if isinstance(value, Decimal) else Decimal(repr(value))
    return int((exact * unit).quantize(Decimal(1), rounding=ROUND_HALF_UP))


QuizSums = tuple[tuple[int, int, int], ...]
"""(largest score, sum of scores, attempts) for each largest score, by which they are sorted."""


@dataclass(frozen=True, slots=True)
class LessonSums:
    """What one lesson adds to the course's numbers."""

    completed: int = 0
    watch_ms: int = 0
    quiz: QuizSums = ()

    def plus(self, part: Part, sign: int = 1) -> LessonSums:
        """Return the sums with a part added (or taken back, with −1)."""
        quiz = {largest: (score, attempts) for largest, score, attempts in self.quiz}
        if part.attempts:
            score, attempts = quiz.get(part.max_score, (0, 0))
            quiz[part.max_score] = (score + sign * part.score, attempts + sign * part.attempts)
        kept = sorted((largest, *sums) for largest, sums in quiz.items() if sums != (0, 0))
        return LessonSums(
            self.completed + sign * part.completed,
            self.watch_ms + sign * part.watch_ms,
            tuple(kept),
        )

    def document(self) -> dict[str, Any]:
        """Return the sums as they are stored."""
        quiz = [list(sums) for sums in self.quiz]
        return {"completed": self.completed, "watch_ms": self.watch_ms, "quiz": quiz}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> LessonSums:
        """Read stored sums."""
        quiz = tuple((largest, score, attempts) for largest, score, attempts in document["quiz"])
        return cls(document["completed"], document["watch_ms"], quiz)


def course_numbers(
    course_id: str,
    students: int,
    sums: Mapping[str, LessonSums],
    lesson_ids: Iterable[str],
    generated_at: str,
) -> dict[str, Any]:
    """Return the `analytics` object. `sums` is by lesson id, removed lessons included."""
    today = list(lesson_ids)
    completed = sum(sums[lesson].completed for lesson in today if lesson in sums)
    watch_ms = sum(lesson.watch_ms for lesson in sums.values())
    scores: dict[int, int] = {}
    attempts = 0
    for lesson in sums.values():
        for largest, score, count in lesson.quiz:
            scores[largest] = scores.get(largest, 0) + score
            attempts += count
    quiz = sum((Fraction(score, largest) for largest, score in scores.items()), Fraction(0))
    return {
        "course_id": course_id,
        "students": students,
        "avg_completion": _mean(100 * completed, students * len(today)),
        "total_watch_time_minutes": _mean(watch_ms, MILLISECONDS_PER_MINUTE),
        "avg_watch_time_per_student": _mean(watch_ms, MILLISECONDS_PER_MINUTE * students),
        "avg_quiz_score": half_up(100 * quiz / attempts) if attempts else 0.0,
        "generated_at": generated_at,
    }


def platform_numbers(
    total_courses: int,
    active_students: int,
    ratings: Mapping[int, tuple[int, int]],
    categories: Mapping[str, int],
    generated_at: str,
) -> dict[str, Any]:
    """Return the `data` object.

    `ratings` maps a number of ratings n to (courses that have n ratings, sum of those ratings), so
    that the mean of the courses' means is a sum of few exact fractions.
    """
    courses = sum(count for count, _ in ratings.values())
    means = sum((Fraction(total, number) for number, (_, total) in ratings.items()), Fraction(0))
    popular = sorted(
        ((name, count) for name, count in categories.items() if count > 0),
        key=lambda item: (-item[1], item[0]),
    )
    return {
        "total_courses": total_courses,
        "active_students": active_students,
        "avg_rating": half_up(means / courses) if courses else 0.0,
        "popular_categories": [{"_id": name, "count": count} for name, count in popular[:5]],
        "generated_at": generated_at,
    }


def _mean(total: int, count: int) -> float:
    return half_up(Fraction(total, count)) if count else 0.0
