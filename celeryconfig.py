"""Celery's settings, each with its reason. `celery -A tasks …` reads them from here."""

from __future__ import annotations

import sys
from typing import Any

from kombu import Exchange, Queue
from redis.backoff import NoBackoff
from redis.retry import Retry

from analytics.errors import SettingsError
from analytics.settings import Settings

try:
    _settings = Settings.from_environment()
    broker_url = _settings.broker_url
except SettingsError as error:
    # Celery would print a traceback; an operator needs the one line.
    sys.exit(str(error))

# -- What is never kept --
# MongoDB holds the truth; a result would be one more write that nobody reads.
task_ignore_result = True
result_backend = None

# -- The broker --
broker_connection_retry_on_startup = True
broker_connection_max_retries: int | None = None  # a broker that is away for long comes back too
broker_transport_options: dict[str, Any] = {
    "global_keyprefix": "coursepulse:celery:",
    "visibility_timeout": 120,
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    # A frozen broker is noticed; the worker's guard (tasks/guard.py) turns it into a reconnect.
    "socket_timeout": 2,
    "socket_connect_timeout": 1,
    "socket_keepalive": True,
    # A line that went dead is noticed after a second and two of these: refreshes wait that long.
    "health_check_interval": 2,
}
# Opened on use only. Flower asks each worker nine questions at once, two connections each: from a
# small pool they would wait for each other for ever, and Flower would hear no event.
broker_pool_limit = 32
task_publish_retry = False  # whoever enqueues has a lease to fall back on

# -- The worker --
worker_concurrency = _settings.worker_concurrency
worker_prefetch_multiplier = 1  # a waiting refresh must stay where another worker can take it
task_acks_late = False  # the lease is the retry, in 3 s and not in a visibility timeout
task_soft_time_limit = 20
task_time_limit = 30
worker_soft_shutdown_timeout = 10
# Bounds what a leak in a driver could take; KiB, four times what a child has. Not a count of tasks:
# replacing a child held refreshes up for a second and more (measured: with 100 tasks a child and
# 40 events a second dozens of events in 30 s waited for over a second; without a count none did).
worker_max_memory_per_child = 400_000
worker_hijack_root_logger = False
worker_redirect_stdouts = False
worker_enable_remote_control = True
worker_cancel_long_running_tasks_on_connection_loss = False
task_create_missing_queues = True

# -- Queues: what a screen waits for is never behind bulk work --
task_default_queue = "refresh"
# A plain worker takes all. Exchanges of their own: left alone, all three would be bound to one.
task_queues = [
    Queue(name, Exchange(name), routing_key=name) for name in ("refresh", "scheduled", "bulk")
]
task_routes = {
    "tasks.refresh_course": {"queue": "refresh"},
    "tasks.refresh_platform": {"queue": "refresh"},
    "tasks.reconcile": {"queue": "scheduled"},
    "tasks.audit": {"queue": "bulk"},
}

# -- Flower --
worker_send_task_events = True
task_send_sent_event = False  # costs half an enqueue more and shows little

# -- The schedule --
beat_scheduler = "tasks.schedule.Schedule"  # redbeat's, which survives what Redis loses
redbeat_redis_url = broker_url
# Left alone, the driver would hold beat at a frozen Redis for a minute, far longer than its lock.
redbeat_redis_options: dict[str, Any] = {
    "retry": Retry(NoBackoff(), 1),
    "socket_timeout": 2,
    "socket_connect_timeout": 1,
    "socket_keepalive": True,
}
redbeat_key_prefix = "coursepulse:redbeat:"
redbeat_lock_key = "coursepulse:redbeat::lock"
redbeat_lock_timeout = 5  # another beat takes over after this many seconds
beat_max_loop_interval = 1
beat_schedule = {
    "platform-every-5-minutes": {
        "task": "tasks.refresh_platform",
        "schedule": 300.0,
        "options": {"expires": 240},
    },
    "audit-every-hour": {"task": "tasks.audit", "schedule": 3600.0, "options": {"expires": 3000}},
}

timezone = "UTC"
task_serializer = "json"
accept_content = ["json"]
