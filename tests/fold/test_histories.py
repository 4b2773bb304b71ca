"""Generated histories through the real stores equal the independent plain-Python model."""

from __future__ import annotations

import secrets
from fractions import Fraction
from typing import Any

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pymongo import MongoClient

from analytics.events import (
    Enrolled,
    LessonCompleted,
    QuizAttempted,
    SecondsWatched,
    SpansWatched,
)
from analytics.numbers import to_units
from analytics.settings import Settings
from analytics.stores.mongo import Collections, Document, ensure_indexes
from analytics.stores.recount import course_drift, platform_drift
from tests.fold.world import World, course_worker, platform_worker
from tests.model import Model
from tests.stack import lessons

COURSES = ("c.1", "$c")
USERS = ("ann", "b.ob", "$eve")
LESSONS = ("a", "b.c", "$d", "0")

course = st.sampled_from(COURSES)
user = st.sampled_from(USERS)
lesson = st.sampled_from(LESSONS)
seconds = st.integers(0, 900_000).map(lambda ms: ms / 1000)
spans = st.lists(st.tuples(seconds, seconds).map(sorted), min_size=1, max_size=4)

step = st.one_of(
    st.tuples(st.just("complete"), course, user, lesson),
    st.tuples(st.just("watch"), course, user, lesson, seconds),
    st.tuples(st.just("segments"), course, user, lesson, spans),
    st.tuples(st.just("quiz"), course, user, lesson, st.integers(0, 7), st.integers(7, 9)),
    st.tuples(st.just("enrol"), course, user),
    st.tuples(st.just("remove"), course, user),
    st.tuples(st.just("rate"), course, user, st.integers(1, 5)),
    st.tuples(st.just("lessons"), course, st.sets(lesson)),
    st.tuples(st.just("refresh"), course),
    st.tuples(st.just("crash"), course, st.integers(1, 6)),
    st.tuples(st.just("platform crash"), st.integers(1, 3)),
)


@hypothesis_settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=st.lists(step, max_size=25))
def test_any_history_with_crashes_shows_the_models_numbers(
    mongo: MongoClient[Document], settings: Settings, history: list[tuple[Any, ...]]
) -> None:
    own = settings.model_copy(update={"mongo_database": f"test_{secrets.token_hex(6)}"})
    collections = Collections(mongo, own)
    ensure_indexes(collections)
    world, model = World(own, collections), Model()
    try:
        for number, course_id in enumerate(COURSES):
            world.create_course(course_id, *LESSONS, category=f"k.{number}")
            model.create_course(course_id, lessons(*LESSONS), f"k.{number}")
        for action in history:
            take(world, model, action)
        for course_id in COURSES:
            world.append(course_id, "last", Enrolled())
            model.enrol(course_id, "last")
            assert world.refresh(course_id) == model.analytics(course_id)
            assert course_drift(collections, course_id) == []
        assert world.refresh_platform() == model.overview()
        assert platform_drift(collections) == []
    finally:
        mongo.drop_database(own.mongo_database)


def take(  # noqa: C901, PLR0912  # one case a step, each of two lines
    world: World, model: Model, action: tuple[Any, ...]
) -> None:
    """Take one step of a history in the world and in the model."""
    match action:
        case ("complete", where, who, what):
            world.append(where, who, LessonCompleted(what))
            if what in model.courses[where].lessons:
                model.complete(where, who, what)
            else:
                unchecked(model, where, who).completed.add(what)
        case ("watch", where, who, what, amount):
            world.append(where, who, SecondsWatched(what, to_units(amount, 1_000)))
            unchecked(model, where, who).plain.append(to_units(amount, 1_000))
        case ("segments", where, who, what, stretches):
            in_ms = tuple((to_units(a, 1_000), to_units(b, 1_000)) for a, b in stretches)
            world.append(where, who, SpansWatched(what, in_ms))
            unchecked(model, where, who).segments.setdefault(what, []).extend(in_ms)
        case ("quiz", where, who, what, score, largest):
            world.append(where, who, QuizAttempted(what, score, largest))
            unchecked(model, where, who).attempts.append(Fraction(score, largest) * 100)
        case ("enrol", where, who):
            world.append(where, who, Enrolled())
            model.enrol(where, who)
        case ("remove", where, who):
            world.remove(where, who)
            model.remove(where, who)
        case ("rate", where, who, stars):
            world.rate(where, who, stars)
            model.rate(where, who, stars)
        case ("lessons", where, ids):
            world.set_lessons(where, *sorted(ids))
            model.put_modules(where, lessons(*sorted(ids)))
        case ("refresh", where):
            for _ in course_worker(world.collections, where):
                pass
        case ("crash", where, steps):
            for _ in zip(range(steps), course_worker(world.collections, where), strict=False):
                pass
        case ("platform crash", steps):
            for _ in zip(range(steps), platform_worker(world.collections), strict=False):
                pass


def unchecked(model: Model, where: str, who: str) -> Any:
    """Return the model's progress; the stores do not ask whether the course has the lesson."""
    model.enrol(where, who)
    return model.courses[where].progress[who]
