"""Coalescing: refreshed at once, then once a window at most, and always after the last mark.

A subject is idle, *waiting* (for its time, or for its turn), *leased* (enqueued or running) or
*parked* (its refresh failed again and again). A mark leases an idle subject for its caller, who
enqueues it; marks of any other only count. When a lease is finished and marks came meanwhile, the
subject is due at the end of its window. A lease that ends unfinished makes the subject due again.
Each lease has a fence: a number never used again, also after Redis lost everything; work that
carries an older fence is dropped.

At most `MAXIMUM_QUEUED` subjects are enqueued and not started, so that Celery's queue stays short
enough for a lease; the rest wait in two lanes that take turns: `due` for subjects refreshed within
`WARM_MS`, `cold` for the others, each first come first served. So ten thousand cold courses do not
starve a hot one, nor the other way round. The window of a subject grows with what its refresh took
for its size (`BATCH`), faster than in proportion (`SLOWNESS_MS`), and once more for each subject
that waits (`QUEUE_FACTOR`): when the database is slow or the queue long, refreshes become fewer,
and each of them counts more events.

The rules themselves are the scripts in `tasks/scripts/`: each runs in Redis as one step, by Redis's
clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, cast

import redis

from analytics.subjects import PREFIX, Subject

# One hash tag keeps the keys of a script in one slot.
DUE = PREFIX + "{refresh}:due"
COLD = PREFIX + "{refresh}:cold"
LEASES = PREFIX + "{refresh}:leases"
QUEUED = PREFIX + "{refresh}:queued"
PARKED = PREFIX + "{refresh}:parked"
STATISTICS = PREFIX + "{refresh}:statistics"
SUBJECT = PREFIX + "{refresh}:subject:"
LANES = [DUE, COLD, LEASES, QUEUED, PARKED, STATISTICS]

LEASE_MS = 3_000
MAXIMUM_QUEUED = 8
WARM_MS = 10_000
LONGEST_PARK_MS = 3_600_000
# A refresh of so many marks takes about twice as long as one of a single mark (measured: 10 ms and
# 0.7 ms a mark). Without it a busy course was caught in the longest window: one slow refresh made
# the next batch large, a large batch is slow, and so on for as long as the course was busy.
BATCH = 15
# A refresh that would take t ms for one mark asks for a window of t² / SLOWNESS_MS: 20 ms, usual on
# an embedded server, still fit the default window of 100; at 60 ms the database is saturated, and
# the window nears a second.
SLOWNESS_MS = 4
QUEUE_FACTOR = 3
LONGEST_GROWN_WINDOW_MS = 1_000
# Close together around the default window: most delays of a busy subject end just after it.
DELAY_BOUNDS_MS = (5, 10, 25, 50, 75, 100, 125, 150, 250, 500, 1_000, 2_500, 5_000, 10_000)

_CONSTANTS = {
    "LEASE_MS": LEASE_MS,
    "QUEUED": MAXIMUM_QUEUED,
    "WARM_MS": WARM_MS,
    "LONGEST_PARK_MS": LONGEST_PARK_MS,
    "BATCH": BATCH,
    "SLOWNESS_MS": SLOWNESS_MS,
    "QUEUE_FACTOR": QUEUE_FACTOR,
    "LONGEST_GROWN_WINDOW_MS": LONGEST_GROWN_WINDOW_MS,
    "DELAY_BOUNDS_MS": ", ".join(map(str, DELAY_BOUNDS_MS)),
    "SUBJECT_SECONDS": 600,
    "STATISTICS_SECONDS": 7 * 86_400,
}


@cache
def script(name: str, window_ms: int) -> str:
    """Return a script of `tasks/scripts/` with the common part and the constants filled in.

    No due time is honestly further ahead than the longest window.
    """
    longest_window = max(window_ms, LONGEST_GROWN_WINDOW_MS)
    folder = resources.files("tasks") / "scripts"
    text = "".join((folder / f"{part}.lua").read_text("utf-8") for part in ("common", name))
    for constant, value in (_CONSTANTS | {"LONGEST_WINDOW_MS": longest_window}).items():
        text = text.replace(f"@{constant}@", str(value))
    return text


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to refresh a subject; `fence` travels with the work."""

    subject: Subject
    fence: str


