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
    seen: list[str] = []
    for _ in range(ROUNDS):
        # A course with many marks must not hide the others: what was seen is left out.
        found = collections.progress.find(
            {"dirty": {"$gt": "", "$nin": seen}}, {"dirty": 1, "_id": 0}
        ).limit(PROBE)
        marks = [document["dirty"] for document in found]
        fresh = list(dict.fromkeys(marks))
        seen += fresh
        for course_id in fresh:
            yield Subject(course_id)
        if len(marks) < PROBE:
            break
    known = set(seen)
    for course in collections.courses.find({"owes_course": 1}, {"_id": 1}).limit(PROBE):
        if course["_id"] not in known:
            yield Subject(course["_id"])
    if (
        collections.courses.find_one({"owes_platform": 1}, {"_id": 1}) is not None
        or collections.students.find_one({"dirty": 1}, {"_id": 1}) is not None
        or collections.ratings.find_one({"dirty": {"$gt": ""}}, {"_id": 1}) is not None
    ):
        yield PLATFORM
