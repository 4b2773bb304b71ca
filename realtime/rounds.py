"""A round every few seconds: what was lost on the way, and who may not look any more.

Two reads by id for up to `BATCH` courses with viewers: their stored versions, and their owners.
One more for up to `BATCH` viewers who came with a session's cookie.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from typing import Any, Protocol

from pymongo.errors import PyMongoError

from analytics.stores.async_mongo import AsyncCollections
from analytics.stores.courses import Courses
from analytics.stores.sessions import Sessions
from analytics.subjects import PLATFORM, Subject
from realtime.audience import Audience
from realtime.closing import CloseCode, Closed

ROUND_SECONDS = 2.0
BATCH = 500

NO_SUCH_COURSE = Closed(CloseCode.NO_SUCH_COURSE, "there is no such course any more")
FORBIDDEN = Closed(CloseCode.FORBIDDEN, "the course has another instructor now")
SIGNED_OUT = Closed(CloseCode.UNAUTHENTICATED, "the session was ended; sign in again")

log = logging.getLogger(__name__)


class Rounded(Protocol):
    """Whose audiences the rounds look after: the hub."""

    @property
    def audiences(self) -> Mapping[Subject, Audience]:
        """Who views what."""

    async def hand_over(self, subject: Subject) -> None:
        """Read the subject's stored frame and offer it to its viewers."""

    async def sweep(self) -> None:
        """Unsubscribe from what has no viewers."""


class Rounds:
    """Looks at every subject with viewers, again and again."""

    def __init__(self, collections: AsyncCollections, courses: Courses, sessions: Sessions) -> None:
        self._collections = collections
        self._courses = courses
        self._sessions = sessions
        self._hastened = asyncio.Event()

    def hasten(self) -> None:
        """Begin the next round now: a course with viewers was edited."""
        self._hastened.set()

    async def go(self, hub: Rounded) -> None:
        """Go round until cancelled."""
        while True:
            try:
                async with asyncio.timeout(ROUND_SECONDS):
                    await self._hastened.wait()
            except TimeoutError:
                pass  # the usual way
            self._hastened.clear()
            await _guarded(hub.sweep())
            await _guarded(self._check_versions(hub))
            await _guarded(self._check_owners(hub))
            await _guarded(self._check_sessions(hub))

    async def _check_versions(self, hub: Rounded) -> None:
        """Notice a frame that was lost on the way without waiting for the next event."""
        totals = self._collections.course_totals
        for courses in _batches(hub):
            # Taken before the read: what was shown by then was committed by then.
            shown = {course_id: _shown(hub, Subject(course_id)) for course_id in courses}
            stored = totals.find({"_id": {"$in": courses}}, {"version": 1})
            versions = {document["_id"]: document.get("version", 0) async for document in stored}
            for course_id in courses:
                version = versions.get(course_id, 0)
                await _renew(hub, Subject(course_id), version)
                await _outdo(totals, course_id, version, shown[course_id])
        if PLATFORM in hub.audiences:
            totals, seen = self._collections.platform_totals, _shown(hub, PLATFORM)
            platform = await totals.find_one({"_id": "platform"}, {"version": 1})
            version = 0 if platform is None else platform.get("version", 0)
            await _renew(hub, PLATFORM, version)
            await _outdo(totals, "platform", version, seen)

    async def _check_owners(self, hub: Rounded) -> None:
        """End viewers of courses that are gone or have another owner."""
        for courses in _batches(hub):
            owners = await self._courses.instructors_of(courses)
            for course_id in courses:
                audience = hub.audiences.get(Subject(course_id))
                for viewer in () if audience is None else tuple(audience.viewers):
                    if course_id not in owners:
                        viewer.end(NO_SUCH_COURSE)
                    elif not viewer.principal.may_see_course(owners[course_id]):
                        viewer.end(FORBIDDEN)

    async def _check_sessions(self, hub: Rounded) -> None:
        """End viewers whose session was ended in another tab, or with the person's data."""
        signed_in = [
            (viewer, session_id)
            for audience in hub.audiences.values()
            for viewer in audience.viewers
            if (session_id := viewer.principal.session_id) is not None
        ]
        for start in range(0, len(signed_in), BATCH):
            some = signed_in[start : start + BATCH]
            living = await self._sessions.living({session_id for _, session_id in some})
            for viewer, session_id in some:
                # One that has sent a token meanwhile needs no session any more.
                if session_id not in living and viewer.principal.session_id == session_id:
                    viewer.end(SIGNED_OUT)


async def _guarded(step: Awaitable[None]) -> None:
    """Take a step of the round, whatever became of the others and of earlier rounds.

    Convergence rests on them: one broken document must not hold up everybody else.
    """
    try:
        await step
    except PyMongoError as error:
        log.debug("a round is not complete, the database is away: %s", error)
    except Exception:
        log.exception("a step of the round failed")


async def _renew(hub: Rounded, subject: Subject, version: int) -> None:
    """Hand over the stored frame where it is newer than any seen here."""
    audience = hub.audiences.get(subject)
    if audience is not None and version > audience.version:
        await _guarded(hub.hand_over(subject))


def _shown(hub: Rounded, subject: Subject) -> int:
    audience = hub.audiences.get(subject)
    return -1 if audience is None else audience.version


async def _outdo(totals: Any, key: str, version: int, shown: int) -> None:
    """Ask for a version above the one shown, where a backup put the database behind it."""
    if version < shown:
        await totals.update_one({"_id": key, "version": version}, {"$max": {"outdo": shown}})


def _batches(hub: Rounded) -> list[list[str]]:
    names = [subject.course_id for subject in hub.audiences if subject.course_id is not None]
    return [names[start : start + BATCH] for start in range(0, len(names), BATCH)]
