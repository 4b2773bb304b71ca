"""The log's line for each write and each failure: how an operator finds a request by its id.

Lines are gathered for a moment and written together, because whoever reads a log from a pipe wakes
for every write: line by line that costs a tenth of what accepting an event does.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import structlog

GATHER_SECONDS = 0.1
FAILED = 500  # from this status on it is not the caller's mistake

log = structlog.get_logger(__name__)


class AnswerLog:
    """Gathers lines; `write` must be called once more when the application ends."""

    def __init__(self) -> None:
        self._lines: list[dict[str, Any]] = []

    def note(self, request_id: str, method: str, route: str, status: int, seconds: float) -> None:
        """Note an answer; `route` is its template: a path holds ids, and no line names a user."""
        if not self._lines:
            asyncio.get_running_loop().call_later(GATHER_SECONDS, self.write)
        line = {
            "request_id": request_id,
            "method": method,
            "route": route,
            "status": status,
            "ms": round(seconds * 1_000, 1),
            "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        }
        self._lines.append(line)

    def write(self) -> None:
        """Write what was gathered."""
        lines, self._lines = self._lines, []
        for line in lines:
            tell = log.info if line["status"] < FAILED else log.warning
            tell("answered", **line)
