"""Coalescing: refreshed at once, then once a window at most, and always after the last mark.

A subject is idle, *due* (waiting for its time) or *leased* (enqueued or running). A mark leases an
idle subject for its caller, who enqueues it; marks of a waiting or leased subject only count. When
a lease is finished and marks came meanwhile, the subject is due at the end of its window. A lease
that ends unfinished makes the subject due again. Each lease has a fence: a number never used again,
also after Redis lost everything; work that carries an older fence is dropped.

At most `MAXIMUM_QUEUED` subjects are enqueued and not started; the rest wait in `due`, first come
first served. So Celery's queue stays short enough for a lease, and neither a hot course nor ten
thousand cold ones can starve the others. The window of a subject grows with what its refresh took,
faster than in proportion (`SLOWNESS_MS`), and with that once more for each subject that waits
(`QUEUE_FACTOR`): when the database is slow or the queue long, refreshes become fewer, and each of
them counts more events.

Only Redis's clock counts. A time further ahead than its maximum (an older state was restored, the
clock was set back) counts as now.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import redis

from analytics.subjects import PREFIX, Subject

# One hash tag keeps the keys of a script in one slot.
DUE = PREFIX + "{refresh}:due"
LEASES = PREFIX + "{refresh}:leases"
QUEUED = PREFIX + "{refresh}:queued"
SUBJECT = PREFIX + "{refresh}:subject:"

LEASE_MS = 3_000
MAXIMUM_WINDOW_MS = 60_000
SUBJECT_SECONDS = 600
MAXIMUM_QUEUED = 8
# A refresh of t ms asks for a window of t² / SLOWNESS_MS: 20 ms, usual on an embedded server, still
# fit the default window of 100; at 60 ms the database is saturated, and the window nears a second.
SLOWNESS_MS = 4
QUEUE_FACTOR = 3
LONGEST_GROWN_WINDOW_MS = 1_000

_COMMON = """
local now_parts = redis.call('TIME')
local now_us = now_parts[1] * 1000000 + now_parts[2]
local now = math.floor(now_us / 1000)
local due_key, leases_key, queued_key = KEYS[1], KEYS[2], KEYS[3]
local lease_ms, maximum_window, maximum_queued = @LEASE_MS@, @WINDOW_MS@, @QUEUED@

local function lease(subject_key, subject)
  local fence = tonumber(redis.call('HGET', subject_key, 'fence') or '0') + 1
  if fence < now_us then fence = now_us end
  redis.call('HSET', subject_key, 'fence', string.format('%.0f', fence))
  redis.call('EXPIRE', subject_key, @SECONDS@)
  redis.call('ZADD', leases_key, now + lease_ms, subject)
  redis.call('ZADD', queued_key, now + lease_ms, subject)
  redis.call('ZREM', due_key, subject)
  return string.format('%.0f', fence)
end

local function leased(subject)
  local ends = tonumber(redis.call('ZSCORE', leases_key, subject) or '0')
  return ends > now and ends - now <= lease_ms
end

local function room()
  redis.call('ZREMRANGEBYSCORE', queued_key, '-inf', now)
  redis.call('ZREMRANGEBYSCORE', queued_key, now + lease_ms + 1, '+inf')
  return maximum_queued - redis.call('ZCARD', queued_key)
end

local function holds(subject_key, subject, fence)
  return redis.call('HGET', subject_key, 'fence') == fence
    and redis.call('ZSCORE', leases_key, subject) ~= false
