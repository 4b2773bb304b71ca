"""A refresh that is killed after any of its steps leaves the next one exact."""

from __future__ import annotations

import pytest

from analytics.events import LessonCompleted, QuizAttempted, SecondsWatched
from analytics.stores.recount import course_drift, platform_drift
from tests.fold.world import World, course_worker, platform_worker

EXPECTED = {
    "course_id": "c",
    "students": 2,
    "avg_completion": 50.0,
    "total_watch_time_minutes": 1.0,
    "avg_watch_time_per_student": 0.5,
    "avg_quiz_score": 50.0,
}


def act(world: World) -> None:
    world.create_course("c", "a", "b", category="Data")
    world.append("c", "ann", LessonCompleted("a"))
    world.append("c", "ann", SecondsWatched("a", 60_000))
    world.append("c", "bob", LessonCompleted("b"))
    world.append("c", "bob", QuizAttempted("b", 1, 2))
    world.append("c", "eve", LessonCompleted("b"))
    world.remove("c", "eve")


@pytest.mark.parametrize("steps", range(7))
def test_a_course_refresh_killed_after_any_step_is_repaired_by_the_next(
    world: World, steps: int
) -> None:
    act(world)
    for _ in zip(range(steps), course_worker(world.collections, "c"), strict=False):
        pass  # the worker dies here

    assert world.refresh("c") == EXPECTED
    assert course_drift(world.collections, "c") == []
    assert world.collections.progress.count_documents({"dirty": "c"}) == 0
    assert world.refresh_platform()["active_students"] == 2


@pytest.mark.parametrize("steps", range(7))
def test_events_after_a_crash_are_counted_once(world: World, steps: int) -> None:
    act(world)
    for _ in zip(range(steps), course_worker(world.collections, "c"), strict=False):
        pass
    world.append("c", "ann", SecondsWatched("b", 60_000))
    world.append("c", "eve", LessonCompleted("a"))

    assert world.refresh("c") == EXPECTED | {
        "students": 3,
        "total_watch_time_minutes": 2.0,
        "avg_watch_time_per_student": 0.67,
    }
    assert course_drift(world.collections, "c") == []


@pytest.mark.parametrize("steps", range(4))
def test_a_platform_refresh_killed_after_any_step_is_repaired_by_the_next(
    world: World, steps: int
) -> None:
    act(world)
    world.refresh("c")
    world.rate("c", "ann", 4)
    for _ in zip(range(steps), platform_worker(world.collections), strict=False):
        pass

    assert world.refresh_platform() == {
        "total_courses": 1,
        "active_students": 2,
        "avg_rating": 4.0,
        "popular_categories": [{"_id": "Data", "count": 1}],
    }
    assert platform_drift(world.collections) == []


def test_a_student_who_comes_back_after_a_crash_is_active_again(world: World) -> None:
    act(world)
    world.refresh("c")
    world.refresh_platform()
    world.remove("c", "ann")
    stalled = course_worker(world.collections, "c")
    next(stalled)
    next(stalled)
    world.append("c", "ann", LessonCompleted("a"))
    world.refresh("c")
    for _ in stalled:
        pass  # the stalled worker wakes up and cleans up what is long done

    assert world.refresh_platform()["active_students"] == 2
    assert course_drift(world.collections, "c") == []
    assert platform_drift(world.collections) == []
