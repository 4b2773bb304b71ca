"""One Redis subscription for the whole process: channels come and go with their viewers.

A subscription is waited for until Redis confirms it, so that what is read afterwards misses
nothing. A connection that breaks, or is silent although pinged, is made anew with all channels;
`on_interrupted` tells the hub that something may be missed, `on_reconnected` to read it all again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import redis.asyncio
from redis.exceptions import RedisError

from analytics.settings import Settings
from analytics.stores.redis import connect_feed

PING_SECONDS = 2.0
SILENCE_SECONDS = 4.0
RECONNECT_SECONDS = 0.25
CONFIRM_SECONDS = 1.0

log = logging.getLogger(__name__)

Handler = Callable[[str], None]


class Feed:
    """Subscribes to channels and hands their messages to handlers."""

    def __init__(
        self,
        settings: Settings,
        on_interrupted: Callable[[], None],
        on_reconnected: Callable[[], Awaitable[None]],
    ) -> None:
        self._client: redis.asyncio.Redis = connect_feed(settings)
        self._on_interrupted = on_interrupted
        self._on_reconnected = on_reconnected
        self.interruptions = 0
        """How often something may have been missed."""
        self._handlers: dict[str, Handler] = {}
        self._confirmed: dict[str, asyncio.Event] = {}
        self._pubsub: Any = None
        self._task: asyncio.Task[None] | None = None
        self._trouble_told = False

    def start(self, handlers: dict[str, Handler]) -> None:
        """Begin to listen; `handlers` are the channels that every process listens to."""
        self._handlers.update(handlers)
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._client.aclose()

    async def subscribe(self, channel: str, handler: Handler) -> bool:
        """Listen to a channel too; say whether Redis confirmed it in time.

        Where it did not, that happens when Redis is back, and `on_reconnected` follows.
        """
        self._handlers[channel] = handler
        confirmed = self._confirmed.setdefault(channel, asyncio.Event())
        try:
            async with asyncio.timeout(CONFIRM_SECONDS):
                if self._pubsub is not None:
                    with suppress(RedisError, OSError):  # the reader notices it as well
                        await self._pubsub.subscribe(channel)
                await confirmed.wait()
        except TimeoutError:
            return False
        return True

    async def unsubscribe(self, channel: str) -> None:
        """Stop listening to a channel."""
        self._handlers.pop(channel, None)
        self._confirmed.pop(channel, None)
        if self._pubsub is not None:
            with suppress(RedisError, OSError, TimeoutError):  # as above
                async with asyncio.timeout(CONFIRM_SECONDS):
                    await self._pubsub.unsubscribe(channel)

    async def _run(self) -> None:
        reconnecting = False
        while True:
            try:
                await self._listen(reconnecting=reconnecting)
            except (RedisError, OSError, TimeoutError) as error:
                if not self._trouble_told:
                    log.warning("the feed is interrupted, reconnecting: %s", error)
                    self._trouble_told = True
            except Exception:
                # Every screen rests on this task: whatever it was, it must go on.
                log.exception("the feed failed, reconnecting")
            reconnecting = True
            self.interruptions += 1
            for confirmed in self._confirmed.values():
                confirmed.clear()
            self._on_interrupted()
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _listen(self, *, reconnecting: bool) -> None:
        loop = asyncio.get_running_loop()
        pubsub: Any = self._client.pubsub()
        try:
            async with asyncio.timeout(SILENCE_SECONDS):  # the line may be dead already
                await self._subscribe_all(pubsub)
            # Not before: by `subscribe` it would open a second connection beside this one.
            self._pubsub = pubsub
            told = not reconnecting
            heard = pinged = loop.time()
            while True:
                async with asyncio.timeout(SILENCE_SECONDS):
                    message = await pubsub.get_message(timeout=PING_SECONDS / 2)
                now = loop.time()
                if message is not None:
                    heard = now
                    if not told and message["type"] == "subscribe":
                        told = True
                        self._trouble_told = False
                        log.info("the feed is back")
                        # Not awaited here: it reads, and this loop must go on hearing.
                        self._reading = asyncio.ensure_future(self._on_reconnected())
                    self._handle(message)
                elif now - heard > SILENCE_SECONDS:
                    raise TimeoutError("Redis is silent")
                if now - pinged > PING_SECONDS:
                    pinged = now
                    async with asyncio.timeout(SILENCE_SECONDS):
                        await pubsub.ping()
        finally:
            self._pubsub = None
            with suppress(RedisError, OSError, TimeoutError):  # it may be broken already
                async with asyncio.timeout(CONFIRM_SECONDS):
                    await pubsub.aclose()

    async def _subscribe_all(self, pubsub: Any) -> None:
        """Subscribe to all channels, and to those that are asked for meanwhile."""
        asked: set[str] = set()
        while new := self._handlers.keys() - asked:
            asked |= new
            await pubsub.subscribe(*new)

    def _handle(self, message: dict[str, Any]) -> None:
        channel = message["channel"]
        if message["type"] == "subscribe":
            confirmed = self._confirmed.get(channel)
            if confirmed is not None:
                confirmed.set()
        elif message["type"] == "message":
            handler = self._handlers.get(channel)
            if handler is not None:
                try:
                    handler(message["data"])
                except Exception:
                    # Anybody with access to Redis can publish; the next message is not to blame.
                    log.exception("a message of %s was not understood", channel)
