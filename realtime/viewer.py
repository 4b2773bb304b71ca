"""One viewer of one subject: a mailbox of size one before its line.

The newest frame replaces an unsent one (conflation) and versions only grow. Nothing runs and
nothing is held for a viewer whose line is not full.
"""

from __future__ import annotations

from typing import Protocol

from analytics.identity import Principal
from realtime.closing import Closed
from realtime.outgoing import Outgoing


class Outlet(Protocol):
    """The part of a line that a viewer needs."""

    @property
    def full(self) -> bool:
        """Whether something is still waiting to be handed to the network."""

    def put(self, frame: Outgoing) -> None:
        """Send a frame; only while not full."""

    def close(self, closed: Closed) -> None:
        """End the connection."""


class Viewer:
    """A viewer of one subject. Whoever owns the outlet calls `drained`."""

    __slots__ = ("_mailbox", "_outlet", "principal", "version")

    def __init__(self, outlet: Outlet, principal: Principal, seen: int = -1) -> None:
        self._outlet = outlet
        self._mailbox: Outgoing | None = None
        self.principal = principal
        self.version = seen
        """The newest version handed over; an older or equal frame is dropped."""

    def offer(self, frame: Outgoing) -> None:
        """Send the frame, or keep it until the line drains, if it is newer than all before."""
        if frame.version <= self.version:
            return
        self.version = frame.version
        if self._outlet.full:
            self._mailbox = frame
        else:
            self._outlet.put(frame)

    def drained(self) -> None:
        """Send what waited."""
        frame, self._mailbox = self._mailbox, None
        if frame is not None:
            self._outlet.put(frame)

    def end(self, closed: Closed) -> None:
        """End the viewer's connection."""
        self._mailbox = None
        self._outlet.close(closed)
