"""What becomes of a subject whose refresh failed: tried again in a second, then parked.

A server that is away is nobody's fault and counts for nothing: the subject is tried again until it
is back. Whatever else goes wrong, an exception or a process that died of it, is bounded: after
three failures in a row the subject is parked, and the others go on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from celery.exceptions import TimeLimitExceeded, WorkerLostError
from pymongo.errors import PyMongoError
from redis.exceptions import RedisError

from analytics.stores.mongo import is_outage
from analytics.stores.parking import Parking
from analytics.subjects import Subject
from tasks.coalescer import Coalescer, Lease
from tasks.process import WorkerProcess

RETRY_MS = 1_000
FATAL = (WorkerLostError, TimeLimitExceeded)
"""What the worker's parent process reports of a child that is no more."""

log = structlog.get_logger(__name__)


@contextmanager
def trying_again_later(process: WorkerProcess, lease: Lease, marks: int) -> Iterator[None]:
    """End the lease of a refresh that raises, so that the subject is due again or parked."""
    try:
        yield
    except Exception as error:
        # Whatever it was, the subject is still owed. The error itself is shown by Flower.
        process.coalescer.finish(lease, marks, failed=True, delay_ms=RETRY_MS)
        if not _is_away(error):
            note_failure(
                process.parking,
                process.coalescer,
                lease.subject,
                f"{type(error).__name__}: {error}",
            )
        raise


def note_failure(parking: Parking, coalescer: Coalescer, subject: Subject, reason: str) -> None:
    """Count a failure; park the subject where it was one too many."""
    failing = parking.failed(subject, reason)
    told = {"subject": subject.name, "failures": failing.failures, "reason": failing.reason}
    if failing.is_parked:
        coalescer.park(subject, failing.pause_ms)
        log.error("refresh parked", seconds=failing.pause_ms // 1_000, **told)
    else:
        log.warning("refresh failed, is tried again", **told)


def release_healed(parking: Parking, coalescer: Coalescer) -> None:
    """Forget the failures of subjects that a refresh has succeeded for since."""
    for subject in parking.forget_healed():
        coalescer.unpark(subject)
        log.info("refresh works again", subject=subject.name)


def _is_away(error: Exception) -> bool:
    return isinstance(error, RedisError) or (isinstance(error, PyMongoError) and is_outage(error))
