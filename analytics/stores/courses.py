"""Courses as requests write and read them.

Every edit that can change a number leaves its mark in the same update: `owes_course` (cleared by
the refresh whose snapshot holds that version) and `owes_platform` with `platform_touch` (cleared by
the platform fold that counted that touch). `version` is an edit's; enrolments and ratings leave it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pymongo import ASCENDING, DESCENDING
from pymongo.errors import DuplicateKeyError

from analytics.clock import now_ms
from analytics.courses import derived_fields
from analytics.errors import Conflict, NotFound, PreconditionFailed, Unavailable
from analytics.stores.async_mongo import AsyncCollections

EDIT_TRIES = 8
SORTS = {
    "recent": [("created_at", DESCENDING), ("_id", ASCENDING)],
    "popular": [("enroll_count", DESCENDING), ("_id", ASCENDING)],
    "top_rated": [("ratings.mean", DESCENDING), ("_id", ASCENDING)],
    "duration": [("total_duration_minutes", ASCENDING), ("_id", ASCENDING)],
}

Course = dict[str, Any]


class Courses:
    """The collection of courses, for requests."""

    def __init__(self, collections: AsyncCollections) -> None:
        self._courses = collections.courses

    async def create(self, course_id: str, fields: Course, request_id: str) -> Course:
        """Store a new course; raise `Conflict` where the id is taken."""
        now = now_ms()
        course = {
            "_id": course_id,
            **fields,
            **derived_fields(fields["modules"]),
            "ratings": {"version": 0, "sum": 0, "count": 0, "mean": 0.0, "pending": []},
            "enroll_count": 0,
            "enroll_version": 0,
            "created_at": now,
            "updated_at": now,
            "version": 1,
            "owes_platform": 1,
            "platform_touch": 1,
            "changed_at": now,
            "request_id": request_id,
        }
        try:
            await self._courses.insert_one(course)
        except DuplicateKeyError:
            message = f"A course {course_id!r} exists already; leave course_id out or take another."
            raise Conflict(message) from None
        return course

    async def get(self, course_id: str) -> Course:
        """Return the stored course; raise `NotFound`."""
        course: Course | None = await self._courses.find_one({"_id": course_id})
        if course is None:
            raise absent(course_id)
        return course

    async def instructor_of(self, course_id: str) -> str:
        """Return the owner's id; raise `NotFound`."""
        course = await self._courses.find_one({"_id": course_id}, {"instructor_id": 1})
        if course is None:
            raise absent(course_id)
        owner: str = course["instructor_id"]
        return owner

    async def instructors_of(self, course_ids: list[str]) -> dict[str, str]:
        """Return the owners of those of the courses that are there, in one read."""
        found = self._courses.find({"_id": {"$in": course_ids}}, {"instructor_id": 1})
        return {course["_id"]: course["instructor_id"] async for course in found}

    async def edit(
        self,
        course_id: str,
        change: Callable[[Course], Course],
        request_id: str,
        *,
        expected: frozenset[int] | None = None,
    ) -> Course:
        """Replace the fields that `change` returns for the present course, atomically.

        `change` may raise and is called again where another edit came between. `expected` are the
        versions of `If-Match`: raise `PreconditionFailed` where the present one is none of them.
        """
        for _ in range(EDIT_TRIES):
            course = await self.get(course_id)
            version = course["version"]
            if expected is not None and version not in expected:
                raise PreconditionFailed("The course has changed since; read it again, then edit.")
            fields = change(course)
            if "modules" in fields:
                fields |= derived_fields(fields["modules"])
            now = now_ms()
            marks = {
                "updated_at": now,
                "changed_at": now,
                "version": version + 1,
                "owes_course": 1,
                "owes_platform": 1,
                "request_id": request_id,
            }
            result = await self._courses.update_one(
                {"_id": course_id, "version": version},
                {"$set": fields | marks, "$inc": {"platform_touch": 1}},
            )
            if result.modified_count:
                return course | fields | marks
        raise Unavailable("The course is being edited by many at once; repeat the request.")

    async def search(
        self, conditions: Course, sort_by: str, page: int, page_size: int
    ) -> tuple[int, list[Course]]:
        """Return how many courses match and one page of them."""
        total = await self._courses.count_documents(conditions)
        cursor = self._courses.find(conditions).sort(SORTS[sort_by])
        cursor = cursor.skip((page - 1) * page_size).limit(page_size)
        return total, [course async for course in cursor]


def search_conditions(
    *,
    search: str | None,
    tags: list[str],
    min_duration: float | None,
    max_duration: float | None,
    **equal: Any,
) -> Course:
    """Return the filter for a course list; `equal` holds fields to match where not None."""
    conditions: Course = {name: value for name, value in equal.items() if value is not None}
    if search:
        pattern = {"$regex": re.escape(search), "$options": "i"}
        conditions["$or"] = [{field: pattern} for field in ("title", "description", "tags")]
    if tags:
        conditions["tags"] = {"$all": tags}
    duration = {}
    if min_duration is not None:
        duration["$gte"] = min_duration
    if max_duration is not None:
        duration["$lte"] = max_duration
    if duration:
        conditions["total_duration_minutes"] = duration
    return conditions


def absent(course_id: str) -> NotFound:
    """Return the error for a course that is not there."""
    return NotFound(f"There is no course {course_id[:200]!r}; check the id, or create it first.")
