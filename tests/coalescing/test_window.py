"""The window grows with the database's slowness, not with the size of its own batches."""

from __future__ import annotations

import pytest
import redis

from analytics.subjects import Subject
from tasks.coalescer import LONGEST_GROWN_WINDOW_MS, SUBJECT, Coalescer

COURSE = Subject("c")
WINDOW_MS = 100
SLOW_MS = 80


@pytest.mark.parametrize(
    ("marks", "window_ms"), [(1, LONGEST_GROWN_WINDOW_MS), (100, WINDOW_MS)], ids=["one", "many"]
)
def test_a_slow_refresh_of_few_marks_grows_the_window_and_one_of_many_does_not(
    valkey: redis.Redis, marks: int, window_ms: int
) -> None:
    coalescer = Coalescer(valkey, WINDOW_MS)
    lease = coalescer.mark(COURSE)
    assert lease is not None
    for _ in range(marks - 1):
        coalescer.mark(COURSE)
    seen = coalescer.start(lease)
    assert seen == marks
    key = SUBJECT + COURSE.name
    valkey.hincrby(key, "started", -SLOW_MS)  # as if it had begun so long ago
    assert coalescer.finish(lease, marks)
    started, free_at = valkey.hmget(key, ["started", "free_at"])
    assert int(str(free_at)) - int(str(started)) == window_ms
