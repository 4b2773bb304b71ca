"""A small world for fold tests: the real stores, driven step by step from a test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

from analytics.clock import now_ms
from analytics.courses import NewCourse
from analytics.events import Event
from analytics.ids import new_id
from analytics.settings import Settings
from analytics.stores.async_mongo import AsyncCollections
from analytics.stores.course_fold import CourseFold, refresh_course
from analytics.stores.courses import Courses
from analytics.stores.mongo import Collections
from analytics.stores.platform_fold import PlatformFold, refresh_platform
from analytics.stores.progress import Accepted, Progress, Request
from analytics.stores.ratings import Ratings
from tests.stack import lessons

T = TypeVar("T")


class World:
    """Writes as the API writes, folds as a worker folds."""

    def __init__(self, settings: Settings, collections: Collections) -> None:
        self.settings = settings
        self.collections = collections

    def write(self, work: Callable[[AsyncCollections], Awaitable[T]]) -> T:
        """Run one asynchronous write with a client of its own loop."""

        async def run() -> T:
            opened = AsyncCollections(self.settings)
            try:
                return await work(opened)
            finally:
                opened.close()

        return asyncio.run(run())

    def create_course(self, course_id: str, *lesson_ids: str, category: str | None = None) -> None:
        body = NewCourse.model_validate(
            {
                "title": "A course",
                "instructor_id": "i",
                "category": category,
                "modules": lessons(*lesson_ids),
            }
        )
        fields = body.model_dump(exclude={"course_id"})
        self.write(lambda c: Courses(c).create(course_id, fields, new_id()))

    def set_lessons(self, course_id: str, *lesson_ids: str) -> None:
        change = {"modules": lessons(*lesson_ids)}
        for lesson in change["modules"][0]["lessons"]:
            lesson["duration_minutes"] = 0
        self.write(lambda c: Courses(c).edit(course_id, lambda _: dict(change), new_id()))

    def append(
        self, course_id: str, user_id: str, event: Event, key: str | None = None
    ) -> Accepted:
        request = Request(now_ms(), new_id(), key, "body")
        return self.write(lambda c: Progress(c).append(course_id, user_id, event, request))

    def remove(self, course_id: str, user_id: str) -> None:
        request = Request(now_ms(), new_id())
        self.write(lambda c: Progress(c).remove(course_id, user_id, request))

    def rate(self, course_id: str, user_id: str, rating: int) -> None:
        self.write(lambda c: Ratings(c).rate(course_id, user_id, rating))

    def refresh(self, course_id: str) -> dict[str, Any]:
        """Refresh and clean up; return the numbers then shown."""
        outcome = refresh_course(self.collections, course_id)
        assert outcome is not None
        state, planned, frame = outcome
        totals = state.totals if planned is None else planned.totals
        CourseFold(self.collections, course_id).clean_up(state, totals)
        assert frame is not None
        return without_time(frame.numbers)

    def refresh_platform(self) -> dict[str, Any]:
        """Refresh the platform until nothing is owed; return the numbers then shown."""
        while True:
            state, planned, frame = refresh_platform(self.collections)
            if planned is None:
                assert frame is not None
                return without_time(frame.numbers)
            PlatformFold(self.collections).clean_up(state, planned)

    def shown(self, course_id: str) -> dict[str, Any]:
        """Return the stored frame's numbers."""
        stored = self.collections.course_totals.find_one({"_id": course_id})
        assert stored is not None
        return without_time(json.loads(stored["frame"])["analytics"])


def without_time(numbers: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in numbers.items() if name != "generated_at"}


def course_worker(collections: Collections, course_id: str) -> Iterator[str]:
    """One refresh that stops after every step: a worker that can be killed or overtaken there."""
    step = CourseFold(collections, course_id)
    while True:
        state = step.read()
        assert state is not None
        yield "read"
        planned = step.plan(state, new_version=False)
        if planned is None:
            totals = state.totals
            break
        frame = step.commit(state, planned)
        yield "committed" if frame is not None else "overtaken"
        if frame is not None:
            totals = planned.totals
            break
    yield from step.cleaning(state, totals)


def platform_worker(collections: Collections) -> Iterator[str]:
    """One platform refresh that stops after every step."""
    step = PlatformFold(collections)
    while True:
        state = step.read()
        yield "read"
        planned = step.plan(state, new_version=False)
        if planned is None:
            return
        frame = step.commit(state, planned)
        yield "committed" if frame is not None else "overtaken"
        if frame is not None:
            break
    step.clean_up(state, planned)
    yield "cleaned"
