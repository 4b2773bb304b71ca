"""The product's Celery application with tasks that a test can hold and count (`-A` of tests)."""

from __future__ import annotations

import time

import redis

from analytics.settings import Settings
from tasks.app import app
from tests.whole.beats import FREE, HELD, RAN


@app.task(name="tests.hold")
def hold() -> None:
    """Work until the test sets it free."""
    with redis.Redis.from_url(Settings.from_environment().broker_url) as client:
        client.incr(HELD)
        while not client.exists(FREE):
            time.sleep(0.05)


@app.task(name="tests.refresh")
def refresh() -> None:
    """Count that it ran."""
    with redis.Redis.from_url(Settings.from_environment().broker_url) as client:
        client.incr(RAN)
