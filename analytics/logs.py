"""One log shape in all processes: readable lines in a terminal, JSON in production.

Every line carries the `request_id` that was bound where its work began.
"""

from __future__ import annotations

import logging
import sys
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
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.stdlib.ExtraAdder(),
    _without_repeats,
]


def configure_logs(log_format: str, *, level: int = logging.INFO) -> None:
    """Send the whole process's logging to stdout in one format (`text` or `json`)."""
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stdout.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            renderer,
        ]
        if log_format == "json"
        else [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # pymongo and others tell every connection at INFO or DEBUG.
    # Celery tells each task twice, at a tenth of a refresh's cost; Flower shows them better.
    quiet = ("celery.worker.strategy", "celery.app.trace", "uvicorn.access")
    for name in ("pymongo", "httpx", "httpcore", *quiet):
        logging.getLogger(name).setLevel(logging.WARNING)
