"""Progress events: what a learner did, in the integer units that are counted.

An event becomes one entry of its progress document's `uncounted` array (`stores/progress.py`):

    {seq, event, at, request_id, students, parts}

`students` is +1 on the entry that made the student known to the course, −1 on a removal; `parts`
lists what each lesson gains: `[field key, completed, watch ms, score, attempts, largest score]`,
scores in `SCORE_UNIT` parts; the largest score is 0 where the part is of no quiz.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Span = tuple[int, int]
"""A watched stretch of a video, [from, to) in milliseconds."""

SCORE_UNIT = 1_000_000
"""Scores are kept in this many parts of one point."""


@dataclass(frozen=True, slots=True)
class Part:
    """What an event adds to one lesson's sums; `key` is the lesson's field key."""

    key: str
    completed: int = 0
    watch_ms: int = 0
    score: int = 0
    attempts: int = 0
    max_score: int = 0


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The student joined the course."""


@dataclass(frozen=True, slots=True)
class LessonCompleted:
    """The student finished a lesson; a second time changes nothing."""

    lesson_id: str


@dataclass(frozen=True, slots=True)
class SecondsWatched:
    """Watch time to add, in milliseconds."""

    lesson_id: str
    milliseconds: int


@dataclass(frozen=True, slots=True)
class SpansWatched:
    """Stretches watched; what was watched before counts once."""

    lesson_id: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class QuizAttempted:
    """An attempt: the score and the largest possible one, in points."""

    lesson_id: str
    score: float
    max_score: float


Event = Enrolled | LessonCompleted | SecondsWatched | SpansWatched | QuizAttempted


@dataclass(frozen=True, slots=True)
class Entry:
    """One uncounted entry as read from a progress document."""

    seq: int
    at: int
    request_id: str | None
    students: int
    parts: tuple[Part, ...]

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Entry:
        """Read what the write path stored."""
        parts = tuple(Part(*part) for part in document["parts"])
        return cls(
            int(document["seq"]),
            int(document["at"]),
            document.get("request_id"),
            int(document["students"]),
            parts,
        )


def union(spans: tuple[Span, ...]) -> list[Span]:
    """Return the same stretches sorted, merged where they touch or overlap, empty ones dropped."""
    merged: list[Span] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
