"""What the worker's log says of a refresh, so that a request's id leads to the refresh it is in.

One event of a busy course shares its refresh with many: the line lists the ids of all of them. No
line is longer than what a pipe takes at once, or those of two processes could mix.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import structlog

from analytics.messages import Frame
from analytics.stores.course_fold import CourseState
from analytics.stores.platform_fold import PlatformState
from analytics.subjects import Subject
from analytics.totals import CourseTotals

REQUESTS_PER_LINE = 30  # of at most 100 characters each; a pipe takes 4,096 bytes at once

log = structlog.get_logger(__name__)


def tell_refresh(  # noqa: PLR0913  # the fields of one line
    subject: Subject,
    frame: Frame,
    requests: Iterable[str | None],
    *,
    request_id: str | None,
    events: int,
    took: float,
    published: bool,
) -> None:
    """Log a refresh that made a new state; `request_id` is the one in its frame."""
    asked_by = structlog.contextvars.get_contextvars().get("request_id")
    distinct = list(dict.fromkeys(each for each in (asked_by, *requests) if each))
    log.info(
        "refreshed",
        subject=subject.name,
        version=frame.version,
        request_id=request_id,
        requests=distinct[:REQUESTS_PER_LINE],
        events=events,
        published=published,
        took_ms=round(took * 1_000, 1),
    )
    for start in range(REQUESTS_PER_LINE, len(distinct), REQUESTS_PER_LINE):
        log.info(
            "refreshed, further requests",
            subject=subject.name,
            version=frame.version,
            request_id=request_id,
            requests=distinct[start : start + REQUESTS_PER_LINE],
        )


def requests_counted(state: CourseState, totals: CourseTotals) -> Iterator[str | None]:
    """Yield the request ids of what is in `totals` and was not in those read."""
    for document in state.dirty:
        before = state.totals.pending.get(document.document_id, 0)
        until = totals.pending.get(document.document_id, 0)
        for entry in document.entries:
            if before < entry.seq <= until:
                yield entry.request_id
    if totals.course_version != state.totals.course_version:
        yield state.course.get("request_id")


def requests_seen(state: PlatformState) -> Iterator[str | None]:
    """Yield the request ids of the changes that a refresh of the platform read."""
    yield from (course.get("request_id") for course in state.courses)
    yield from (student.get("request_id") for student, _ in state.students)