@dataclass(frozen=True, slots=True)
class Depth:
    """How many subjects are where, how long the oldest waits (ms), and what was counted so far."""

    statistics: dict[str, int]
    scheduled: int
    due: int
    cold: int
    leased: int
    queued: int
    parked: int
    oldest_due_ms: int
    oldest_cold_ms: int

    @classmethod
    def from_answer(cls, answer: list[Any]) -> Depth:
        """Read what the script `depth` returned."""
        *numbers, flat = answer
        pairs = zip(flat[::2], flat[1::2], strict=True)
        return cls({str(name): int(value) for name, value in pairs}, *map(int, numbers))


def delay_buckets(statistics: dict[str, int]) -> list[tuple[str, float]]:
    """Return the queue delays counted so far as a histogram: upper bound in seconds, how many."""
    total, buckets = 0, []
    for bound in (*DELAY_BOUNDS_MS, None):
        name = "inf" if bound is None else str(bound)
        total += statistics.get(f"delay:{name}", 0)
        buckets.append(("+Inf" if bound is None else str(bound / 1_000), float(total)))
    return buckets


class Coalescer:
    """The scripts as a worker calls them; `window_ms` is the shortest window."""

    def __init__(self, client: redis.Redis, window_ms: int) -> None:
        self._window_ms = window_ms

        def register(name: str) -> Any:
            return client.register_script(script(name, window_ms))

        self._mark = register("mark")
        self._take = register("take")
        self._start = register("start")
        self._renew = register("renew")
        self._finish = register("finish")
        self._park = register("park")
        self._depth = register("depth")

    def mark(self, subject: Subject, *, counts: bool = True) -> Lease | None:
        """Mark the subject stale; return the lease where the caller has to enqueue it.

        With `counts` false the subject is only woken if it is idle: the mark of a reconcile, which
        knows of work but not whether somebody is at it already.
        """
        fence = self._mark(keys=subject_keys(subject), args=[subject.name, int(counts)])
        return Lease(subject, str(fence)) if fence else None

    def take(self, count: int) -> tuple[list[Lease], int | None]:
        """Lease up to `count` subjects whose time or turn has come.

        Returns them and the ms until the next is due (None: nobody waits).
        """
        wait, *flat = cast("list[Any]", self._take(keys=LANES, args=[SUBJECT, count]))
        leases = [
            Lease(Subject.parse(name), fence)
            for name, fence in zip(flat[::2], flat[1::2], strict=True)
        ]
        return leases, None if int(wait) < 0 else int(wait)

    def start(self, lease: Lease) -> int | None:
        """Begin the refresh: return the marks it answers, None where the fence is stale."""
        arguments: list[str | int] = [lease.subject.name, lease.fence, self._window_ms]
        marks = int(cast("int", self._start(keys=subject_keys(lease.subject), args=arguments)))
        return None if marks < 0 else marks

    def renew(self, lease: Lease) -> bool:
        """Extend the lease; False where it is no longer held."""
        arguments = [lease.subject.name, lease.fence]
        return bool(self._renew(keys=subject_keys(lease.subject), args=arguments))

    def finish(
        self, lease: Lease, marks: int, *, failed: bool = False, delay_ms: int | None = None
    ) -> bool:
        """End the lease: due again if marks came meanwhile, or after `delay_ms` where given."""
        delay = -1 if delay_ms is None else delay_ms
        arguments: list[str | int] = [lease.subject.name, lease.fence, marks, int(failed), delay]
        arguments.append(self._window_ms)
        return bool(self._finish(keys=subject_keys(lease.subject), args=arguments))

    def park(self, subject: Subject, for_ms: int) -> None:
        """Let nobody lease the subject for so long, at most `LONGEST_PARK_MS`."""
        self._park(keys=subject_keys(subject), args=[subject.name, min(for_ms, LONGEST_PARK_MS)])

    def unpark(self, subject: Subject) -> None:
        """Let a parked subject be leased again by the next mark."""
        self._park(keys=subject_keys(subject), args=[subject.name, 0])

    def depth(self) -> Depth:
        """Return how many subjects wait, are leased and are parked."""
        return Depth.from_answer(cast("list[Any]", self._depth(keys=LANES)))


def subject_keys(subject: Subject) -> list[str]:
    """Return the keys of a script that is about one subject."""
    return [*LANES, SUBJECT + subject.name]
