"""The peer of `coalescing`, its worker: a Celery task for each event, which counts the course anew.

What is usually written first. `celery -A bench.naive_tasks worker` with the product's environment;
the database's data are the product's own, and so is the aggregation of `refresh`. Each task adds
to `DATA_DIR/run/tasks.log` a line of times (`time.monotonic()`, s): enqueued, started, ended.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from typing import Any

import redis
from celery import Celery
from celery.signals import worker_process_init

from analytics.settings import Settings
from analytics.stores import redis as redis_store
from analytics.stores.mongo import Collections, connect_patiently
from analytics.subjects import Subject
from bench.aggregation import aggregate
from bench.scenario import LESSONS

LOG = "run/tasks.log"

_settings = Settings.from_environment()
app = Celery("naive", broker=_settings.redis_url)
app.conf.task_ignore_result = True
app.conf.broker_connection_retry_on_startup = True


@dataclass(frozen=True, slots=True)
class _Process:
    collections: Collections
    cache: redis.Redis
    log: int


_opened: list[_Process] = []


@worker_process_init.connect
def _open(**_: Any) -> None:
    """Open the clients after the fork; no deadline that a long queue at the database could hit."""
    log = os.open(_settings.data_dir / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    collections = Collections(connect_patiently(_settings), _settings)
    _opened.append(_Process(collections, redis_store.connect(_settings), log))


@app.task(name="naive.refresh")
def refresh(course_id: str, enqueued: float) -> None:
    """Compute the course's analytics from all its students, cache and publish them."""
    started = time.monotonic()
    [process] = _opened
    sums = aggregate(process.collections, course_id)
    students, minutes = sums["students"], sums["watch_ms"] / 60_000
    analytics = {
        "course_id": course_id,
        "students": students,
        "avg_completion": round(100 * sums["completed"] / (students * LESSONS), 2),
        "total_watch_time_minutes": round(minutes, 2),
        "avg_watch_time_per_student": round(minutes / students, 2),
        "avg_quiz_score": round(100 * sums["quiz"] / max(1, sums["attempts"]), 2),
    }
    text = json.dumps({"analytics": analytics})
    subject = Subject(course_id)
    process.cache.set(subject.frame_key, text, ex=86_400)
    process.cache.publish(subject.channel, text)
    # One short write at the end of the file: lines of two processes do not mix.
    os.write(process.log, f"{enqueued} {started} {time.monotonic()}\n".encode())
