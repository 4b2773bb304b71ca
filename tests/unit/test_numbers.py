"""Exact numbers: rounding once, half up, from integers."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.events import union
from analytics.ids import field_key, from_field_key
from analytics.numbers import (
    LessonSums,
    course_numbers,
    half_up,
    platform_numbers,
    to_units,
)
from tests.model import covered


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Fraction(1, 200), 0.01),
        (Fraction(-1, 200), -0.01),
        (Fraction(1, 3), 0.33),
        (Fraction(2, 3), 0.67),
        (Fraction(2675, 1000), 2.68),
        (Fraction(0), 0.0),
        (Fraction(100), 100.0),
    ],
)
def test_rounding_is_half_up(value: Fraction, shown: float) -> None:
    assert half_up(value) == shown


@given(st.integers(0, 10**12), st.integers(1, 10**9))
def test_rounding_equals_decimals(numerator: int, denominator: int) -> None:
    exact = Decimal(numerator) / Decimal(denominator)
    if exact * 1000 % 10 != 5:  # a tie that Decimal's own division may have made
        expected = float(exact.quantize(Decimal("0.01"), ROUND_HALF_UP))
        assert half_up(Fraction(numerator, denominator)) == expected


@pytest.mark.parametrize(
    ("seconds", "milliseconds"),
    [(0.0005, 1), (0.0004, 0), (1.1, 1100), (0.29, 290), (86_400, 86_400_000), (1e-9, 0)],
)
def test_seconds_are_kept_to_the_millisecond(seconds: float, milliseconds: int) -> None:
    assert to_units(seconds, 1_000) == milliseconds


def test_a_mean_of_thirds_that_lies_on_a_half_is_rounded_up() -> None:
    quiz = ((3_000_000, 3_000_150, 3),)  # 1/3, 1/3 and 1.00015/3: exactly 33.335 %
    assert (
        course_numbers("c", 1, {"q": LessonSums(quiz=quiz)}, (), "now")["avg_quiz_score"] == 33.34
    )


@given(st.text(min_size=1, max_size=50))
def test_any_id_survives_being_a_field_name(identifier: str) -> None:
    key = field_key(identifier)
    assert "." not in key
    assert not key.startswith("$")
    assert from_field_key(key) == identifier


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_ids_have_different_field_names(one: str, other: str) -> None:
    assert (field_key(one) == field_key(other)) == (one == other)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda p: (min(p), max(p)))))
def test_the_union_of_spans_is_sorted_disjoint_and_as_long(spans: list[tuple[int, int]]) -> None:
    merged = union(tuple(spans))
    assert sum(end - start for start, end in merged) == covered(spans)
    assert all(a[1] < b[0] for a, b in pairwise(merged))


def test_a_course_without_students_or_lessons_shows_zeros() -> None:
    assert course_numbers("c", 0, {}, (), "now") == {
        "course_id": "c",
        "students": 0,
        "avg_completion": 0.0,
        "total_watch_time_minutes": 0.0,
        "avg_watch_time_per_student": 0.0,
        "avg_quiz_score": 0.0,
        "generated_at": "now",
    }


def test_completions_of_removed_lessons_do_not_count_but_their_seconds_and_scores_do() -> None:
    sums = {
        "here": LessonSums(completed=1, watch_ms=60_000),
        "gone": LessonSums(completed=2, watch_ms=60_000, quiz=((2, 1, 1),)),
    }
    numbers = course_numbers("c", 2, sums, ["here"], "now")
    assert numbers["avg_completion"] == 50.0
    assert numbers["total_watch_time_minutes"] == 2.0
    assert numbers["avg_quiz_score"] == 50.0


def test_the_platforms_rating_is_the_mean_of_the_courses_means() -> None:
    ratings = {1: (2, 6), 3: (1, 4)}  # two courses rated once (6 stars together), one rated thrice
    numbers = platform_numbers(4, 0, ratings, {}, "now")
    assert numbers["avg_rating"] == half_up(Fraction(6 + Fraction(4, 3)) / 3)


def test_popular_categories_are_five_by_count_then_name() -> None:
    categories = {"b": 2, "a": 2, "z": 9, "d": 1, "c": 1, "e": 1, "none": 0}
    shown = platform_numbers(0, 0, {}, categories, "now")["popular_categories"]
    assert [item["_id"] for item in shown] == ["z", "a", "b", "c", "d"]
