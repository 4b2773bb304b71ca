"""The newest frame of a subject, read through two caches: memory, then Redis, then MongoDB.

A memory entry never outlives a newer version by more than a moment: every publish is announced. Its
age bounds the harm where an announcement was lost. A cache that fails is a miss. Crowds that ask
for the same subject at once cost one read.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from typing import Any

import redis.asyncio
from redis.exceptions import RedisError

from analytics.messages import Frame, empty_frame
from analytics.sharing import SharedReads
from analytics.stores.async_mongo import AsyncCollections
from analytics.subjects import Subject

MAXIMUM_AGE = 2.0
MAXIMUM_SUBJECTS = 2_000

log = logging.getLogger(__name__)


class Frames:
    """Reads frames for REST and for new viewers; one per process."""

    def __init__(self, collections: AsyncCollections, cache: redis.asyncio.Redis) -> None:
        self._collections = collections
        self._cache = cache
        self._memory: OrderedDict[Subject, tuple[Frame, float]] = OrderedDict()
        self._reads = SharedReads(self._read)

    async def get(self, subject: Subject) -> Frame:
        """Return the newest frame known; version 0 where nothing was ever computed."""
        remembered = self._memory.get(subject)
        if remembered is not None and time.monotonic() - remembered[1] < MAXIMUM_AGE:
            return remembered[0]
        return await self.read(subject)

    async def read(self, subject: Subject) -> Frame:
        """Return the newest frame, past the memory; concurrent callers share one read."""
        return await self._reads.join(subject)

    async def read_after(self, subject: Subject) -> Frame:
        """Return a frame whose read began after this call, as a new subscriber needs it."""
        return await self._reads.after(subject)

    def drop_older(self, subject: Subject, version: int) -> None:
        """Forget the remembered frame if the announced version is newer."""
        remembered = self._memory.get(subject)
        if remembered is not None and remembered[0].version < version:
            del self._memory[subject]

    async def stored(self, subject: Subject) -> Frame:
        """Return the frame that MongoDB holds."""
        document: dict[str, Any] | None
        if subject.course_id is None:
            document = await self._collections.platform_totals.find_one(
                {"_id": "platform"}, {"version": 1, "frame": 1}
            )
        else:
            document = await self._collections.course_totals.find_one(
                {"_id": subject.course_id}, {"version": 1, "frame": 1}
            )
        if document is None:
            return empty_frame(subject)
        return Frame(document["version"], document["frame"])

    async def _read(self, subject: Subject) -> Frame:
        frame = await self._cached(subject)
        if frame is None:
            frame = await self.stored(subject)
        self._memory[subject] = (frame, time.monotonic())
        self._memory.move_to_end(subject)
        while len(self._memory) > MAXIMUM_SUBJECTS:
            self._memory.popitem(last=False)
        return frame

    async def _cached(self, subject: Subject) -> Frame | None:
        try:
            version, text = await self._cache.hmget(subject.frame_key, ["version", "frame"])
        except (RedisError, OSError, TimeoutError):
            log.debug("the cache did not answer: reading %s from the database", subject.name)
            return None
        return None if version is None or text is None else Frame(int(version), str(text))
