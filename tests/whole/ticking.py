"""The product's Celery application with a schedule short enough to be watched (`-A` of tests)."""

from __future__ import annotations

import os

import redis

from analytics.settings import Settings
from tasks.app import app
from tests.whole.beats import RAN

INTERVAL = float(os.environ.get("TICK_SECONDS", "0.3"))
EXPIRES = 2.0

app.conf.beat_schedule = {
    "tick": {"task": "tests.tick", "schedule": INTERVAL, "options": {"expires": EXPIRES}}
}


@app.task(name="tests.tick")
def tick() -> None:
    """Count that it ran."""
    with redis.Redis.from_url(Settings.from_environment().broker_url) as client:
        client.incr(RAN)
