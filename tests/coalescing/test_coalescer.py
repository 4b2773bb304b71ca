"""The coalescing scripts on a real server: edges, window, fences, fairness."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from analytics.subjects import PLATFORM, Subject
from tasks.coalescer import (
    DUE,
    LEASE_MS,
    LEASES,
    MAXIMUM_QUEUED,
    STATISTICS,
    Coalescer,
    Lease,
    subject_keys,
)
from tests.stack import eventually

COURSE = Subject("c")
LONG_WINDOW_MS = 30_000


@pytest.fixture
def coalescer(valkey: redis.Redis) -> Coalescer:
    """Return a coalescer whose window no test outlives."""
    return Coalescer(valkey, LONG_WINDOW_MS)


@pytest.fixture
def quick(valkey: redis.Redis) -> Coalescer:
    """Return a coalescer with a window that ends at once."""
    return Coalescer(valkey, 10)


def leased(coalescer: Coalescer, subject: Subject = COURSE) -> Lease:
    lease = coalescer.mark(subject)
    assert lease is not None
    return lease


def counts(coalescer: Coalescer) -> tuple[int, int]:
    """Return how many subjects wait and how many are leased."""
    depth = coalescer.depth()
    return depth.scheduled + depth.due + depth.cold, depth.leased


def let_end(valkey: redis.Redis, key: str, subject: Subject = COURSE) -> None:
    """Move a subject's lease or due time into the past, as if the time had gone by."""
    valkey.zadd(key, {subject.name: 1}, xx=True)


def test_the_first_mark_leads_and_the_next_ones_only_count(coalescer: Coalescer) -> None:
    leased(coalescer)
    assert [coalescer.mark(COURSE) for _ in range(100)] == [None] * 100
    assert counts(coalescer) == (0, 1)


def test_subjects_do_not_hold_each_other_up(coalescer: Coalescer) -> None:
    leased(coalescer)
    leased(coalescer, PLATFORM)
    leased(coalescer, Subject("platform"))


def test_a_mark_within_the_window_waits_for_its_end(coalescer: Coalescer) -> None:
    lease = leased(coalescer)
    marks = coalescer.start(lease)
    assert marks is not None
    coalescer.finish(lease, marks)
    assert coalescer.mark(COURSE) is None
    taken, wait = coalescer.take(10)
    assert taken == []
    assert wait is not None
    assert 0 < wait <= LONG_WINDOW_MS


def test_marks_during_a_refresh_are_followed_by_another(quick: Coalescer) -> None:
    lease = leased(quick)
    marks = quick.start(lease)
    assert marks is not None
    quick.mark(COURSE)
    quick.finish(lease, marks)
    [again] = eventually(lambda: quick.take(10)[0])
    assert again.subject == COURSE
    assert int(again.fence) > int(lease.fence)


def test_a_refresh_without_new_marks_is_the_last(quick: Coalescer) -> None:
    lease = leased(quick)
    marks = quick.start(lease)
    assert marks is not None
    assert quick.finish(lease, marks)
    assert counts(quick) == (0, 0)
    assert quick.take(10) == ([], None)


def test_a_lease_that_ends_unfinished_is_taken_over_and_its_fence_is_stale(
    coalescer: Coalescer, valkey: redis.Redis
) -> None:
    lease = leased(coalescer)
    let_end(valkey, LEASES)
    [heir], _ = coalescer.take(10)
    assert heir.subject == COURSE
    assert coalescer.start(lease) is None
    assert not coalescer.renew(lease)
    assert not coalescer.finish(lease, 1)
    assert coalescer.start(heir) == 1


def test_a_renewed_lease_is_not_taken_over(coalescer: Coalescer, valkey: redis.Redis) -> None:
    lease = leased(coalescer)
    before = valkey.zscore(LEASES, COURSE.name)
    valkey.zadd(LEASES, {COURSE.name: float(before or 0) - LEASE_MS / 2})
    assert coalescer.renew(lease)
    after = valkey.zscore(LEASES, COURSE.name)
    assert before is not None
    assert after is not None
    assert after >= before
    assert coalescer.take(10)[0] == []


def test_fences_are_never_used_again_after_redis_lost_everything(
    coalescer: Coalescer, valkey: redis.Redis
) -> None:
    lease = leased(coalescer)
    valkey.flushdb()
    later = leased(coalescer)
    assert int(later.fence) > int(lease.fence)
    assert coalescer.start(lease) is None


@pytest.mark.parametrize("key", [DUE, LEASES])
def test_a_time_absurdly_far_ahead_counts_as_now(
    coalescer: Coalescer, valkey: redis.Redis, key: str
) -> None:
    valkey.zadd(key, {COURSE.name: 10**15})
    [lease], _ = coalescer.take(10)
    assert lease.subject == COURSE


def test_a_failed_refresh_is_due_again_after_its_delay(quick: Coalescer) -> None:
    lease = leased(quick)
    marks = quick.start(lease)
    assert marks is not None
    quick.finish(lease, marks, delay_ms=0)
    assert [again.subject for again in quick.take(10)[0]] == [COURSE]


def test_waking_an_idle_subject_leads_and_a_busy_one_is_left_alone(quick: Coalescer) -> None:
    lease = quick.mark(COURSE, counts=False)
    assert lease is not None
    assert quick.mark(COURSE, counts=False) is None
    marks = quick.start(lease)
    assert marks is not None
    quick.finish(lease, marks)
    assert counts(quick) == (0, 0)


