"""The full recompute that audit holds against the running totals.

What the totals should hold of a progress document is its state less the entries that are not
counted yet (`seq` above `pending`). New events and clean-ups leave that difference as it is, so a
scan needs no lock; only a commit moves it, and a scan during which the totals' version moved is
taken again. Documents come in pages with room between them, so that nobody waits for an audit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from analytics.events import Part
from analytics.numbers import LessonSums
from analytics.stores.course_fold import totals_from_document
from analytics.stores.mongo import Collections, Document
from analytics.stores.platform_fold import CourseShare, PlatformTotals
from analytics.totals import CourseTotals

PAGE = 500
PAUSE_SECONDS = 0.01
SCAN_TRIES = 6
SETTLE_SECONDS = 0.5

_PROJECTION = {
    "alive": 1, "attempts": 1, "uncounted": 1, "lessons": 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Drift:
    """One number of the totals that the full recompute contradicts."""

    subject: str
    number: str
    running: object
    recomputed: object


@dataclass(frozen=True, slots=True)
class Recount:
    """Students and lesson sums (by field key) that the totals of `version` should hold."""

    version: int
    students: int
    sums: dict[str, LessonSums]


def recount_course(collections: Collections, course_id: str) -> Recount | None:
    """Recompute a course's counted sums; None where its totals kept moving all the while."""
    for attempt in range(SCAN_TRIES):
        totals = _totals(collections, course_id)
        students, sums = 0, dict[str, LessonSums]()
        for document in _paged(collections, course_id):
            students += _add_counted(document, totals.pending.get(str(document["_id"]), 0), sums)
        if _totals(collections, course_id).version == totals.version:
            kept = {key: value for key, value in sums.items() if value != LessonSums()}
            return Recount(totals.version, students, kept)
        time.sleep(SETTLE_SECONDS * attempt)
    return None


def course_drift(collections: Collections, course_id: str) -> list[Drift] | None:
    """Return where the course's totals differ from a recount; None where they kept moving."""
    recount = recount_course(collections, course_id)
    if recount is None:
        return None
    totals = _totals(collections, course_id)
    if totals.version != recount.version:
        return None
    drifts = []
    if totals.students != recount.students:
        drifts.append(Drift(course_id, "students", totals.students, recount.students))
    for key in sorted(totals.sums.keys() | recount.sums.keys()):
        running = totals.sums.get(key, LessonSums())
        recomputed = recount.sums.get(key, LessonSums())
        if running != recomputed:
            drifts.append(Drift(course_id, f"lesson {key[1:]}", running, recomputed))
    return drifts


def repair_course(collections: Collections, course_id: str) -> bool:
    """Put a recount in place of the totals' sums; False where they kept moving.

    The frame is left to the next refresh: `course_version` 0 makes it commit a new version.
    """
    recount = recount_course(collections, course_id)
    if recount is None:
        return False
    lessons = {key: sums.document() for key, sums in recount.sums.items()}
    result = collections.course_totals.update_one(
        {"_id": course_id, "version": recount.version},
        {
            "$set": {
                "students": recount.students,
                "lessons": lessons,
                "course_version": 0,
                "version": recount.version + 1,
            }
        },
    )
    if result.matched_count:
        collections.courses.update_one({"_id": course_id}, {"$set": {"owes_course": 1}})
    return bool(result.matched_count) or recount.version == 0


def recount_platform(collections: Collections) -> PlatformTotals:
    """Return the platform's numbers from the courses, ratings and progress documents alone."""
    totals = PlatformTotals()
    ratings: dict[str, list[int]] = {}
    for page in _pages(collections.ratings.find({}, {"course_id": 1, "rating": 1})):
        for rating in page:
            if rating["rating"] is not None:
                ratings.setdefault(rating["course_id"], []).append(rating["rating"])
    for page in _pages(collections.courses.find({}, {"category": 1})):
        for course in page:
            given = ratings.get(course["_id"], [])
            totals.add_course(CourseShare(course["category"], len(given), sum(given)), +1)
    students: set[str] = set()
    for page in _pages(collections.progress.find({}, {"user_id": 1, "alive": 1})):
        students.update(document["user_id"] for document in page if document["alive"])
    totals.students = len(students)
    return totals


