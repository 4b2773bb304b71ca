"""A subject is what has numbers and viewers: one course, or the platform.

It names the subject's channel and its keys in Redis; this is the one module that lists them.

| key or channel | holds | lifetime |
| --- | --- | --- |
| channel `analytics:{course_id}` | the course frame, ready to send | |
| channel `analytics:platform` | the platform frame, ready to send | |
| channel `coursepulse:announcements` | `{"subject", "version"}` of each new frame | |
| channel `coursepulse:courses` | the id of a course whose outline changed | |
| channel `coursepulse:instructors` | a newer instructor connection's claim | |
| `coursepulse:frame:{subject}` | hash: version, frame | 1 day after the last publish |
| `coursepulse:{refresh}:due` | sorted set: waiting subjects by due time | entries end |
| `coursepulse:{refresh}:cold` | sorted set: those long not refreshed, by arrival | the same |
| `coursepulse:{refresh}:parked` | sorted set: parked subjects by the end of that | the same |
| `coursepulse:{refresh}:statistics` | hash: refreshes, marks, delays, for `/metrics` | 7 days |
| `coursepulse:{refresh}:leases` | sorted set: refreshes in flight by lease end | the same |
| `coursepulse:{refresh}:queued` | sorted set: those of them not started yet | the same |
| `coursepulse:{refresh}:subject:{s}` | hash: marks, fence, last start | 10 minutes |
| `coursepulse:hubs` | sorted set: hub processes by the end of their lease | entries end |
| `coursepulse:seats:{sub}` | hash: a user's connections by hub process | 15 minutes |
| `coursepulse:place:{place}` | the newest claim of an instructor's place | 1 minute |
| `coursepulse:continuity` | a token that MongoDB holds too (`stores/continuity.py`) | stays |
| `coursepulse:reconcile` | which worker looked last | 2 seconds |
| `coursepulse:audit` | the audit at work: one at a time | 10 minutes, renewed |
| `coursepulse:redbeat:*` | the schedule | redbeat's: put back by beat |

Celery's own keys: every name it uses begins with `coursepulse:` by `global_keyprefix`.
"""

from __future__ import annotations

from dataclasses import dataclass

PREFIX = "coursepulse:"
ANNOUNCEMENTS = PREFIX + "announcements"
COURSE_CHANGES = PREFIX + "courses"
INSTRUCTOR_CLAIMS = PREFIX + "instructors"
FRAME_PREFIX = PREFIX + "frame:"
CONTINUITY = PREFIX + "continuity"
RECONCILE_TURN = PREFIX + "reconcile"
HUBS = PREFIX + "hubs"
AUDIT_TURN = PREFIX + "audit"

# A course may be called "platform" too: the course's subject name carries a prefix.
_COURSE = "course:"
_PLATFORM = "platform"


@dataclass(frozen=True, slots=True)
class Subject:
    """One course (`course_id` set) or the platform (None)."""

    course_id: str | None

    @property
    def name(self) -> str:
        """The subject in queues, logs and metrics."""
        return _PLATFORM if self.course_id is None else _COURSE + self.course_id

    @property
    def channel(self) -> str:
        """Where its frames are published."""
        return "analytics:" + ("platform" if self.course_id is None else self.course_id)

    @property
    def frame_key(self) -> str:
        """Where its newest frame is cached."""
        return FRAME_PREFIX + self.name

    @classmethod
    def parse(cls, name: str) -> Subject:
        """Return the subject that `name` was made from."""
        return PLATFORM if name == _PLATFORM else cls(name.removeprefix(_COURSE))


PLATFORM = Subject(None)


def seats_key(sub: str) -> str:
    """Return where a user's connections are counted."""
    return f"{PREFIX}seats:{sub}"


def place_key(place: str) -> str:
    """Return where the newest claim of a place stands."""
    return f"{PREFIX}place:{place}"
