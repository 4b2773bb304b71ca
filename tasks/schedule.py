"""Beat's scheduler: redbeat's, which goes on after Redis lost its lock, its entries or itself.

redbeat keeps the schedule in Redis, beside a lock for the one beat that sends. Left to itself it
ends when the lock or Redis goes; one that waited for the lock of an emptied Redis sends nothing at
all; and a clock that was set back by an hour stops the schedule for an hour.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import structlog
from redbeat.decoder import to_timestamp
from redbeat.schedulers import LUA_EXTEND_TO_SCRIPT, RedBeatScheduler, get_redis
from redis.exceptions import LockError, RedisError

log = structlog.get_logger(__name__)


class Schedule(RedBeatScheduler):  # type: ignore[misc]  # redbeat ships no types
    """The schedule of `celeryconfig.py`, sent by whichever beat holds the lock."""

    lock: Any = None
    _troubled = False

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due if the lock is ours; return the seconds until the next look."""
        try:
            if self.lock is None and not self._take_lock():
                return float(self.max_interval)
            self._mend()
            wait = float(super().tick(*args, **kwargs))
        except LockError:
            self.lock = None  # taken again by the next look, unless another beat was quicker
            log.warning("the schedule's lock was lost")
            return 0.0
        except RedisError as error:
            if not self._troubled:
                log.warning("the schedule waits for Redis", error=str(error))
            self._troubled = True
            return float(self.max_interval)
        if self._troubled:
            log.info("the schedule goes on")
        self._troubled = False
        return wait

    def close(self) -> None:
        """Give the lock back; where Redis is away it ends by itself."""
        try:
            super().close()
        except RedisError as error:
            log.warning("the schedule's lock was not given back", error=str(error))

    def _take_lock(self) -> bool:
        """Take the lock as redbeat does at the start, but without waiting for it."""
        client = get_redis(self.app)
        lock = client.lock(self.lock_key, timeout=self.lock_timeout)
        lock.lua_extend = client.register_script(LUA_EXTEND_TO_SCRIPT)
        if not lock.acquire(blocking=False):
            return False
        self.lock = lock
        log.info("the schedule's lock was taken")
        return True

    def _mend(self) -> None:
        """Put back the entries that Redis lost, and start those anew that wait for too long."""
        configured = self.app.redbeat_conf.schedule
        keys = {name: self.Entry.generate_key(self.app, name) for name in configured}
        if not keys:
            return
        schedule_key = self.app.redbeat_conf.schedule_key
        due_times = get_redis(self.app).zmscore(schedule_key, list(keys.values()))
        if None in due_times:
            log.warning("the schedule was lost in Redis and is put back")
            self.setup_schedule()
            return
        now: datetime = self.app.now()
        for (name, key), due in zip(keys.items(), due_times, strict=True):
            schedule = self._maybe_entry(name, dict(configured[name])).schedule
            if due > to_timestamp(now + schedule.remaining_estimate(now)) + self.max_interval:
                log.warning("the clock was set back; an entry starts anew", entry=name)
                self.Entry.from_key(key, app=self.app).reschedule(now)
