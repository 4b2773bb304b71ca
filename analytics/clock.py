"""Time as the product shows and compares it: UTC, milliseconds since 1970 inside."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now_ms() -> int:
    """Return milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def rfc3339(milliseconds: int) -> str:
    """Return e.g. `2026-11-23T09:30:00.123Z`."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
