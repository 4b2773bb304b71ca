"""One connected viewer: a mailbox of size one before its socket.

The newest frame replaces an unsent one (conflation), versions only grow, and a socket that takes
nothing for `STALLED_SECONDS` is given up. A sender task exists only while something is being sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from analytics.messages import Frame

STALLED_SECONDS = 10.0

Send = Callable[[str], Awaitable[None]]


class Viewer:
    """A viewer of one subject."""

    def __init__(self, send: Send, on_stalled: Callable[[], None]) -> None:
        self._send = send
        self._on_stalled = on_stalled
        self._mailbox: Frame | None = None
        self._sender: asyncio.Task[None] | None = None
        self.version = -1
        """The newest version handed over; an older or equal frame is dropped."""

    def offer(self, frame: Frame) -> None:
        """Put the frame into the mailbox if it is newer than everything before."""
        if frame.version <= self.version:
            return
        self.version = frame.version
        self._mailbox = frame
        if self._sender is None:
            self._sender = asyncio.create_task(self._drain())

    def close(self) -> None:
        """Stop sending."""
        self._mailbox = None
        if self._sender is not None:
            self._sender.cancel()

    async def _drain(self) -> None:
        try:
            while (frame := self._mailbox) is not None:
                self._mailbox = None
                async with asyncio.timeout(STALLED_SECONDS):
                    await self._send(frame.text)
        except TimeoutError:
            self._on_stalled()
        except (RuntimeError, OSError):
            # The connection ended under the send; its reader notices too and cleans up.
            self._mailbox = None
        finally:
            self._sender = None
