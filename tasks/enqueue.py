"""The only door from outside: mark subjects stale, and enqueue those that were idle.

A request never waits for it. Marks are collected and sent to Redis in one round trip a turn;
publishing to the broker blocks, so it has two threads of its own. Where Redis or the broker does
not answer, marks are dropped for `BREAKER_SECONDS`: the write is durable, and a reconcile finds it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import redis.asyncio
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from analytics.errors import Unavailable
from analytics.settings import Settings
from analytics.stores import redis as redis_store
from analytics.subjects import COURSE_CHANGES, Subject
from tasks.app import app
from tasks.coalescer import LANES, Depth, Lease, delay_buckets, script, subject_keys
from tasks.sending import refresh_task, send_refresh

__all__ = ["Depth", "RefreshQueue", "delay_buckets"]

BREAKER_SECONDS = 2.0
DEADLINE_SECONDS = 0.5
THREADS = 2

log = logging.getLogger(__name__)


class RefreshQueue:
    """Marks and enqueues for one API process. `start` it inside the running loop."""

    def __init__(self, settings: Settings) -> None:
        broker_settings = settings.model_copy(update={"redis_url": settings.broker_url})
        self._redis: redis.asyncio.Redis = redis_store.connect_async(broker_settings)
        self._cache: redis.asyncio.Redis = redis_store.connect_async(settings)
        window_ms = settings.refresh_window_ms
        self._mark = self._redis.register_script(script("mark", window_ms))
        self._depth = self._redis.register_script(script("depth", window_ms))
        self._marked: dict[Subject, str] = {}
        self._edited: set[str] = set()
        self._wake = asyncio.Event()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="enqueue")
        self._local = threading.local()
        self._closed_until = 0.0
        self._task: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to send marks."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Send what is marked, then close."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._turn()
        if self._sending:
            await asyncio.wait(self._sending, timeout=DEADLINE_SECONDS)
        self._threads.shutdown(wait=False, cancel_futures=True)
        await self._redis.aclose()
        await self._cache.aclose()

    def mark(self, *subjects: Subject, request_id: str) -> None:
        """Note that the subjects' durable state moved on."""
        for subject in subjects:
            self._marked[subject] = request_id
        self._wake.set()

    def announce_edit(self, course_id: str) -> None:
        """Tell every process that the course's outline changed."""
        self._edited.add(course_id)
        self._wake.set()

    async def force(self, subject: Subject, *, request_id: str) -> str:
        """Enqueue a full recompute; return the task's id. Raise `Unavailable` without a broker."""
        name, arguments = refresh_task(subject)
        headers = {"request_id": request_id}

        def send() -> str:
            result = app.send_task(
                name,
                args=arguments,
                kwargs={"full": True},
                headers=headers,
                producer=self._producer(),
                retry=False,
            )
            return str(result.id)

        try:
            return str(await self._in_thread(send))
        except (OperationalError, RedisError, OSError, TimeoutError) as error:
            raise Unavailable("The queue does not answer; repeat the request.") from error

    @property
    def is_broken(self) -> bool:
        """Whether marks are being left to the reconcile."""
        return time.monotonic() < self._closed_until

    async def depth(self) -> Depth:
        """Return what waits and what was counted; raise `RedisError` where Redis is away."""
        return Depth.from_answer(await self._depth(keys=LANES))

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            try:
                await self._turn()
            except Exception:
                # A turn that fails must not be the last; the reconcile finds what it had marked.
                log.exception("marks are left to the reconcile")

    async def _turn(self) -> None:
        """Send all marks collected so far in one round trip."""
        self._wake.clear()
        marked, self._marked = self._marked, {}
        edited, self._edited = self._edited, set()
        if time.monotonic() < self._closed_until:
            return
        try:
            if edited:
                async with self._cache.pipeline(transaction=False) as announcements:
                    for course_id in edited:
                        announcements.publish(COURSE_CHANGES, course_id)
                    await announcements.execute()
            fences = await self._send_marks(list(marked))
        except (RedisError, OSError, TimeoutError) as error:
            self._break(error)
            return
        for (subject, request_id), fence in zip(marked.items(), fences, strict=True):
            if fence:
                sending = asyncio.create_task(self._enqueue(Lease(subject, fence), request_id))
                self._sending.add(sending)
                sending.add_done_callback(self._sending.discard)

    async def _send_marks(self, subjects: list[Subject]) -> list[str]:
        if not subjects:
            return []
        if len(subjects) == 1:
            return [await self._mark(subject_keys(subjects[0]), [subjects[0].name, 1])]
        async with self._redis.pipeline(transaction=False) as batch:
            for subject in subjects:
                await self._mark(subject_keys(subject), [subject.name, 1], client=batch)
            fences: list[str] = await batch.execute()
        return fences

    async def _enqueue(self, lease: Lease, request_id: str) -> None:
        def send() -> None:
            send_refresh(lease, request_id=request_id, producer=self._producer())

        try:
            await self._in_thread(send)
        except (OperationalError, RedisError, OSError, TimeoutError) as error:
            self._break(error)

    async def _in_thread(self, work: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await asyncio.wait_for(loop.run_in_executor(self._threads, work), DEADLINE_SECONDS)

    def _producer(self) -> Any:
        """Return this thread's producer; its socket's deadlines are short."""
        producer = getattr(self._local, "producer", None)
        if producer is None:
            options = {"socket_timeout": 0.25, "socket_connect_timeout": 0.25}
            connection = app.connection_for_write(transport_options=options)
            producer = app.amqp.Producer(connection, auto_declare=False)
            self._local.producer = producer
        return producer

    def _break(self, error: Exception) -> None:
        if time.monotonic() >= self._closed_until:
            log.warning("refreshes are left to the reconcile: %s", error)
        self._closed_until = time.monotonic() + BREAKER_SECONDS
