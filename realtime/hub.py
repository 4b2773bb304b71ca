"""The hub: who views what, and the newest frame to each of them, whatever is lost on the way.

A new viewer's channel is subscribed first, then the present frame is read, then sent; a newer frame
heard meanwhile wins, for a viewer drops what is older than it has. After trouble with Redis, and
every few seconds by comparing versions, what has viewers is read again: all converge.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import suppress

from pymongo.errors import PyMongoError

from analytics.messages import Frame
from analytics.settings import Settings
from analytics.stores.async_mongo import AsyncCollections
from analytics.stores.frames import Frames
from analytics.subjects import (
    ANNOUNCEMENTS,
    COURSE_CHANGES,
    INSTRUCTOR_CLAIMS,
    PLATFORM,
    Subject,
)
from realtime.feed import Feed
from realtime.viewer import Viewer

CHECK_SECONDS = 2.0
CHECK_BATCH = 500
_SHARING = frozenset({PLATFORM, Subject(PLATFORM.name)})

log = logging.getLogger(__name__)


class Audience:
    """The local viewers of one subject, and the newest frame seen for it."""

    def __init__(self) -> None:
        self.viewers: set[Viewer] = set()
        self.newest: Frame | None = None
        self.subscribed: asyncio.Task[bool] | None = None

    def offer(self, frame: Frame) -> None:
        """Hand a frame to every viewer; each drops what is not newer for it."""
        if self.newest is None or frame.version > self.newest.version:
            self.newest = frame
        for viewer in self.viewers:
            viewer.offer(frame)


class Hub:
    """All local viewers; one per process."""

    def __init__(
        self,
        settings: Settings,
        collections: AsyncCollections,
        frames: Frames,
        *,
        on_course_edited: Callable[[str], None],
    ) -> None:
        self._collections = collections
        self._frames = frames
        self._on_course_edited = on_course_edited
        self._audiences: dict[Subject, Audience] = {}
        self._claims: dict[str, tuple[str, Callable[[], None]]] = {}
        self._feed = Feed(settings, self._read_all_again)
        self._checker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen and to check."""
        self._feed.start(
            {
                ANNOUNCEMENTS: self._announced,
                COURSE_CHANGES: self._on_course_edited,
                INSTRUCTOR_CLAIMS: self._claimed,
            }
        )
        self._checker = asyncio.create_task(self._check_versions())

    async def stop(self) -> None:
        """Stop listening; the server closes the sockets."""
        if self._checker is not None:
            self._checker.cancel()
            with suppress(asyncio.CancelledError):
                await self._checker
        await self._feed.stop()

    async def join(self, subject: Subject, viewer: Viewer) -> None:
        """Subscribe the viewer, then hand it the present state; frames follow by themselves."""
        audience = self._audiences.setdefault(subject, Audience())
        audience.viewers.add(viewer)
        if audience.subscribed is None:
            audience.subscribed = asyncio.create_task(
                self._feed.subscribe(subject.channel, self._heard)
            )
        await asyncio.shield(audience.subscribed)
        try:
            frame = await self._frames.read_after(subject)
        except PyMongoError:
            # The next version check hands it over; a viewer that waits a little is better served
            # than one that is sent away.
            log.warning("no state for a new viewer of %s yet: the database is away", subject.name)
            return
        audience.offer(frame)

    async def leave(self, subject: Subject, viewer: Viewer) -> None:
        """Take the viewer out; with the last one the subscription goes."""
        viewer.close()
        audience = self._audiences.get(subject)
        if audience is None:
            return
        audience.viewers.discard(viewer)
        if not audience.viewers:
            del self._audiences[subject]
            if subject.channel == PLATFORM.channel and _SHARING & self._audiences.keys():
                return
            await self._feed.unsubscribe(subject.channel)
            if subject in self._audiences:  # somebody came while Redis was told
                self._audiences[subject].subscribed = asyncio.create_task(
                    self._feed.subscribe(subject.channel, self._heard)
                )

    def viewers(self) -> dict[str, int]:
        """Return how many viewers this process has of courses and of the platform."""
        found = {"course": 0, "platform": 0}
        for subject, audience in self._audiences.items():
            found["platform" if subject.course_id is None else "course"] += len(audience.viewers)
        return found

    def claim(self, place: str, token: str, on_replaced: Callable[[], None]) -> None:
        """Make this connection the place's only one in this process; the older is told."""
        older = self._claims.get(place)
        self._claims[place] = (token, on_replaced)
        if older is not None:
            older[1]()

    def release(self, place: str, token: str) -> None:
        """Give the place up, unless a newer connection has it."""
        if place in self._claims and self._claims[place][0] == token:
            del self._claims[place]

    def _claimed(self, text: str) -> None:
        """Hear of a claim made in any process; give way where it is a newer one's."""
        claim = json.loads(text)
        held = self._claims.get(claim["place"])
        if held is not None and held[0] < claim["token"]:
            del self._claims[claim["place"]]
            held[1]()

    def _heard(self, text: str) -> None:
        """Offer a frame to whom it says it is for: a course called platform shares a channel."""
        frame = json.loads(text)
        audience = self._audiences.get(Subject(frame.get("course_id")))
        if audience is not None:
            audience.offer(Frame(frame["version"], text))

    def _announced(self, text: str) -> None:
        announcement = json.loads(text)
        self._frames.drop_older(Subject.parse(announcement["subject"]), announcement["version"])

    async def _read_all_again(self) -> None:
        for subject in list(self._audiences):
            try:
                await self._hand_over(subject)
            except PyMongoError as error:
                log.warning("%s is not read again yet: %s", subject.name, error)

    async def _hand_over(self, subject: Subject) -> None:
        frame = await self._frames.stored(subject)
        audience = self._audiences.get(subject)
        if audience is not None:
            audience.offer(frame)

    async def _check_versions(self) -> None:
        """Notice a frame that was lost on the way without waiting for the next event."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                for subject in await self._behind():
                    await self._hand_over(subject)
            except PyMongoError as error:
                log.debug("versions are not checked, the database is away: %s", error)

    async def _behind(self) -> list[Subject]:
        """Return the subjects of which MongoDB holds a newer frame than any seen here."""
        known = {
            subject: -1 if audience.newest is None else audience.newest.version
            for subject, audience in self._audiences.items()
        }
        behind = []
        courses = [subject.course_id for subject in known if subject.course_id is not None]
        for start in range(0, len(courses), CHECK_BATCH):
            found = self._collections.course_totals.find(
                {"_id": {"$in": courses[start : start + CHECK_BATCH]}}, {"version": 1}
            )
            seen = {Subject(document["_id"]): document["version"] async for document in found}
            behind += [s for s, version in seen.items() if version > known[s]]
        if PLATFORM in known:
            stored = await self._collections.platform_totals.find_one(
                {"_id": "platform"}, {"version": 1}
            )
            if stored is not None and stored["version"] > known[PLATFORM]:
                behind.append(PLATFORM)
        behind += [s for s, version in known.items() if version < 0 and s not in behind]
        return behind