def test_the_queue_stays_short_and_the_rest_wait_in_order(coalescer: Coalescer) -> None:
    subjects = [Subject(f"c{number}") for number in range(3 * MAXIMUM_QUEUED)]
    first = [lease for subject in subjects if (lease := coalescer.mark(subject)) is not None]
    assert [lease.subject for lease in first] == subjects[:MAXIMUM_QUEUED]
    assert counts(coalescer) == (2 * MAXIMUM_QUEUED, MAXIMUM_QUEUED)

    served = {lease.subject for lease in finishing(coalescer, first)}
    assert served == set(subjects)


def finishing(coalescer: Coalescer, leases: list[Lease]) -> Iterator[Lease]:
    """Finish what is leased and take what waits until nothing does."""
    while leases:
        for lease in leases:
            marks = coalescer.start(lease)
            assert marks is not None
            coalescer.finish(lease, marks)
            yield lease
        leases, _ = coalescer.take(MAXIMUM_QUEUED)


def test_a_hot_subject_cannot_starve_a_waiting_one(quick: Coalescer) -> None:
    hot, cold = Subject("hot"), [Subject(f"cold{n}") for n in range(2 * MAXIMUM_QUEUED)]
    leases = [leased(quick, hot)]
    for subject in cold:
        lease = quick.mark(subject)
        if lease is not None:
            leases.append(lease)
    served = set()
    for _ in range(4):
        for lease in leases:
            marks = quick.start(lease)
            assert marks is not None
            quick.mark(hot)
            quick.finish(lease, marks)
            served.add(lease.subject)
        leases, _ = quick.take(MAXIMUM_QUEUED)
    assert set(cold) <= served


def serve(coalescer: Coalescer, lease: Lease) -> None:
    marks = coalescer.start(lease)
    assert marks is not None
    assert coalescer.finish(lease, marks)


def test_a_crowd_of_cold_subjects_leaves_a_hot_one_half_of_the_room(
    quick: Coalescer, valkey: redis.Redis
) -> None:
    hot = Subject("hot")
    serve(quick, leased(quick, hot))
    leases = [lease for n in range(500) if (lease := quick.mark(Subject(f"cold{n}")))]
    assert quick.depth().cold == 500 - MAXIMUM_QUEUED
    quick.mark(hot)
    eventually(lambda: quick.depth().due, what="the end of the hot subject's window")
    for lease in leases[:2]:
        serve(quick, lease)
    assert hot in {lease.subject for lease in quick.take(MAXIMUM_QUEUED)[0]}
    assert int(valkey.hget(STATISTICS, "refreshes") or 0) == 3


def test_hot_subjects_leave_a_cold_one_half_of_the_room(quick: Coalescer) -> None:
    hot = [Subject(f"hot{n}") for n in range(4 * MAXIMUM_QUEUED)]
    for subject in hot:
        serve(quick, leased(quick, subject))
    leases = [lease for subject in hot if (lease := quick.mark(subject))]
    eventually(lambda: quick.depth().scheduled == 0, what="the end of all windows")
    leases += quick.take(MAXIMUM_QUEUED)[0]
    assert quick.depth().queued == MAXIMUM_QUEUED
    assert quick.depth().due
    cold = Subject("cold")
    assert quick.mark(cold) is None
    taken: list[Subject] = []
    while quick.depth().cold:
        serve(quick, leases.pop(0))
        more, _ = quick.take(MAXIMUM_QUEUED)
        leases += more
        taken += [lease.subject for lease in more]
    assert cold in taken
    assert len(taken) <= 2


def test_a_parked_subject_waits_whoever_marks_it(quick: Coalescer) -> None:
    lease = leased(quick)
    marks = quick.start(lease)
    assert marks is not None
    quick.mark(COURSE)
    assert quick.finish(lease, marks, failed=True)
    quick.park(COURSE, 60_000)
    assert quick.depth().parked == 1
    assert quick.mark(COURSE) is None
    assert quick.mark(COURSE, counts=False) is None
    assert quick.take(10) == ([], None)
    quick.unpark(COURSE)
    again = eventually(
        lambda: quick.mark(COURSE, counts=False) or next(iter(quick.take(10)[0]), None)
    )
    assert again.subject == COURSE


def test_a_success_ends_the_parking(quick: Coalescer) -> None:
    lease = leased(quick)
    marks = quick.start(lease)
    assert marks is not None
    quick.park(COURSE, 60_000)
    assert not quick.finish(lease, marks), "parking takes the lease away"
    quick.unpark(COURSE)
    serve(quick, eventually(lambda: quick.mark(COURSE) or next(iter(quick.take(10)[0]), None)))
    assert quick.depth().parked == 0


def test_what_is_counted_can_be_read(quick: Coalescer) -> None:
    lease = leased(quick)
    for _ in range(4):
        quick.mark(COURSE)
    serve(quick, lease)
    counted = quick.depth().statistics
    assert counted["marks"] == 5
    assert counted["refreshes"] == 1
    assert sum(n for name, n in counted.items() if name.startswith("delay:")) == 1


def test_every_key_has_an_end(coalescer: Coalescer, valkey: redis.Redis) -> None:
    leased(coalescer)
    assert int(valkey.ttl(subject_keys(COURSE)[-1])) > 0
