"""What one worker process holds while it lives: its clients and the keeper of its lease.

Made in `worker_process_init`, after the fork, because drivers' connections do not survive one.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import redis
import structlog
from redis.exceptions import RedisError

from analytics.settings import Settings
from analytics.stores import redis as redis_store
from analytics.stores.mongo import Collections, connect, connect_patiently
from analytics.stores.parking import Parking
from analytics.stores.publish import Publisher
from tasks.coalescer import Coalescer, Lease

if TYPE_CHECKING:
    from collections.abc import Iterator

RENEW_SECONDS = 1.0
_PR_SET_PDEATHSIG = 1

log = structlog.get_logger(__name__)


class LeaseKeeper:
    """Renews the lease of the refresh that runs in this process, once a second."""

    def __init__(self, coalescer: Coalescer) -> None:
        self._coalescer = coalescer
        self._held: Lease | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)
        self._thread.start()

    @contextmanager
    def holding(self, lease: Lease) -> Iterator[None]:
        """Keep the lease while the block runs."""
        self._held = lease
        try:
            yield
        finally:
            self._held = None

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join(timeout=RENEW_SECONDS)

    def _run(self) -> None:
        while not self._stop.wait(RENEW_SECONDS):
            lease = self._held
            if lease is None:
                continue
            try:
                self._coalescer.renew(lease)
            except RedisError as error:
                # Safety never rests on the lease: the commit's version condition is what counts.
                log.warning("lease not renewed", subject=lease.subject.name, error=str(error))


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """The clients of one worker process; `patient` is for reads of a whole course."""

    collections: Collections
    patient: Collections
    publisher: Publisher
    parking: Parking
    coalescer: Coalescer
    keeper: LeaseKeeper
    cache: redis.Redis
    broker: redis.Redis

    @classmethod
    def open(cls, settings: Settings) -> WorkerProcess:
        """Make the clients; they connect on first use."""
        collections = Collections(connect(settings), settings)
        cache = redis_store.connect(settings)
        broker = redis_store.connect(settings, broker=True)
        coalescer = Coalescer(broker, settings.refresh_window_ms)
        return cls(
            collections,
            Collections(connect_patiently(settings), settings),
            Publisher(cache),
            Parking(collections),
            coalescer,
            LeaseKeeper(coalescer),
            cache,
            broker,
        )

    def close(self) -> None:
        """Close the clients."""
        self.keeper.stop()
        self.collections.database.client.close()
        self.patient.database.client.close()
        self.cache.close()
        self.broker.close()


class _Held:
    process: WorkerProcess | None = None


def open_clients() -> None:
    """Open this process's clients; called once after the fork."""
    _die_with_parent()
    _Held.process = WorkerProcess.open(Settings.from_environment())


def close_clients() -> None:
    """Close what `open_clients` opened."""
    if _Held.process is not None:
        _Held.process.close()
        _Held.process = None


def clients() -> WorkerProcess:
    """Return this process's clients, opening them where no pool did (a solo pool, a console)."""
    if _Held.process is None:
        _Held.process = WorkerProcess.open(Settings.from_environment())
    return _Held.process


def _die_with_parent() -> None:
    """Let the kernel end this child if the worker is killed: an orphan would hold connections."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == 1:  # the parent went before the call
            os._exit(1)
