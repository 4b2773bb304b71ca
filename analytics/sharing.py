"""One read for all who ask for the same thing at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class SharedReads(Generic[K, V]):
    """Reads by key; whoever asks while a read is on its way waits for it or for the next one."""

    def __init__(self, read: Callable[[K], Awaitable[V]]) -> None:
        self._read = read
        self._running: dict[K, asyncio.Task[V]] = {}

    async def join(self, key: K) -> V:
        """Return what a read on its way, or a new one, finds."""
        reading = self._running.get(key)
        if reading is None:
            reading = asyncio.ensure_future(self._begin(key))
            self._running[key] = reading
            reading.add_done_callback(lambda _: self._running.pop(key, None))
        # A caller that goes away must not take the read from the others.
        return await asyncio.shield(reading)

    async def after(self, key: K) -> V:
        """Return what a read finds that began after this call."""
        reading = self._running.get(key)
        if reading is not None:
            await asyncio.wait([reading])
        return await self.join(key)

    async def _begin(self, key: K) -> V:
        return await self._read(key)
