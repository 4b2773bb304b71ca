"""The dispatcher: a thread of each worker of refreshes that enqueues what is due and reconciles.

Any number of workers run one each; the scripts see to it that a due subject is leased once. Beat
has no part in it: only one beat sends, and another needs seconds to take over.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from queue import SimpleQueue
from typing import Any

import redis
import structlog
from celery.signals import task_failure
from kombu.exceptions import OperationalError
from pymongo.errors import PyMongoError
from redis.exceptions import RedisError

from analytics.settings import Settings
from analytics.stores import redis as redis_store
from analytics.stores.continuity import Continuity
from analytics.stores.mongo import Collections, connect
from analytics.stores.parking import Parking
from analytics.subjects import PLATFORM, RECONCILE_TURN, Subject
from tasks.app import REFRESH_COURSE, REFRESH_PLATFORM
from tasks.coalescer import MAXIMUM_QUEUED, Coalescer
from tasks.failures import FATAL, note_failure
from tasks.reconcile import reconcile_now
from tasks.sending import send_refresh

IDLE_SECONDS = 0.05
FULL_SECONDS = 0.005  # something is due, but the queue is full
RECONCILE_MS = 2_000
TROUBLE_SECONDS = 0.5

log = structlog.get_logger(__name__)


class Dispatcher(threading.Thread):
    """Takes due subjects and enqueues them until stopped."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(name="dispatcher", daemon=True)
        self._stopping = threading.Event()
        self._settings = settings
        self._lost: SimpleQueue[tuple[Subject, str]] = SimpleQueue()

    def report_lost(self, subject: Subject, reason: str) -> None:
        """Count a refresh whose process is no more; called from another thread, never waits."""
        self._lost.put((subject, reason))

    def stop(self) -> None:
        """Ask the thread to end; what it has leased is already enqueued."""
        self._stopping.set()

    def run(self) -> None:
        """Dispatch until stopped; trouble is told once and waited out."""
        while not self._stopping.is_set():
            try:
                self._work()
            except Exception:
                # Every screen rests on this thread: it begins again, with clients of its own.
                log.exception("dispatcher failed, begins again")
                self._stopping.wait(TROUBLE_SECONDS)

    def _work(self) -> None:
        with ExitStack() as opened:
            broker = redis_store.connect(self._settings, broker=True)
            opened.callback(broker.close)
            client = connect(self._settings)
            opened.callback(client.close)
            cache = redis_store.connect(self._settings)
            opened.callback(cache.close)
            self._dispatch_until_stopped(broker, Collections(client, self._settings), cache)

    def _dispatch_until_stopped(
        self, broker: redis.Redis, collections: Collections, cache: redis.Redis
    ) -> None:
        coalescer = Coalescer(broker, self._settings.refresh_window_ms)
        continuity = Continuity(collections, cache)
        troubled = False
        wait = 0.0
        while not self._stopping.wait(wait):
            try:
                wait = self._dispatch(coalescer)
                self._note_lost(Parking(collections), coalescer)
                if broker.set(RECONCILE_TURN, "1", nx=True, px=RECONCILE_MS):
                    _compare(continuity)
                    reconcile_now(collections, coalescer)
                if troubled:
                    log.info("dispatching again")
                troubled = False
            except (RedisError, OperationalError, PyMongoError, OSError) as error:
                # Both servers may be away; nothing is lost, the marks stay and so do the leases.
                if not troubled:
                    log.warning("dispatcher waits", error=str(error))
                troubled = True
                wait = TROUBLE_SECONDS

    def _note_lost(self, parking: Parking, coalescer: Coalescer) -> None:
        while not self._lost.empty():
            subject, reason = self._lost.get()
            note_failure(parking, coalescer, subject, reason)

    @staticmethod
    def _dispatch(coalescer: Coalescer) -> float:
        leases, next_due_ms = coalescer.take(MAXIMUM_QUEUED)
        for lease in leases:
            send_refresh(lease)
        if next_due_ms is None:
            return IDLE_SECONDS
        return min(IDLE_SECONDS, max(FULL_SECONDS, next_due_ms / 1000))


def _compare(continuity: Continuity) -> None:
    """Compare cache and database; a document that it cannot read must not hold up reconcile."""
    try:
        if continuity.look():
            log.info("cache and database are compared")
    except (RedisError, PyMongoError, OSError):
        raise  # they are away, which the caller waits out
    except Exception:
        log.exception("cache and database cannot be compared")


class _Running:
    dispatcher: Dispatcher | None = None


def start(settings: Settings) -> None:
    """Start this worker's dispatcher."""
    task_failure.connect(_note_lost_process)
    _Running.dispatcher = Dispatcher(settings)
    _Running.dispatcher.start()
    log.info("dispatching")


def _note_lost_process(
    sender: Any = None, exception: Exception | None = None, args: Any = (), **_: Any
) -> None:
    """Tell the dispatcher of a refresh whose process died or was ended: no code of its own can."""
    dispatcher = _Running.dispatcher
    if dispatcher is None or not isinstance(exception, FATAL):
        return
    reason = f"{type(exception).__name__}: {exception}"
    if sender is not None and sender.name == REFRESH_PLATFORM:
        dispatcher.report_lost(PLATFORM, reason)
    elif sender is not None and sender.name == REFRESH_COURSE and args:
        dispatcher.report_lost(Subject(args[0]), reason)


def stop() -> None:
    """Stop it."""
    if _Running.dispatcher is not None:
        _Running.dispatcher.stop()
