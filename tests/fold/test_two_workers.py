"""Two workers on one course or on the platform, each interleaving of their steps: exact."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations

from analytics.events import LessonCompleted, SecondsWatched
from analytics.stores.mongo import Collections
from analytics.stores.recount import course_drift, platform_drift
from tests.fold.world import World, course_worker, platform_worker

STEPS = 5


def interleavings(steps: int) -> Iterator[tuple[bool, ...]]:
    """Yield every order in which two workers can take `steps` steps each."""
    for firsts in combinations(range(2 * steps), steps):
        yield tuple(position in firsts for position in range(2 * steps))


def run_interleaved(
    make: Callable[[], Iterator[str]], order: tuple[bool, ...], between: Callable[[], None]
) -> None:
    """Let two workers take turns as `order` says; `between` happens after half of the turns."""
    workers = (make(), make())
    for turn, first in enumerate(order):
        if turn == len(order) // 2:
            between()
        next(workers[0] if first else workers[1], None)
    for worker in workers:
        for _ in worker:
            pass


def test_every_interleaving_of_two_course_workers_is_exact(world: World) -> None:
    world.create_course("c", "a", "b")
    for students, order in enumerate(interleavings(STEPS), start=1):
        user = f"user-{students}"
        world.collections.progress.insert_one(dirty_document(user, students))

        def meanwhile(user: str = user) -> None:
            add_minute(world.collections, user)

        run_interleaved(lambda: course_worker(world.collections, "c"), order, meanwhile)
        shown = world.refresh("c")
        assert shown["students"] == students, order
        assert shown["total_watch_time_minutes"] == 2 * students, order
    assert course_drift(world.collections, "c") == []


def test_every_interleaving_of_two_platform_workers_is_exact(world: World) -> None:
    world.create_course("c", "a")
    for number, order in enumerate(interleavings(3)):
        world.collections.progress.insert_one(dirty_document(f"user-{number}", number))
        world.refresh("c")

        def meanwhile(number: int = number) -> None:
            world.collections.progress.insert_one(dirty_document(f"late-{number}", number))
            world.refresh("c")

        run_interleaved(lambda: platform_worker(world.collections), order, meanwhile)
        assert world.refresh_platform()["active_students"] == 2 * (number + 1), order
    assert platform_drift(world.collections) == []


def test_versions_grow_whoever_commits(world: World) -> None:
    world.create_course("c", "a")
    versions = []
    for user in ("ann", "bob", "eve"):
        world.append("c", user, LessonCompleted("a"))
        world.refresh("c")
        stored = world.collections.course_totals.find_one({"_id": "c"})
        assert stored is not None
        versions.append(stored["version"])
    assert versions == sorted(set(versions))


def test_a_refresh_that_finds_nothing_makes_no_version(world: World) -> None:
    world.create_course("c", "a")
    world.append("c", "ann", SecondsWatched("a", 1_000))
    world.refresh("c")
    before = world.collections.course_totals.find_one({"_id": "c"})
    world.refresh("c")
    assert world.collections.course_totals.find_one({"_id": "c"}) == before


def dirty_document(user: str, at: int) -> dict[str, object]:
    """Return a progress document as the first event of a student leaves it: a minute watched."""
    entry = {
        "seq": 1,
        "event": user,
        "at": at,
        "request_id": "r",
        "students": 1,
        "parts": [["_a", 0, 60_000, 0, 0, 0]],
    }
    return {
        "course_id": "c",
        "user_id": user,
        "alive": True,
        "seq": 1,
        "dirty": "c",
        "last_accessed": at,
        "lessons": {"_a": {"plain_ms": 60_000, "watch_ms": 60_000}},
        "uncounted": [entry],
    }


def add_minute(collections: Collections, user: str) -> None:
    """Add a second event, as the write path would."""
    entry = {
        "seq": 2,
        "event": user,
        "at": 1,
        "request_id": "r",
        "students": 0,
        "parts": [["_a", 0, 60_000, 0, 0, 0]],
    }
    collections.progress.update_one(
        {"course_id": "c", "user_id": user},
        {
            "$push": {"uncounted": entry},
            "$inc": {"seq": 1, "lessons._a.watch_ms": 60_000, "lessons._a.plain_ms": 60_000},
            "$set": {"dirty": "c"},
        },
    )
