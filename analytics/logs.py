"""One log shape in all processes: readable lines in a terminal, JSON in production.

Every line carries the `request_id` that was bound where its work began. Our own lines are rendered
and written at once, at a third of what they cost by way of `logging`, which is for libraries'. No
line names a user: a course, a version and request ids are what an operator looks for.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from typing import Any

import structlog


def _without_repeats(_: Any, __: str, event: Any) -> Any:
    """Drop what Celery and uvicorn attach although the line says it already."""
    for name in ("data", "color_message"):
        event.pop(name, None)
    return event


_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.MaybeTimeStamper(fmt="iso", utc=True),
]


class LineWriter:
    """Writes each line in one call without a lock: a fork while another thread writes is safe."""

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self._descriptor = descriptor

    def info(self, line: str) -> None:
        """Write a line; one that cannot be written must not end the work it tells of."""
        with suppress(OSError):
            os.write(self._descriptor, f"{line}\n".encode("utf-8", "backslashreplace"))

    debug = warning = error = critical = info


def configure_logs(log_format: str, *, level: int = logging.INFO) -> None:
    """Send the whole process's logging to stdout in one format (`text` or `json`)."""
    if log_format == "json":
        rendering: list[Any] = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
    else:
        plain = structlog.dev.plain_traceback
        colors = sys.stdout.isatty()
        rendering = [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)]
    descriptor = sys.stdout.fileno()
    structlog.configure(
        processors=[*_SHARED, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda name="": LineWriter(name, descriptor),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_SHARED, structlog.stdlib.ExtraAdder(), _without_repeats],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(capture=True)
    # pymongo and others tell every connection at INFO or DEBUG.
    # Celery tells each task twice, at a tenth of a refresh's cost; Flower shows them better.
    quiet = ("celery.worker.strategy", "celery.app.trace", "uvicorn.access")
    for name in ("pymongo", "httpx", "httpcore", *quiet):
        logging.getLogger(name).setLevel(logging.WARNING)
