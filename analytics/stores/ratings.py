"""Ratings as requests write them: one document a student and course, the last one stands.

`counted` (absent: none) is what the course's sums hold of it; `touch` tells one change from the
next; `dirty` (= the course id) says that the two differ. `stores/rating_fold.py` settles it.
"""

from __future__ import annotations

from contextlib import suppress

from pymongo.errors import DuplicateKeyError

from analytics.errors import Unavailable
from analytics.stores.async_mongo import AsyncCollections

UPSERT_TRIES = 8


class Ratings:
    """The collection of ratings, for requests."""

    def __init__(self, collections: AsyncCollections) -> None:
        self._ratings = collections.ratings

    async def rate(self, course_id: str, user_id: str, rating: int) -> None:
        """Store the student's rating; durable when this returns."""
        for _ in range(UPSERT_TRIES):
            with suppress(DuplicateKeyError):  # two first ratings raced: the same update applies
                await self._ratings.update_one(
                    {"course_id": course_id, "user_id": user_id},
                    {"$set": {"rating": rating, "dirty": course_id}, "$inc": {"touch": 1}},
                    upsert=True,
                )
                return
        raise Unavailable("The rating is changing too fast; repeat the request.")

    async def withdraw_all(self, user_id: str) -> None:
        """Take the student's ratings back in every course; the fold deletes the documents."""
        cursor = self._ratings.find({"user_id": user_id}, {"course_id": 1})
        async for document in cursor:
            await self._ratings.update_one(
                {"_id": document["_id"]},
                {"$set": {"rating": None, "dirty": document["course_id"]}, "$inc": {"touch": 1}},
            )