def platform_drift(collections: Collections) -> list[Drift] | None:
    """Return where the platform's totals differ; None where something was owed all the while.

    A difference counts only where nothing was owed before and after the recount.
    """
    for attempt in range(SCAN_TRIES):
        before = _platform_totals(collections)
        recomputed = recount_platform(collections)
        after = _platform_totals(collections)
        drifts = [
            Drift("platform", name, getattr(after, name), getattr(recomputed, name))
            for name in ("courses", "students", "ratings", "categories")
            if getattr(after, name) != getattr(recomputed, name)
        ]
        if not drifts:
            return []
        if before.version == after.version and not _platform_owed(collections):
            return drifts
        time.sleep(SETTLE_SECONDS * (attempt + 1))
    return None


def repair_platform(collections: Collections) -> bool:
    """Put a recount in place of the platform's sums; False where they kept moving.

    The frame is left to the next forced refresh.
    """
    for attempt in range(SCAN_TRIES):
        before = _platform_totals(collections)
        recomputed = recount_platform(collections).document()
        names = ("courses", "students", "ratings", "categories")
        fields = {name: recomputed[name] for name in names}
        if before.version == 0:
            return True
        if not _platform_owed(collections):
            result = collections.platform_totals.update_one(
                {"_id": "platform", "version": before.version},
                {"$set": fields | {"version": before.version + 1}},
            )
            if result.matched_count:
                return True
        time.sleep(SETTLE_SECONDS * (attempt + 1))
    return False


def _platform_owed(collections: Collections) -> bool:
    """Say whether anything is still on its way into the platform's numbers."""
    return (
        collections.progress.find_one({"dirty": {"$gt": ""}}, {"_id": 1}) is not None
        or collections.courses.find_one({"owes_platform": 1}, {"_id": 1}) is not None
        or collections.students.find_one({"dirty": 1}, {"_id": 1}) is not None
        or collections.ratings.find_one({"dirty": {"$gt": ""}}, {"_id": 1}) is not None
    )


def _add_counted(document: Document, counted_to: int, sums: dict[str, LessonSums]) -> int:
    """Add what the totals should hold of a document; return its students (1 or 0)."""
    for key, lesson in document.get("lessons", {}).items():
        completed = int(lesson.get("completed_at") is not None)
        _add(sums, Part(key, completed, lesson.get("watch_ms", 0)), +1)
    for attempt in document.get("attempts", ()):
        units, largest = attempt["units"], attempt["max_units"]
        _add(sums, Part(attempt["key"], 0, 0, units, 1, largest), +1)
    students = int(document["alive"])
    for entry in document.get("uncounted", ()):
        if entry["seq"] > counted_to:
            students -= entry["students"]
            for part in entry["parts"]:
                _add(sums, Part(*part), -1)
    return students


def _add(sums: dict[str, LessonSums], part: Part, sign: int) -> None:
    sums[part.key] = sums.get(part.key, LessonSums()).plus(part, sign)


def _totals(collections: Collections, course_id: str) -> CourseTotals:
    return totals_from_document(collections.course_totals.find_one({"_id": course_id}))


def _platform_totals(collections: Collections) -> PlatformTotals:
    return PlatformTotals.from_document(collections.platform_totals.find_one({"_id": "platform"}))


def _paged(collections: Collections, course_id: str) -> Iterator[Document]:
    for page in _pages(collections.progress.find({"course_id": course_id}, _PROJECTION)):
        yield from page


def _pages(cursor: Any) -> Iterator[list[Document]]:
    """Yield a cursor's documents page by page, leaving the database room in between."""
    page: list[Document] = []
    for document in cursor.batch_size(PAGE):
        page.append(document)
        if len(page) == PAGE:
            yield page
            page = []
            time.sleep(PAUSE_SECONDS)
    if page:
        yield page
