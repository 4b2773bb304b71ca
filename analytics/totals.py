"""The fold: what a refresh adds to a course's running totals. Pure; the stores do the I/O.

A progress document keeps its events as `uncounted` entries until the totals hold them. The totals'
`pending` maps a document to the highest `seq` that is counted although the entry may still stand
there: entries up to it are skipped, so a crash between the commit and the clean-up, or two workers
at once, never counts an event twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from analytics.events import Entry
from analytics.numbers import LessonSums

EVENTS_PER_FOLD = 1_000


@dataclass(frozen=True, slots=True)
class CourseTotals:
    """The running totals of one course; `version` 0 stands for none yet.

    `sums` is by field key; `pending` by progress document id (hexadecimal).
    """

    version: int = 0
    course_version: int = 0
    students: int = 0
    sums: dict[str, LessonSums] = field(default_factory=dict)
    pending: dict[str, int] = field(default_factory=dict)
    latest_event_at: int | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class DirtyProgress:
    """A progress document that has uncounted entries, oldest first."""

    document_id: str
    user_id: str
    alive: bool
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Fold:
    """The totals after a fold, and what it means for the rest.

    `touched` are the lessons' field keys whose sums changed; `counted` the number of entries added;
    `more` says that entries were left for the next refresh.
    """

    totals: CourseTotals
    touched: frozenset[str]
    counted: int
    more: bool


def next_version(previous: int, now_ms: int) -> int:
    """Return a version that grows even after the database was restored from a backup."""
    return max(previous + 1, now_ms)


def fold(
    totals: CourseTotals,
    dirty: Sequence[DirtyProgress],
    *,
    complete: bool,
    limit: int = EVENTS_PER_FOLD,
) -> Fold:
    """Add the entries not yet counted, at most `limit` of them.

    `dirty` was read after `totals`; `complete` says that it holds every dirty document, so that
    documents of `pending` missing from it are known to be clean. The version is the caller's.
    """
    sums = dict(totals.sums)
    pending = {} if complete else dict(totals.pending)
    touched: set[str] = set()
    students, counted, more = totals.students, 0, not complete
    newest_at, newest_request = totals.latest_event_at, totals.request_id
    for document in dirty:
        done = totals.pending.get(document.document_id, 0)
        for entry in document.entries:
            if entry.seq <= done:
                continue
            if counted == limit:
                more = True
                break
            done = entry.seq
            counted += 1
            students += entry.students
            touched |= _add(sums, entry)
            if newest_at is None or entry.at >= newest_at:
                newest_at, newest_request = entry.at, entry.request_id
        if document.entries and done >= document.entries[0].seq:
            pending[document.document_id] = done
        else:
            pending.pop(document.document_id, None)
    folded = replace(
        totals,
        students=students,
        sums=sums,
        pending=pending,
        latest_event_at=newest_at,
        request_id=newest_request,
    )
    return Fold(folded, frozenset(touched), counted, more)


def _add(sums: dict[str, LessonSums], entry: Entry) -> set[str]:
    for part in entry.parts:
        sums[part.key] = sums.get(part.key, LessonSums()).plus(part)
    return {part.key for part in entry.parts}
