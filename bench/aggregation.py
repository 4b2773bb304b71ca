"""A course's numbers by one aggregation over its students: what the running totals stand beside."""

from __future__ import annotations

from typing import Any

from analytics.stores.mongo import Collections

Document = dict[str, Any]


def aggregate(collections: Collections, course: str) -> Document:
    """Compute the course's numbers from its documents in one aggregation.

    Returns sums: `students`, `completed` lessons, `watch_ms`, `quiz` (shares of 1), `attempts`.
    """
    lessons = {"$objectToArray": "$lessons"}
    completed = {
        "$filter": {"input": lessons, "as": "l", "cond": {"$gt": ["$$l.v.completed_at", 0]}}
    }
    watched = {"$map": {"input": lessons, "as": "l", "in": "$$l.v.watch_ms"}}
    attempts = {"$ifNull": ["$attempts", []]}  # only who tried a quiz has any
    score = {"$divide": ["$$a.score", "$$a.max_score"]}
    pipeline: list[Document] = [
        {"$match": {"course_id": course}},
        {
            "$project": {
                "completed": {"$size": completed},
                "watch_ms": {"$sum": watched},
                "quiz": {"$sum": {"$map": {"input": attempts, "as": "a", "in": score}}},
                "attempts": {"$size": attempts},
            }
        },
        {
            "$group": {
                "_id": None,
                "students": {"$sum": 1},
                "completed": {"$sum": "$completed"},
                "watch_ms": {"$sum": "$watch_ms"},
                "quiz": {"$sum": "$quiz"},
                "attempts": {"$sum": "$attempts"},
            }
        },
    ]
    return next(iter(collections.progress.aggregate(pipeline)))
