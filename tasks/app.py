"""The Celery application and its task names; the names are stable, for Flower and schedules."""

from __future__ import annotations

import json
import logging
import os
from contextlib import suppress
from importlib import import_module
from typing import Any

from billiard import util
from celery import Celery
from celery.signals import (
    celeryd_init,
    import_modules,
    setup_logging,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutting_down,
)

from analytics.logs import configure_logs
from analytics.settings import Settings
from tasks import flower_guard, guard

guard.install()
app = Celery("coursepulse", include=["tasks.refresh", "tasks.reconcile", "tasks.audit"])
app.config_from_object("celeryconfig")

REFRESH_COURSE = "tasks.refresh_course"
REFRESH_PLATFORM = "tasks.refresh_platform"
RECONCILE = "tasks.reconcile"
AUDIT = "tasks.audit"
STDOUT = 1


@import_modules.connect
@setup_logging.connect
def _configure_logs(**_: Any) -> None:
    """Log in the product's shape: Flower and early warnings from the first of the two signals on.

    A process that only enqueues sends neither.
    """
    configure_logs(Settings.from_environment().log_format)
    pool = util.get_logger()  # left alone, it prints past the log
    pool.propagate = True
    pool.setLevel(logging.WARNING)


@import_modules.connect
def _guard_flower(**_: Any) -> None:
    flower_guard.install()


@celeryd_init.connect
def _leave_out_what_is_no_line(instance: Any, **_: Any) -> None:
    """Keep the worker's banner and its last words out of a log that machines read."""
    if Settings.from_environment().log_format == "json":
        instance.quiet = True
        program: Any = import_module("celery.apps.worker")
        program.safe_say = _say_as_line


def _say_as_line(message: str, *_: Any) -> None:
    """Say what Celery says from within a signal handler, where nothing may wait for a lock."""
    line = json.dumps({"event": message, "level": "info", "logger": "celery.apps.worker"})
    with suppress(OSError):
        os.write(STDOUT, f"{line}\n".encode())


@worker_process_init.connect
def _open_clients(**_: Any) -> None:
    from tasks import process  # noqa: PLC0415  # drivers are for workers, not for who enqueues

    process.open_clients()


@worker_process_shutdown.connect
def _close_clients(**_: Any) -> None:
    from tasks import process  # noqa: PLC0415  # as above

    process.close_clients()


@worker_ready.connect
def _start_dispatcher(**_: Any) -> None:
    """Dispatch where refreshes are run; elsewhere they would be enqueued for nobody."""
    if app.conf.task_default_queue not in app.amqp.queues.consume_from:
        return
    from tasks import dispatcher  # noqa: PLC0415  # as above

    dispatcher.start(Settings.from_environment())


@worker_shutting_down.connect
def _stop_dispatcher(**_: Any) -> None:
    from tasks import dispatcher  # noqa: PLC0415  # as above

    dispatcher.stop()
