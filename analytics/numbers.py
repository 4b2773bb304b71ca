"""The numbers as the contract defines them: pure functions of exact integer sums.

Sums are integers (milliseconds; percent × 10⁶), so nothing is lost before the one rounding,
half up, when a number is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

PERCENT_UNIT = 1_000_000
"""A quiz attempt's percentage is kept as this many parts of a percent, half up."""

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


def percent_units(score: float, max_score: float) -> int:
    """Return 100 × score / max_score in parts of a percent (`PERCENT_UNIT`), half up."""
    exact = Fraction(Decimal(repr(score))) / Fraction(Decimal(repr(max_score)))
    scaled = exact * 100 * PERCENT_UNIT
    return (scaled.numerator * 2 + scaled.denominator) // (scaled.denominator * 2)


@dataclass(frozen=True, slots=True)
class LessonSums:
    """What one lesson adds to the course's numbers."""

    completed: int = 0
    watch_ms: int = 0
    quiz_sum: int = 0
    quiz_count: int = 0


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
    quiz_sum = sum(lesson.quiz_sum for lesson in sums.values())
    quiz_count = sum(lesson.quiz_count for lesson in sums.values())
    return {
        "course_id": course_id,
        "students": students,
        "avg_completion": _mean(100 * completed, students * len(today)),
        "total_watch_time_minutes": _mean(watch_ms, MILLISECONDS_PER_MINUTE),
        "avg_watch_time_per_student": _mean(watch_ms, MILLISECONDS_PER_MINUTE * students),
        "avg_quiz_score": _mean(quiz_sum, quiz_count * PERCENT_UNIT),
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
