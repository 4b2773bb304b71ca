"""The refreshes: invalidate, compute from MongoDB, publish on completion, clean up.

A refresh that was enqueued under a lease carries its fence in a header; one whose fence is stale is
dropped at the start, because somebody newer is at it. A refresh called by hand has no fence.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import structlog

from analytics.messages import Frame
from analytics.stores.course_fold import CourseFold
from analytics.stores.course_fold import refresh_course as fold_course
from analytics.stores.platform_fold import PlatformFold
from analytics.stores.platform_fold import refresh_platform as fold_platform
from analytics.stores.recount import course_drift, repair_course
from analytics.subjects import PLATFORM, Subject
from tasks.app import REFRESH_COURSE, REFRESH_PLATFORM, app
from tasks.coalescer import Lease
from tasks.failures import trying_again_later
from tasks.process import WorkerProcess, clients
from tasks.sending import send_refresh
from tasks.telling import requests_counted, requests_seen, tell_refresh

STALL_SECONDS = 1.0

log = structlog.get_logger(__name__)


@app.task(name=REFRESH_COURSE, bind=True)
def refresh_course(self: Any, course_id: str, full: bool = False) -> str:  # noqa: FBT001, FBT002  # a task's argument, shown by Flower
    """Refresh a course's analytics; with `full` after a full recompute, always a new version."""
    subject = Subject(course_id)
    return _under_lease(self, subject, lambda process: _refresh_course(process, subject, full=full))


@app.task(name=REFRESH_PLATFORM, bind=True)
def refresh_platform(self: Any, full: bool = False) -> str:  # noqa: FBT001, FBT002  # as above
    """Refresh the platform's overview; with `full` always a new version."""
    return _under_lease(self, PLATFORM, lambda process: _refresh_platform(process, full=full))


Work = Callable[[WorkerProcess], "tuple[str, bool]"]


def _under_lease(task: Any, subject: Subject, work: Work) -> str:
    """Run the work, under the lease of the task's fence where it has one; return what it came to.

    The work returns its result and whether it left more to do.
    """
    fence, request_id = task.request.get("fence"), task.request.get("request_id")
    process = clients()
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        if fence is None:
            result, more = work(process)
            if more:
                wake(process, subject)
            return result
        lease = Lease(subject, str(fence))
        marks = process.coalescer.start(lease)
        if marks is None:
            return "dropped: a newer lease exists"
        with process.keeper.holding(lease), trying_again_later(process, lease, marks):
            result, more = work(process)
        process.coalescer.finish(lease, marks, delay_ms=0 if more else None)
        return result


def _refresh_course(process: WorkerProcess, subject: Subject, *, full: bool) -> tuple[str, bool]:
    began = time.monotonic()
    course_id = subject.course_id or ""
    collections = process.collections
    if full and course_drift(process.patient, course_id):
        log.error("drift found by a forced refresh; repairing", course_id=course_id)
        repair_course(process.patient, course_id)
    outcome = fold_course(collections, course_id, new_version=full)
    if outcome is None:
        return "no such course", False
    committed_at = time.monotonic()
    state, planned, frame = outcome
    totals = state.totals if planned is None else planned.totals
    published = False
    try:
        published = frame is not None and process.publisher.publish(subject, frame)
    finally:  # what is committed is told, also where Redis is away
        if frame is not None and planned is not None:
            tell_refresh(
                subject,
                frame,
                requests_counted(state, totals),
                request_id=totals.request_id,
                events=planned.counted,
                took=time.monotonic() - began,
                published=published,
            )
    if frame is not None and time.monotonic() - committed_at > STALL_SECONDS:
        _publish_stored(process, subject)
    if CourseFold(collections, course_id).clean_up(state, totals):
        wake(process, PLATFORM, counts=True)
    more = not state.complete if planned is None else planned.more
    return _told(frame, published, 0 if planned is None else planned.counted), more


def _refresh_platform(process: WorkerProcess, *, full: bool) -> tuple[str, bool]:
    began = time.monotonic()
    state, planned, frame = fold_platform(process.collections, new_version=full)
    committed_at = time.monotonic()
    sources = len(state.courses) + len(state.students)
    published = False
    try:
        published = frame is not None and process.publisher.publish(PLATFORM, frame)
    finally:  # as above
        if frame is not None and planned is not None:
            tell_refresh(
                PLATFORM,
                frame,
                requests_seen(state),
                request_id=planned.request_id,
                events=sources,
                took=time.monotonic() - began,
                published=published,
            )
    if frame is not None and time.monotonic() - committed_at > STALL_SECONDS:
        _publish_stored(process, PLATFORM)
    if planned is not None:
        PlatformFold(process.collections).clean_up(state, planned)
    return _told(frame, published, sources), state.more


def _publish_stored(process: WorkerProcess, subject: Subject) -> None:
    """Publish what the totals hold now: this process was stopped for a while, they moved on."""
    collection, key = process.collections.totals_of(subject)
    stored = collection.find_one({"_id": key})
    if stored is not None:
        process.publisher.publish(subject, Frame(stored["version"], stored["frame"]))


def wake(process: WorkerProcess, subject: Subject, *, counts: bool = False) -> None:
    """Mark a subject from within a worker, and enqueue it where it was idle."""
    lease = process.coalescer.mark(subject, counts=counts)
    if lease is not None:
        send_refresh(lease)


def _told(frame: Frame | None, published: bool, counted: int) -> str:  # noqa: FBT001  # a fact, not a switch
    """Return the task's result as Flower shows it."""
    version = 0 if frame is None else frame.version
    verb = "published" if published else "unchanged"
    return f"{verb} version {version}, counted {counted}"
