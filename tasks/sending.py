"""Enqueuing a leased refresh, from wherever: the fence and the request id travel as headers."""

from __future__ import annotations

from typing import Any

from analytics.subjects import Subject
from tasks.app import REFRESH_COURSE, REFRESH_PLATFORM, app
from tasks.coalescer import Lease


def send_refresh(lease: Lease, *, request_id: str | None = None, producer: Any = None) -> None:
    """Enqueue the refresh of a leased subject."""
    name, arguments = refresh_task(lease.subject)
    app.send_task(
        name,
        args=arguments,
        headers={"fence": lease.fence, "request_id": request_id},
        producer=producer,
        retry=False,
    )


def refresh_task(subject: Subject) -> tuple[str, tuple[str, ...]]:
    """Return the name and the arguments of the task that refreshes the subject."""
    if subject.course_id is None:
        return REFRESH_PLATFORM, ()
    return REFRESH_COURSE, (subject.course_id,)
