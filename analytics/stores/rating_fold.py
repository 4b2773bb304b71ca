"""The fold of ratings into their course: sum, count and mean, exact under crashes and races.

The same protocol as the course's fold: read the course's sums first, then the dirty ratings; commit
on the sums' version with what is counted now of each rating (`pending`); then settle the documents.
The commit marks the course for the platform.
"""

from __future__ import annotations

from typing import Any

from pymongo import DeleteOne, UpdateOne

from analytics.clock import now_ms
from analytics.stores.mongo import Collections, Document

RATINGS_PER_FOLD = 500


def courses_owing_ratings(collections: Collections) -> list[str]:
    """Return courses (not necessarily all) that have ratings not yet in their sums."""
    found = collections.ratings.find({"dirty": {"$gt": ""}}, {"dirty": 1}).limit(RATINGS_PER_FOLD)
    return list(dict.fromkeys(document["dirty"] for document in found))


def fold_ratings(collections: Collections, course_id: str) -> bool:
    """Fold a course's dirty ratings; return False where another worker was quicker."""
    course = collections.courses.find_one({"_id": course_id}, {"ratings": 1})
    if course is None:
        return True
    sums = course["ratings"]
    pending = {str(item["id"]): item for item in sums["pending"]}
    found = list(collections.ratings.find({"dirty": course_id}).limit(RATINGS_PER_FOLD))
    if not found:
        return True
    total, count = sums["sum"], sums["count"]
    now_pending = []
    for rating in found:
        before = _counted(rating, pending)
        after = rating["rating"]
        total += (after or 0) - (before or 0)
        count += (after is not None) - (before is not None)
        now_pending.append({"id": rating["_id"], "value": after, "touch": rating["touch"]})
    if len(found) == RATINGS_PER_FOLD:  # others may be dirty still: keep what is known of them
        seen = {str(rating["_id"]) for rating in found}
        now_pending += [item for key, item in pending.items() if key not in seen]
    result = collections.courses.update_one(
        {"_id": course_id, "ratings.version": sums["version"]},
        {
            "$set": {
                "ratings": {
                    "version": sums["version"] + 1,
                    "sum": total,
                    "count": count,
                    "mean": total / count if count else 0.0,
                    "pending": now_pending,
                },
                "owes_platform": 1,
                "changed_at": now_ms(),
            },
            "$inc": {"platform_touch": 1},
        },
    )
    if not result.matched_count:
        return False
    settle_ratings(collections, now_pending)
    return True


def settle_ratings(collections: Collections, pending: list[Document]) -> None:
    """Note in each rating what is counted of it; clear its mark unless it changed again."""
    operations: list[UpdateOne | DeleteOne] = []
    for item in pending:
        unchanged = {"$eq": ["$touch", item["touch"]]}
        # A settle that comes late must not set `counted` back: only the touch that was counted.
        settled = [
            {
                "$set": {
                    "counted": {"$cond": [unchanged, item["value"], "$counted"]},
                    "dirty": {"$cond": [unchanged, "$$REMOVE", "$dirty"]},
                }
            }
        ]
        operations.append(UpdateOne({"_id": item["id"]}, settled))
        if item["value"] is None:
            operations.append(
                DeleteOne({"_id": item["id"], "touch": item["touch"], "rating": None})
            )
    collections.ratings.bulk_write(operations, ordered=True)


def _counted(rating: Document, pending: dict[str, Document]) -> Any:
    """Return what the sums hold of a rating: `pending` is newer than the document."""
    item = pending.get(str(rating["_id"]))
    return rating.get("counted") if item is None else item["value"]
