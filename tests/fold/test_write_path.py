"""The write path under races and repeats: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pymongo.errors import BulkWriteError

from analytics.clock import now_ms
from analytics.errors import Conflict, Unavailable
from analytics.events import LessonCompleted, SecondsWatched
from analytics.ids import new_id
from analytics.stores.async_mongo import AsyncCollections
from analytics.stores.group_commit import GroupCommit
from analytics.stores.progress import Progress, Request
from analytics.stores.recount import course_drift
from analytics.totals import EVENTS_PER_FOLD
from tests.fold.world import World


class RacingCollection:
    """A collection in which another first event of the student comes first, once."""

    def __init__(self, collection: Any, race: Any) -> None:
        self._collection = collection
        self._race = race

    async def bulk_write(self, operations: list[Any], **options: Any) -> Any:
        if self._race is not None:
            race, self._race = self._race, None
            await race()
            failed = {"index": 0, "code": 11000, "errmsg": "E11000 duplicate key (injected)"}
            raise BulkWriteError(
                {"upserted": [], "writeConcernErrors": [], "writeErrors": [failed], "nModified": 0}
            )
        return await self._collection.bulk_write(operations, **options)


def test_a_lost_upsert_race_loses_no_event(world: World) -> None:
    world.create_course("c", "a")

    async def race_and_append(opened: AsyncCollections) -> Any:
        progress = Progress(opened)
        winner = Progress(opened)

        async def race() -> None:
            request = Request(now_ms(), new_id())
            await winner.append("c", "ann", SecondsWatched("a", 60_000), request)

        progress._writes = GroupCommit(RacingCollection(opened.progress, race))
        request = Request(now_ms(), new_id())
        return await progress.append("c", "ann", SecondsWatched("a", 120_000), request)

    assert world.write(race_and_append).changed
    shown = world.refresh("c")
    assert shown["students"] == 1
    assert shown["total_watch_time_minutes"] == 3.0
    assert course_drift(world.collections, "c") == []


def test_a_repeated_key_answers_the_same_event_and_changes_nothing(world: World) -> None:
    world.create_course("c", "a")
    first = world.append("c", "ann", SecondsWatched("a", 60_000), key="k")
    again = world.append("c", "ann", SecondsWatched("a", 60_000), key="k")
    assert again.event_id == first.event_id
    assert not again.changed
    assert world.refresh("c")["total_watch_time_minutes"] == 1.0


def test_the_last_200_keys_are_remembered(world: World) -> None:
    world.create_course("c", "a")
    events = [
        world.append("c", "ann", SecondsWatched("a", 1_000), key=f"k{n}").event_id
        for n in range(201)
    ]
    assert world.append("c", "ann", SecondsWatched("a", 1_000), key="k1").event_id == events[1]


def test_a_key_with_other_content_is_a_conflict(world: World) -> None:
    world.create_course("c", "a")
    world.append("c", "ann", LessonCompleted("a"), key="k")
    request = Request(now_ms(), new_id(), "k", "another body")
    with pytest.raises(Conflict, match="other content"):
        world.write(lambda c: Progress(c).append("c", "ann", LessonCompleted("a"), request))


def test_too_many_uncounted_events_are_refused_until_folded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = EVENTS_PER_FOLD + 200
    monkeypatch.setattr("analytics.stores.progress.UNCOUNTED_LIMIT", limit)
    world.create_course("c", "a")
    world.append("c", "ann", SecondsWatched("a", 1_000))
    entry = world.collections.progress.find_one({"user_id": "ann"})
    assert entry is not None
    filler = entry["uncounted"][0] | {"students": 0}
    many = [filler | {"seq": number + 1} for number in range(limit)]
    many[0]["students"] = 1
    world.collections.progress.update_one(
        {"user_id": "ann"},
        {"$set": {"uncounted": many, "seq": limit}},
    )
    with pytest.raises(Unavailable, match="wait to be counted"):
        world.append("c", "ann", SecondsWatched("a", 1_000))
    assert world.refresh("c")["total_watch_time_minutes"] == round(EVENTS_PER_FOLD / 60, 2)
    assert world.refresh("c")["total_watch_time_minutes"] == round(limit / 60, 2)
    assert world.append("c", "ann", SecondsWatched("a", 1_000)).changed


def test_a_removed_student_leaves_no_document(world: World) -> None:
    world.create_course("c", "a")
    world.append("c", "ann", LessonCompleted("a"))
    world.refresh("c")
    world.refresh_platform()
    world.remove("c", "ann")
    world.refresh("c")
    world.refresh_platform()
    assert world.collections.progress.count_documents({}) == 0
    assert world.collections.students.count_documents({}) == 0


def test_events_that_arrive_together_are_each_answered_as_what_they_are(world: World) -> None:
    world.create_course("c", "a")
    world.append("c", "ann", LessonCompleted("a"), key="old")

    async def crowd(opened: AsyncCollections) -> list[Any]:
        progress = Progress(opened)

        def one(user: str, event: Any, key: str | None, body: str = "body") -> Any:
            return progress.append("c", user, event, Request(now_ms(), new_id(), key, body))

        many = [one(f"u{n}", SecondsWatched("a", 60_000), None) for n in range(40)]
        repeats = [one("ann", LessonCompleted("a"), "old"), one("ann", LessonCompleted("a"), None)]
        clash = one("ann", LessonCompleted("a"), "old", "another body")
        return await asyncio.gather(*many, *repeats, clash, return_exceptions=True)

    *fresh, repeated, finished, clashed = world.write(crowd)
    remembered = world.append("c", "ann", LessonCompleted("a"), key="old")
    assert all(accepted.changed for accepted in fresh)
    assert repeated.event_id == remembered.event_id
    assert not repeated.changed
    assert isinstance(clashed, Conflict)
    assert finished.event_id != repeated.event_id
    shown = world.refresh("c")
    assert shown["students"] == 41
    assert shown["total_watch_time_minutes"] == 40.0
    assert course_drift(world.collections, "c") == []