end
"""


def _script(body: str) -> str:
    """Return a script with the common part and the constants above filled in."""
    constants = {
        "LEASE_MS": LEASE_MS,
        "WINDOW_MS": MAXIMUM_WINDOW_MS,
        "QUEUED": MAXIMUM_QUEUED,
        "SLOWNESS_MS": SLOWNESS_MS,
        "QUEUE_FACTOR": QUEUE_FACTOR,
        "GROWN_MS": LONGEST_GROWN_WINDOW_MS,
        "SECONDS": SUBJECT_SECONDS,
    }
    text = _COMMON + body
    for name, value in constants.items():
        text = text.replace(f"@{name}@", str(value))
    return text


# KEYS: due, leases, queued, subject. ARGV: subject, window ms, 1 to count a mark (0: only wake).
# Returns the fence where the caller has to enqueue, else "".
MARK = _script("""
local subject, window = ARGV[1], tonumber(ARGV[2])
if ARGV[3] == '1' then
  redis.call('HINCRBY', KEYS[4], 'marks', 1)
  redis.call('EXPIRE', KEYS[4], @SECONDS@)
end
if leased(subject) then return '' end
local due = tonumber(redis.call('ZSCORE', due_key, subject) or '0')
if due > now and due - now <= maximum_window then return '' end
local free_at = tonumber(redis.call('HGET', KEYS[4], 'free_at') or '0')
if free_at > now and free_at - now <= maximum_window then
  redis.call('ZADD', due_key, free_at, subject)
  return ''
end
if room() <= 0 then
  redis.call('ZADD', due_key, 'NX', now, subject)
  return ''
end
return lease(KEYS[4], subject)
""")

# KEYS: due, leases, queued. ARGV: the prefix of subject keys, how many at most.
# Returns [milliseconds until the next is due or -1, subject, fence, subject, fence, …].
TAKE = _script("""
local ended = redis.call('ZRANGEBYSCORE', leases_key, '-inf', now, 'LIMIT', 0, 100)
for _, subject in ipairs(ended) do
  redis.call('ZREM', leases_key, subject)
  redis.call('ZADD', due_key, now, subject)
end
local odd = redis.call('ZRANGEBYSCORE', leases_key, now + lease_ms + 1, '+inf', 'LIMIT', 0, 100)
for _, subject in ipairs(odd) do
  redis.call('ZREM', leases_key, subject)
  redis.call('ZADD', due_key, now, subject)
