"""The schedule: real beats on a real Valkey, and what is done to them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from tests.stack import eventually
from tests.whole.beats import ENTRY, LOCK, QUEUE, RAN, SCHEDULE, Clockwork

HOUR = 3_600.0


def two_beats(clockwork: Clockwork) -> tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]:
    """Start two beats; return the one that sends and the one that stands by."""
    beats = clockwork.beat(), clockwork.beat()
    sender = clockwork.sends(1).senders[-1]
    eventually(lambda: clockwork.logs().count("beat: Starting...") == 2, what="both at work")
    return beats if beats[0].pid == sender else beats[::-1]


def last_run(clockwork: Clockwork, at: datetime) -> None:
    """Write when the entry ran last, and make the next look find it due then."""
    parts = {name: getattr(at, name) for name in ("year", "month", "day", "hour", "minute")}
    stamp = {"__type__": "datetime", **parts, "second": at.second, "microsecond": 0}
    meta = {"last_run_at": stamp, "total_run_count": 0}
    with clockwork.client() as client:
        client.hset(ENTRY, "meta", json.dumps(meta))
        client.zadd(SCHEDULE, {ENTRY: at.timestamp()})


def test_of_two_beats_one_sends_and_nothing_is_sent_twice(clockwork: Clockwork) -> None:
    sender, _ = two_beats(clockwork)
    sent = clockwork.sends(10)
    assert set(sent.senders) == {sender.pid}
    assert sent.counted - 1 <= len(sent.senders) <= sent.counted


def test_the_other_beat_takes_over_from_one_that_is_killed(clockwork: Clockwork) -> None:
    sender, standby = two_beats(clockwork)
    sender.kill()
    sent = clockwork.sends(5, by=standby)
    assert len(sent.senders) <= sent.counted
    first = sent.senders.index(standby.pid)
    assert set(sent.senders[first:]) == {standby.pid}


def test_a_beat_that_was_frozen_gives_way_to_the_other(clockwork: Clockwork) -> None:
    sender, standby = two_beats(clockwork)
    os.kill(sender.pid, signal.SIGSTOP)
    clockwork.sends(3, by=standby)
    os.kill(sender.pid, signal.SIGCONT)
    eventually(lambda: "lock was lost" in clockwork.logs(), what="the older beat's notice")
    before = clockwork.sent().senders.count(sender.pid)
    assert clockwork.sends(5, by=standby).senders.count(sender.pid) == before
    assert sender.poll() is None, "it stands by"


def test_intervals_that_nobody_sent_in_are_caught_up_once(clockwork: Clockwork) -> None:
    clockwork.variables["TICK_SECONDS"] = str(HOUR)
    first = clockwork.beat()
    eventually(lambda: "Acquired lock" in clockwork.logs(), what="the schedule")
    first.terminate()
    first.wait(10)
    last_run(clockwork, datetime.now(UTC) - timedelta(hours=100))
    second = clockwork.beat()
    assert clockwork.sends(1, by=second).counted == 1
    with clockwork.client() as client:
        # Each of its looks extends the lock: three more of them, and nothing more was sent.
        for _ in range(3):
            assert client.pexpire(LOCK, 4_000)
            eventually(lambda: client.pttl(LOCK) > 4_000, what="a look")
    assert clockwork.sent().senders == [second.pid]
    assert clockwork.sent().counted == 1


def test_a_clock_set_back_does_not_stop_the_schedule(clockwork: Clockwork) -> None:
    beat = clockwork.beat()
    clockwork.sends(1, by=beat)
    last_run(clockwork, datetime.now(UTC) + timedelta(hours=1))
    clockwork.sends(3, by=beat)


def test_an_emptied_redis_gets_its_schedule_back(clockwork: Clockwork) -> None:
    beat = clockwork.beat()
    clockwork.sends(2, by=beat)
    with clockwork.client() as client:
        client.flushall()
    clockwork.sends(3, by=beat)


def test_a_beat_that_inherits_an_emptied_redis_sends(clockwork: Clockwork) -> None:
    sender, standby = two_beats(clockwork)
    sender.kill()
    sender.wait(10)
    with clockwork.client() as client:
        client.flushall()
    clockwork.sends(3, by=standby)


@pytest.mark.parametrize("lost", [ENTRY, SCHEDULE])
def test_a_lost_entry_comes_back(clockwork: Clockwork, lost: str) -> None:
    beat = clockwork.beat()
    clockwork.sends(2, by=beat)
    with clockwork.client() as client:
        client.delete(lost)
    clockwork.sends(3, by=beat)


def test_a_beat_outlives_a_redis_that_restarts(clockwork: Clockwork) -> None:
    beat = clockwork.beat()
    clockwork.sends(2, by=beat)
    assert clockwork.valkey is not None
    clockwork.valkey.kill()
    clockwork.valkey.wait(10)
    eventually(lambda: "waits for Redis" in clockwork.logs(), seconds=30, what="the notice")
    clockwork.start_valkey()
    clockwork.sends(3, by=beat)
    assert beat.poll() is None


def test_a_beat_goes_on_after_redis_was_frozen(clockwork: Clockwork) -> None:
    beat = clockwork.beat()
    clockwork.sends(2, by=beat)
    assert clockwork.valkey is not None
    os.kill(clockwork.valkey.pid, signal.SIGSTOP)
    eventually(lambda: "waits for Redis" in clockwork.logs(), seconds=30, what="the notice")
    os.kill(clockwork.valkey.pid, signal.SIGCONT)
    clockwork.sends(3, by=beat)


def test_a_task_that_waited_past_its_expiry_is_not_run(clockwork: Clockwork) -> None:
    beat = clockwork.beat()
    clockwork.sends(5, by=beat)
    beat.kill()
    beat.wait(10)
    expires = clockwork.sent().expires
    newest = datetime.fromisoformat(max(expires))
    eventually(lambda: datetime.now(UTC) > newest, what="the newest one's expiry")
    clockwork.celery("worker", "--concurrency=1", "--loglevel=INFO", "--hostname=late@%h")
    with clockwork.client() as client:
        eventually(lambda: client.llen(QUEUE) == 0, seconds=30, what="an empty queue")
        fresh = clockwork.celery("call", "tests.tick")
        assert fresh.wait(30) == 0
        eventually(lambda: client.get(RAN) is not None, seconds=30, what="a task that ran")
        assert client.get(RAN) == "1", f"{len(expires)} had expired"
