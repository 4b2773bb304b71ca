"""A student's own progress in one course, as the student sees it."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from analytics.clock import rfc3339
from analytics.ids import field_key, from_field_key
from analytics.numbers import half_up


def own_progress(
    course_id: str, user_id: str, lessons_today: Iterable[str], document: dict[str, Any] | None
) -> dict[str, Any]:
    """Return the contract's object; `document` is the progress document, None without one."""
    today = list(lessons_today)
    stored: dict[str, Any] = {} if document is None else document.get("lessons", {})
    attempts = [] if document is None else document.get("attempts", [])
    last = None if document is None else document.get("last_accessed")
    completed = []
    for lesson_id in today:
        completed_at = stored.get(field_key(lesson_id), {}).get("completed_at")
        if completed_at is not None:
            completed.append({"lesson_id": lesson_id, "completed_at": rfc3339(completed_at)})
    percent = half_up(Fraction(100 * len(completed), len(today))) if today else 0.0
    return {
        "user_id": user_id,
        "course_id": course_id,
        "progress_percent": percent,
        "completed_count": len(completed),
        "total_lessons": len(today),
        "completed_lessons": completed,
        "video_watch_times": {
            from_field_key(key): lesson["watch_ms"] / 1_000
            for key, lesson in stored.items()
            if lesson.get("watch_ms")
        },
        "quiz_attempts": [
            {
                "lesson_id": attempt["lesson_id"],
                "score": attempt["score"],
                "max_score": attempt["max_score"],
                "attempted_at": rfc3339(attempt["at"]),
            }
            for attempt in attempts
        ],
        "last_accessed": None if last is None else rfc3339(last),
    }
