"""Notices that MongoDB or the cache was put back to an older state, and mends what came of it.

A refresh keeps the two in step, each commit being published. A backup that is restored, or a cache
that lost its last second, undoes one side only: frames are then shown that the database does not
know, or older ones than it holds, and no mark tells of it. So both sides hold the same *token*,
renewed now and then; MongoDB notes the cache's run with it. Where they differ:

* the database's is the older one: it was restored. All that anybody may have seen of it must be
  outdone, so every subject gets a mark `outdo`, the version that its next one has to exceed;
* otherwise the cache restarted, was emptied or restored: its frames are compared with the totals.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import redis
import structlog
from redis.exceptions import RedisError, ResponseError

from analytics.clock import now_ms
from analytics.messages import Frame
from analytics.stores.mongo import Collections
from analytics.stores.publish import Publisher
from analytics.subjects import CONTINUITY, FRAME_PREFIX, PLATFORM, Subject

RENEW_MS = 30_000
PAGE = 500
_ID = "cache"
_PLATFORM_ID = "platform"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Token:
    """A time in ms that only grows, and the run of the cache that held it."""

    at: int = 0
    run: str = ""


class Continuity:
    """Looks whether both sides still belong together; one per worker."""

    def __init__(self, collections: Collections, cache: redis.Redis) -> None:
        self._c = collections
        self._cache = cache
        self._publisher = Publisher(cache)
        self._newest = 0  # this process remembers what both sides may have lost

    def look(self) -> bool:
        """Compare the tokens, mend where they differ; say whether they did.

        Raises the database's errors. A cache that is away is looked at when it is back.
        """
        try:
            return self._look()
        except RedisError as error:
            log.debug("the cache is not compared, it is away", error=str(error))
            return False

    def _look(self) -> bool:
        document = self._c.continuity.find_one({"_id": _ID}) or {}
        stored = Token(int(document.get("at", 0)), document.get("run", ""))
        held = Token(_time(self._cache.get(CONTINUITY)), self._run())
        if stored == held and stored.at >= self._newest:
            if not 0 <= now_ms() - stored.at < RENEW_MS:
                self._agree(stored, held)
            return False
        if stored.at < max(held.at, self._newest):
            log.warning("the database is older than what was published: all is published anew")
            self._outdo_all(max(held.at, self._newest, now_ms()))
        self._compare_all()
        self._agree(stored, held)
        return True

    def _run(self) -> str:
        try:
            server: dict[str, Any] = self._cache.info("server")
        except ResponseError:  # some hosts do not allow it; the token alone must do
            return ""
        return str(server.get("run_id", ""))

    def _agree(self, stored: Token, held: Token) -> None:
        """Give both sides a new token, the database first: its one is never the older by this."""
        token = max(now_ms(), stored.at + 1, held.at + 1, self._newest + 1)
        self._c.continuity.update_one(
            {"_id": _ID}, {"$max": {"at": token}, "$set": {"run": held.run}}, upsert=True
        )
        self._cache.set(CONTINUITY, token)
        self._newest = token

    def _outdo_all(self, version: int) -> None:
        """Have every subject refreshed to a version above this one."""
        ids = (document["_id"] for document in self._c.course_totals.find({}, {"_id": 1}))
        for page in _pages(ids):
            self._c.course_totals.update_many({"_id": {"$in": page}}, {"$max": {"outdo": version}})
        self._c.platform_totals.update_one({"_id": _PLATFORM_ID}, {"$max": {"outdo": version}})

    def _compare_all(self) -> None:
        """Bring every cached frame and the totals together; costs by what is cached."""
        keys = self._cache.scan_iter(match=f"{FRAME_PREFIX}*", count=PAGE)
        for page in _pages(keys):
            pipeline = self._cache.pipeline(transaction=False)
            for key in page:
                pipeline.hget(key, "version")
            # Read before the database: what was committed before it was published is seen there.
            cached = {
                Subject.parse(key.removeprefix(FRAME_PREFIX)): int(version)
                for key, version in zip(page, pipeline.execute(), strict=True)
                if version is not None  # it ended meanwhile
            }
            stored = self._versions(cached)
            for subject, version in cached.items():
                self._mend(subject, version, stored.get(subject))

    def _versions(self, subjects: dict[Subject, int]) -> dict[Subject, int]:
        ids = [subject.course_id for subject in subjects if subject.course_id is not None]
        found = self._c.course_totals.find({"_id": {"$in": ids}}, {"version": 1})
        versions = {Subject(each["_id"]): int(each.get("version", 0)) for each in found}
        platform = self._c.platform_totals.find_one({"_id": _PLATFORM_ID}, {"version": 1})
        if platform is not None:
            versions[PLATFORM] = int(platform.get("version", 0))
        return versions

    def _mend(self, subject: Subject, cached: int, stored: int | None) -> None:
        if stored is None:
            # Totals without a source have no frame; with one, the source's mark makes them anew.
            if subject.course_id is not None:
                self._c.courses.update_one({"_id": subject.course_id}, {"$set": {"owes_course": 1}})
            self._cache.delete(subject.frame_key)
        elif cached > stored:
            outdo(self._c, subject, cached)
        elif cached < stored:
            collection, key = self._c.totals_of(subject)
            totals = collection.find_one({"_id": key}, {"version": 1, "frame": 1})
            if totals is not None and "frame" in totals:
                self._publisher.publish(subject, Frame(totals["version"], totals["frame"]))


def outdo(collections: Collections, subject: Subject, version: int) -> None:
    """Have a subject refreshed to a version above one that was seen, where it is behind that."""
    collection, key = collections.totals_of(subject)
    behind = {"_id": key, "version": {"$lte": version}}
    collection.update_one(behind, {"$max": {"outdo": version}})


def _time(stored: Any) -> int:
    """Return the cache's time; what somebody else wrote there counts as lost."""
    text = str(stored or 0)
    return int(text) if text.isascii() and text.isdecimal() else 0


def _pages(items: Any) -> Iterator[list[Any]]:
    iterator = iter(items)
    while page := list(islice(iterator, PAGE)):
        yield page
