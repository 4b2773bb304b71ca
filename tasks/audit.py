"""Audit: the running totals against a full recompute. The expected drift is zero."""

from __future__ import annotations

import structlog

from analytics.stores.recount import (
    Drift,
    course_drift,
    platform_drift,
    repair_course,
    repair_platform,
)
from analytics.subjects import PLATFORM, Subject
from tasks.app import AUDIT, app
from tasks.process import clients
from tasks.refresh import wake

log = structlog.get_logger(__name__)


@app.task(name=AUDIT, soft_time_limit=3_000, time_limit=3_100)
def audit() -> str:
    """Compare every course and the platform with a full recompute; report drift and repair it."""
    process = clients()
    collections = process.patient
    courses, drifted, unsettled = 0, 0, 0
    for course in collections.courses.find({}, {"_id": 1}):
        courses += 1
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
