"""Audit: the running totals against a full recompute. The expected drift is zero.

One at a time: two would read everything twice, and keep two processes from refreshing.
"""

from __future__ import annotations

from contextlib import suppress

import structlog
from redis.exceptions import RedisError
from redis.lock import Lock

from analytics.stores.recount import (
    Drift,
    course_drift,
    platform_drift,
    repair_course,
    repair_platform,
)
from analytics.subjects import AUDIT_TURN, PLATFORM, Subject
from tasks.app import AUDIT, app
from tasks.process import WorkerProcess, clients
from tasks.refresh import wake

TURN_SECONDS = 600  # renewed at each course; a killed audit's turn ends by itself

log = structlog.get_logger(__name__)


@app.task(name=AUDIT, soft_time_limit=3_000, time_limit=3_100)
def audit() -> str:
    """Compare every course and the platform with a full recompute; report drift and repair it."""
    process = clients()
    turn = process.broker.lock(AUDIT_TURN, timeout=TURN_SECONDS)
    if not turn.acquire(blocking=False):
        return "another audit is at work"
    try:
        return _audit(process, turn)
    finally:
        with suppress(RedisError):  # it was lost, or ends by itself
            turn.release()


def _audit(process: WorkerProcess, turn: Lock) -> str:
    collections = process.patient
    courses, drifted, unsettled = 0, 0, 0
    for course in collections.courses.find({}, {"_id": 1}):
        courses += 1
        with suppress(RedisError):
            turn.reacquire()
        drifts = course_drift(collections, course["_id"])
        unsettled += drifts is None
        if drifts:
            drifted += 1
            _report(drifts)
            repair_course(collections, course["_id"])
            wake(process, Subject(course["_id"]), counts=True)
    drifts = platform_drift(collections)
    if drifts:
        drifted += 1
        _report(drifts)
        repair_platform(collections)
        wake(process, PLATFORM, counts=True)
    return f"{courses} courses, {drifted} drifted, {unsettled} too busy to tell"


def _report(drifts: list[Drift]) -> None:
    for drift in drifts:
        log.error(
            "drift",
            subject=drift.subject,
            number=drift.number,
            running=str(drift.running),
            recomputed=str(drift.recomputed),
        )
