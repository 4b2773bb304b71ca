"""What must hold over all hub processes: seats of a user, and one WebSocket per instructor.

Redis holds it, and may lose it at any time: each process knows its own part, renews its lease every
second, looks at its claims, and writes everything again where its lease was lost. Without Redis the
limits hold within each process, and claims meet when it is back.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib.resources import files
from typing import Any, cast

import redis.asyncio
from redis.exceptions import RedisError

from analytics.errors import TooMany
from analytics.subjects import HUBS, INSTRUCTOR_CLAIMS, place_key, seats_key

RENEW_SECONDS = 1.0
LEASE_SECONDS = 4
PLACE_SECONDS = 60
SEATS_SECONDS = 900
REWRITE_SECONDS = 300.0
BATCH = 500
FAILURES = (RedisError, OSError, TimeoutError)

log = logging.getLogger(__name__)

OnReplaced = Callable[[], None]


class Registry:
    """This process's seats and claims, and their agreement with the other processes'."""

    def __init__(self, client: redis.asyncio.Redis, per_user: int, name: str | None = None) -> None:
        self._client = client
        self._per_user = per_user
        # A process that comes back under its old name takes its old seats over at once.
        self._name = name or secrets.token_hex(8)
        self._seats: Counter[str] = Counter()
        self._claims: dict[str, tuple[str, OnReplaced]] = {}
        self._told: set[str] = set()  # users whose seats Redis must be told
        self._telling: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._rewritten = 0.0
        scripts = files("realtime") / "scripts"
        self._seat = client.register_script((scripts / "seat.lua").read_text())
        self._hold = client.register_script((scripts / "claims.lua").read_text())

    def start(self) -> None:
        """Begin to keep the lease."""
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Give all seats back at once."""
        for task in (self._keeper, self._telling):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        with suppress(*FAILURES):  # the lease ends by itself
            await self._client.zrem(HUBS, self._name)

    # Seats

    async def take_seat(self, sub: str) -> None:
        """Take one of the user's seats; raise `TooMany` where all are taken."""
        self._seats[sub] += 1
        mine = self._seats[sub]
        try:
            limits = (self._per_user, LEASE_SECONDS, SEATS_SECONDS)
            run = self._seat(keys=[seats_key(sub), HUBS], args=[self._name, mine, *limits])
            taken = bool(await cast("Awaitable[int]", run))
        except FAILURES:
            taken = mine <= self._per_user  # what this process knows is all there is for now
        except asyncio.CancelledError:
            self.leave_seat(sub)
            raise
        if not taken:
            self.leave_seat(sub)
            raise TooMany(f"A user has at most {self._per_user} connections; close one, or wait.")
        if self._seats[sub] != mine:  # another came or went meanwhile, and may have been told first
            self._tell_soon(sub)

    def leave_seat(self, sub: str) -> None:
        """Give a seat back; Redis is told in a moment."""
        self._seats[sub] -= 1
        if self._seats[sub] <= 0:
            del self._seats[sub]
        self._tell_soon(sub)

    def _tell_soon(self, sub: str) -> None:
        self._told.add(sub)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        while self._told:
            some = [self._told.pop() for _ in range(min(BATCH, len(self._told)))]
            try:
                await self._write(some)
            except FAILURES as error:
                log.debug("seats are written again with the next lease: %s", error)
                self._told.update(some)
                self._rewritten = 0.0
                return

    async def _write(self, users: list[str]) -> None:
        """Write this process's present number of connections of each of the users."""
        pipeline = self._client.pipeline(transaction=False)
        for sub in users:
            mine = self._seats[sub]
            if mine:
                pipeline.hset(seats_key(sub), self._name, str(mine))
                pipeline.expire(seats_key(sub), SEATS_SECONDS)
            else:
                pipeline.hdel(seats_key(sub), self._name)
        await pipeline.execute()

    # Claims

    async def claim(self, place: str, on_replaced: OnReplaced) -> str:
        """Make this connection the place's only one, everywhere; return the claim.

        A claim is a time of Redis's clock, so that all agree on which is newer.
        """
        try:
            token = _token(*await self._client.time())
        except FAILURES:
            now = time.time_ns() // 1_000
            token = _token(now // 1_000_000, now % 1_000_000)
        older = self._claims.get(place)
        self._claims[place] = (token, on_replaced)
        if older is not None:
            older[1]()
        try:
            await self._hold_claims([place])
            message = json.dumps({"place": place, "token": token})
            await self._client.publish(INSTRUCTOR_CLAIMS, message)
        except FAILURES as error:
            log.debug("a claim is said again with the next lease: %s", error)
        except asyncio.CancelledError:
            self.release(place, token)
            raise
        return token

    def release(self, place: str, token: str) -> None:
        """Give the place up, unless a newer connection has it."""
        if place in self._claims and self._claims[place][0] == token:
            del self._claims[place]

    def heard_claim(self, text: str) -> None:
        """Hear of a claim made in any process; give way where it is a newer one."""
        claim = json.loads(text)
        self._give_way(claim["place"], claim["token"])

    def _give_way(self, place: str, token: str) -> None:
        held = self._claims.get(place)
        if held is not None and held[0] < token:
            del self._claims[place]
            held[1]()

    async def _hold_claims(self, places: list[str]) -> None:
        held = [(place, self._claims[place][0]) for place in places if place in self._claims]
        if not held:
            return
        keys = [place_key(place) for place, _ in held]
        run = self._hold(keys=keys, args=[PLACE_SECONDS, *(token for _, token in held)])
        standing = await cast("Awaitable[list[str]]", run)
        for (place, mine), token in zip(held, standing, strict=True):
            claim = self._claims.get(place)
            if token != mine and claim is not None and claim[0] == mine:
                del self._claims[place]
                claim[1]()

    # Keeping

    async def _keep(self) -> None:
        while True:
            try:
                await self._renew()
            except FAILURES as error:
                log.debug("the hub's lease is not renewed: %s", error)
            except Exception:
                # Seats and claims rest on this task: whatever it was, it must go on.
                log.exception("the hub's lease is not renewed")
            await asyncio.sleep(RENEW_SECONDS)

    async def _renew(self) -> None:
        seconds, _ = await self._client.time()
        is_new = await self._client.zadd(HUBS, {self._name: int(seconds) + LEASE_SECONDS})
        await self._client.zremrangebyscore(HUBS, "-inf", int(seconds) - LEASE_SECONDS)
        if is_new or time.monotonic() - self._rewritten > REWRITE_SECONDS:
            untold, self._told = self._told, set()
            try:
                for users in _batches(list(self._seats.keys() | untold)):
                    await self._write(users)
            except FAILURES:
                self._told |= untold
                raise
            self._rewritten = time.monotonic()
        for places in _batches(list(self._claims)):
            await self._hold_claims(places)


def _token(seconds: Any, microseconds: Any) -> str:
    return f"{int(seconds):012d}.{int(microseconds):06d}"


def _batches(names: list[str]) -> list[list[str]]:
    return [names[start : start + BATCH] for start in range(0, len(names), BATCH)]
