"""The hub: who views what, and the newest frame to each of them, whatever is lost on the way.

The first viewer of a subject has its channel subscribed; when Redis has confirmed that, the present
frame is read, once for all who came meanwhile. Later viewers get the newest frame heard. A newer
frame always wins, for a viewer drops what is older than it has. After trouble with Redis, and every
few seconds by comparing versions (`realtime/rounds.py`), what has viewers is read again: all
converge.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import suppress

from pymongo.errors import PyMongoError

from analytics.errors import TooMany
from analytics.messages import Frame
from analytics.settings import Settings
from analytics.stores.frames import Frames
from analytics.subjects import (
    ANNOUNCEMENTS,
    COURSE_CHANGES,
    INSTRUCTOR_CLAIMS,
    PLATFORM,
    Subject,
)
from realtime.audience import Audience
from realtime.feed import Feed
from realtime.registry import Registry
from realtime.rounds import Rounds
from realtime.viewer import Viewer

_SHARING = frozenset({PLATFORM, Subject(PLATFORM.name)})

log = logging.getLogger(__name__)


class Hub:
    """All local viewers; one per process."""

    def __init__(
        self,
        settings: Settings,
        frames: Frames,
        rounds: Rounds,
        registry: Registry,
        *,
        on_course_edited: Callable[[str], None],
    ) -> None:
        self._most = settings.sockets_per_process
        self._frames = frames
        self._rounds = rounds
        self.registry = registry
        self._on_course_edited = on_course_edited
        self._audiences: dict[Subject, Audience] = {}
        self._feed = Feed(settings, self._on_interrupted, self._read_all_again)
        self._checker: asyncio.Task[None] | None = None
        self._connections = 0

    def start(self) -> None:
        """Begin to listen and to check."""
        self._feed.start(
            {
                ANNOUNCEMENTS: self._announced,
                COURSE_CHANGES: self._course_edited,
                INSTRUCTOR_CLAIMS: self.registry.heard_claim,
            }
        )
        self.registry.start()
        self._checker = asyncio.create_task(self._rounds.go(self))

    async def stop(self) -> None:
        """Stop listening; the server closes the sockets."""
        if self._checker is not None:
            self._checker.cancel()
            with suppress(asyncio.CancelledError):
                await self._checker
        await self._feed.stop()
        await self.registry.stop()

    @property
    def audiences(self) -> dict[Subject, Audience]:
        """Who views what."""
        return self._audiences

    def enter(self) -> None:
        """Count one more connection; raise `TooMany` where the process has its most."""
        if self._connections >= self._most:
            raise TooMany(f"This process has its {self._most} connections; reconnect later.")
        self._connections += 1

    def exit(self) -> None:
        """Count one less."""
        self._connections -= 1

    async def join(self, subject: Subject, viewer: Viewer) -> None:
        """Hand the viewer the present state; frames follow by themselves until it leaves."""
        audience = self._audiences.setdefault(subject, Audience())
        audience.viewers.add(viewer)
        if not audience.current or audience.newest is None:
            if audience.opening is None or audience.opening.done():
                audience.opening = asyncio.create_task(self._open(subject, audience))
            await asyncio.shield(audience.opening)
        if audience.newest is not None:
            viewer.offer(audience.newest)

    def leave(self, subject: Subject, viewer: Viewer) -> None:
        """Take the viewer out; the next round gives up a subscription that nobody needs."""
        audience = self._audiences.get(subject)
        if audience is not None:
            audience.viewers.discard(viewer)

    def viewers(self) -> dict[str, int]:
        """Return how many viewers this process has of courses and of the platform."""
        found = {"course": 0, "platform": 0}
        for subject, audience in self._audiences.items():
            found["platform" if subject.course_id is None else "course"] += len(audience.viewers)
        return found

    async def hand_over(self, subject: Subject) -> None:
        """Read the subject's stored frame and offer it to its viewers."""
        frame = await self._frames.stored(subject)
        audience = self._audiences.get(subject)
        if audience is not None:
            audience.offer(frame)

    async def sweep(self) -> None:
        """Unsubscribe from what has no viewers."""
        for subject in [s for s, audience in self._audiences.items() if not audience.viewers]:
            if self._audiences[subject].viewers:
                continue  # somebody came while Redis was told of another
            del self._audiences[subject]
            if subject in _SHARING and _SHARING & self._audiences.keys():
                continue  # they share a channel
            await self._feed.unsubscribe(subject.channel)

    async def _open(self, subject: Subject, audience: Audience) -> None:
        confirmed = await self._feed.subscribe(subject.channel, self._heard)
        since = self._feed.interruptions
        try:
            frame = await self._frames.read_after(subject)
        except PyMongoError:
            # The next round hands it over; a viewer that waits a little is better served than one
            # that is sent away.
            log.warning("no state for viewers of %s yet: the database is away", subject.name)
            return
        audience.current = confirmed and since == self._feed.interruptions
        audience.offer(frame)

    def _heard(self, text: str) -> None:
        """Offer a frame to whom it says it is for: a course called platform shares a channel."""
        frame = json.loads(text)
        audience = self._audiences.get(Subject(frame.get("course_id")))
        if audience is not None:
            audience.offer(Frame(frame["version"], text))

    def _announced(self, text: str) -> None:
        announcement = json.loads(text)
        self._frames.drop_older(Subject.parse(announcement["subject"]), announcement["version"])

    def _course_edited(self, course_id: str) -> None:
        self._on_course_edited(course_id)
        if Subject(course_id) in self._audiences:
            self._rounds.hasten()  # it may have another owner now

    def _on_interrupted(self) -> None:
        for audience in self._audiences.values():
            audience.current = False

    async def _read_all_again(self) -> None:
        since = self._feed.interruptions
        for subject, audience in list(self._audiences.items()):
            try:
                await self.hand_over(subject)
            except PyMongoError as error:
                log.warning("%s is not read again yet: %s", subject.name, error)
            except Exception:
                log.exception("%s cannot be read again", subject.name)  # the others can
            else:
                audience.current = since == self._feed.interruptions