end
local far = redis.call('ZRANGEBYSCORE', due_key, now + maximum_window + 1, '+inf', 'LIMIT', 0, 100)
for _, subject in ipairs(far) do redis.call('ZADD', due_key, now, subject) end
local count = math.min(room(), tonumber(ARGV[2]))
local answer = {-1}
if count > 0 then
  local ready = redis.call('ZRANGEBYSCORE', due_key, '-inf', now, 'LIMIT', 0, count)
  for _, subject in ipairs(ready) do
    answer[#answer + 1] = subject
    answer[#answer + 1] = lease(ARGV[1] .. subject, subject)
  end
end
local first = redis.call('ZRANGE', due_key, 0, 0, 'WITHSCORES')
if first[2] then answer[1] = math.max(0, tonumber(first[2]) - now) end
return answer
""")

# KEYS: due, leases, queued, subject. ARGV: subject, fence, window ms.
# Returns the marks seen at the start, or -1 where the fence is stale.
START = _script("""
if redis.call('HGET', KEYS[4], 'fence') ~= ARGV[2] then return -1 end
redis.call('ZADD', leases_key, now + lease_ms, ARGV[1])
redis.call('ZREM', due_key, ARGV[1])
redis.call('ZREM', queued_key, ARGV[1])
redis.call('HSET', KEYS[4], 'started', now, 'free_at', now + tonumber(ARGV[3]))
return tonumber(redis.call('HGET', KEYS[4], 'marks') or '0')
""")

# KEYS: due, leases, queued, subject. ARGV: subject, fence. Returns 1 where the lease is still held.
RENEW = _script("""
if not holds(KEYS[4], ARGV[1], ARGV[2]) then return 0 end
redis.call('ZADD', leases_key, 'XX', now + lease_ms, ARGV[1])
return 1
""")

# KEYS: due, leases, queued, subject. ARGV: subject, fence, marks at start, delay ms or -1, window
# ms. A delay asks for another refresh in any case. Returns 1 where the lease was still held.
FINISH = _script("""
if not holds(KEYS[4], ARGV[1], ARGV[2]) then return 0 end
redis.call('ZREM', leases_key, ARGV[1])
local delay, window = tonumber(ARGV[4]), tonumber(ARGV[5])
local started = tonumber(redis.call('HGET', KEYS[4], 'started') or '0')
local took = math.max(0, now - started)
local waiting = redis.call('ZCOUNT', due_key, '-inf', now)
local grown = took * took / @SLOWNESS_MS@ + took * waiting * @QUEUE_FACTOR@
local free_at = started + math.max(window, math.min(grown, @GROWN_MS@))
if free_at - now > maximum_window then free_at = now end
redis.call('HSET', KEYS[4], 'free_at', free_at)
local marks = tonumber(redis.call('HGET', KEYS[4], 'marks') or '0')
if delay >= 0 then
  redis.call('ZADD', due_key, now + delay, ARGV[1])
elseif marks ~= tonumber(ARGV[3]) then
  redis.call('ZADD', due_key, math.max(now, free_at), ARGV[1])
end
return 1
""")


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to refresh a subject; `fence` travels with the work."""

    subject: Subject
    fence: str


class Coalescer:
    """The scripts as a worker calls them."""

    def __init__(self, client: redis.Redis, window_ms: int) -> None:
        self._window_ms = window_ms
        self._client = client
        self._mark = client.register_script(MARK)
        self._take = client.register_script(TAKE)
        self._start = client.register_script(START)
        self._renew = client.register_script(RENEW)
        self._finish = client.register_script(FINISH)

    def mark(self, subject: Subject, *, counts: bool = True) -> Lease | None:
        """Mark the subject stale; return the lease where the caller has to enqueue it.

        With `counts` false the subject is only woken if it is idle: the mark of a reconcile, which
        knows of work but not whether somebody is at it already.
        """
        fence = self._mark(
            keys=subject_keys(subject), args=[subject.name, self._window_ms, int(counts)]
        )
        return Lease(subject, str(fence)) if fence else None

    def take(self, count: int) -> tuple[list[Lease], int | None]:
        """Lease up to `count` due subjects; return them and the ms until the next is due."""
        wait, *flat = cast(
            "list[Any]", self._take(keys=[DUE, LEASES, QUEUED], args=[SUBJECT, count])
        )
        leases = [
            Lease(Subject.parse(name), fence)
            for name, fence in zip(flat[::2], flat[1::2], strict=True)
        ]
        return leases, None if int(wait) < 0 else int(wait)

    def start(self, lease: Lease) -> int | None:
        """Begin the refresh: return the marks it answers, None where the fence is stale."""
        marks = int(
            cast(
                "int",
                self._start(
                    keys=subject_keys(lease.subject),
                    args=[lease.subject.name, lease.fence, self._window_ms],
                ),
            )
        )
        return None if marks < 0 else marks

    def renew(self, lease: Lease) -> bool:
        """Extend the lease; False where it is no longer held."""
        return bool(
            self._renew(keys=subject_keys(lease.subject), args=[lease.subject.name, lease.fence])
        )

    def finish(self, lease: Lease, marks: int, *, delay_ms: int | None = None) -> bool:
        """End the lease: due again if marks came meanwhile, or after `delay_ms` where given."""
        return bool(
            self._finish(
                keys=subject_keys(lease.subject),
                args=[
                    lease.subject.name,
                    lease.fence,
                    marks,
                    -1 if delay_ms is None else delay_ms,
                    self._window_ms,
                ],
            )
        )

    def depth(self) -> tuple[int, int]:
        """Return how many subjects wait and how many are leased."""
        return self._client.zcard(DUE), self._client.zcard(LEASES)


def subject_keys(subject: Subject) -> list[str]:
    """Return the keys of a subject's scripts."""
    return [DUE, LEASES, QUEUED, SUBJECT + subject.name]
