"""What MongoDB alone says is owed: the marks of every write that no refresh has counted yet.

Sparse indexes hold only what is owed, so that asking costs next to nothing when nothing is.
"""

from __future__ import annotations

from collections.abc import Iterator

from analytics.stores.mongo import Collections
from analytics.subjects import PLATFORM, Subject

PROBE = 500
ROUNDS = 20


def owed_subjects(collections: Collections) -> Iterator[Subject]:
    """Yield each subject whose durable state is ahead of what its totals hold."""
    known: set[str] = set()
    last = ""
    for _ in range(ROUNDS):
        # A course with many marks must not hide the others: each round begins after the last seen.
        # `$gt` alone: with `$nin` beside it the embedded server scans the whole collection.
        found = collections.progress.find({"dirty": {"$gt": last}}, {"dirty": 1, "_id": 0})
        marks = [document["dirty"] for document in found.sort("dirty").limit(PROBE)]
        for course_id in dict.fromkeys(marks):
            known.add(course_id)
            yield Subject(course_id)
        if len(marks) < PROBE:
            break
        last = marks[-1]
    for course in collections.courses.find({"owes_course": 1}, {"_id": 1}).limit(PROBE):
        if course["_id"] not in known:
            known.add(course["_id"])
            yield Subject(course["_id"])
    # Sorted, so that the sparse index is what is read (`continuity.py` sets these marks).
    behind = collections.course_totals.find({"outdo": {"$gt": 0}}, {"_id": 1})
    for totals in behind.sort("outdo").limit(PROBE):
        if totals["_id"] not in known:
            yield Subject(totals["_id"])
    if (
        collections.courses.find_one({"owes_platform": 1}, {"_id": 1}) is not None
        or collections.students.find_one({"dirty": 1}, {"_id": 1}) is not None
        or collections.ratings.find_one({"dirty": {"$gt": ""}}, {"_id": 1}) is not None
        or "outdo"
        in (collections.platform_totals.find_one({"_id": "platform"}, {"outdo": 1}) or {})
    ):
        yield PLATFORM
