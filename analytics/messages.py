"""The frames that browsers get, encoded once, in the worker."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from analytics.clock import now_ms, rfc3339
from analytics.numbers import course_numbers, platform_numbers
from analytics.subjects import Subject


@dataclass(frozen=True, slots=True)
class Frame:
    """One state of one subject: its version and the JSON text of the whole frame."""

    version: int
    text: str

    @property
    def numbers(self) -> dict[str, Any]:
        """The `analytics` or `data` object inside."""
        body = json.loads(self.text)
        numbers: dict[str, Any] = body.get("analytics") or body["data"]
        return numbers


def encode_frame(
    subject: Subject,
    numbers: dict[str, Any],
    version: int,
    latest_event_at: int | None,
    request_id: str | None,
) -> Frame:
    """Return the frame of a subject's state; `latest_event_at` is in milliseconds since 1970."""
    body: dict[str, Any]
    if subject.course_id is None:
        body = {"event": "platform_overview", "data": numbers}
    else:
        body = {
            "event": "course_analytics_update",
            "course_id": subject.course_id,
            "analytics": numbers,
        }
    body["version"] = version
    body["latest_event_at"] = None if latest_event_at is None else rfc3339(latest_event_at)
    body["request_id"] = request_id
    return Frame(version, json.dumps(body, ensure_ascii=False, separators=(",", ":")))


def empty_frame(subject: Subject) -> Frame:
    """Return what a subject shows of which nothing was ever computed: zeros and version 0."""
    generated_at = rfc3339(now_ms())
    if subject.course_id is None:
        numbers = platform_numbers(0, 0, {}, {}, generated_at)
    else:
        numbers = course_numbers(subject.course_id, 0, {}, (), generated_at)
    return encode_frame(subject, numbers, 0, None, None)
