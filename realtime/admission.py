"""Handshakes in turn: a crowd that reconnects at once leaves the loop to those already there.

A handshake costs about a hundred times what a frame does. At most a few begin in each tick; the
others wait, as bytes. The loop paces it by itself too: where a tick comes late, no more begin.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

TICK_SECONDS = 0.008


class Admission:
    """Begins handshakes at a rate; one per process."""

    def __init__(self, per_second: int) -> None:
        self._tick_seconds = max(TICK_SECONDS, 1 / per_second)
        self._batch = max(1, round(per_second * self._tick_seconds))
        self._room = 0
        self._ticking = False
        self._waiting: deque[Callable[[], None]] = deque()

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._waiting)

    def enter(self, begin: Callable[[], None]) -> None:
        """Call `begin` now or when its turn comes."""
        if not self._ticking:
            self._room = self._batch
            self._tick_later()
        if self._room and not self._waiting:
            self._room -= 1
            begin()
        else:
            self._waiting.append(begin)

    def _tick_later(self) -> None:
        self._ticking = True
        asyncio.get_running_loop().call_later(self._tick_seconds, self._tick)

    def _tick(self) -> None:
        if self._room == self._batch and not self._waiting:
            self._ticking = False  # nobody came since the last tick
            return
        self._room = self._batch
        self._tick_later()
        while self._room and self._waiting:
            self._room -= 1
            self._waiting.popleft()()
