"""The Celery application and its task names; the names are stable, for Flower and schedules."""

from __future__ import annotations

from typing import Any

from celery import Celery
from celery.signals import (
    setup_logging,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutting_down,
)

from analytics.logs import configure_logs
from analytics.settings import Settings
from tasks import guard

guard.install()
app = Celery("coursepulse", include=["tasks.refresh", "tasks.reconcile", "tasks.audit"])
app.config_from_object("celeryconfig")

REFRESH_COURSE = "tasks.refresh_course"
REFRESH_PLATFORM = "tasks.refresh_platform"
RECONCILE = "tasks.reconcile"
AUDIT = "tasks.audit"


@setup_logging.connect
def _configure_logs(**_: Any) -> None:
    configure_logs(Settings.from_environment().log_format)


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
    from tasks import dispatcher  # noqa: PLC0415  # as above

    dispatcher.start(Settings.from_environment())


@worker_shutting_down.connect
def _stop_dispatcher(**_: Any) -> None:
    from tasks import dispatcher  # noqa: PLC0415  # as above

    dispatcher.stop()
