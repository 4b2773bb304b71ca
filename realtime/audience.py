"""The local viewers of one subject, and the newest state seen of it."""

from __future__ import annotations

import asyncio

from analytics.messages import Frame
from realtime.outgoing import Outgoing
from realtime.viewer import Viewer


class Audience:
    """Those in this process who look at one subject."""

    def __init__(self) -> None:
        self.viewers: set[Viewer] = set()
        self.newest: Outgoing | None = None
        self.opening: asyncio.Task[None] | None = None
        """Subscribes and reads the first state; whoever comes meanwhile shares it."""
        self.current = False
        """Whether nothing can have been missed since the subscription was confirmed."""

    @property
    def version(self) -> int:
        """The newest version seen, -1 before any."""
        return -1 if self.newest is None else self.newest.version

    def offer(self, frame: Frame) -> None:
        """Hand a state to every viewer; each drops what is not newer for it."""
        if self.newest is None or frame.version > self.newest.version:
            self.newest = Outgoing(frame)
        outgoing = self.newest  # also where the state offered is older: somebody may be new here
        # A copy: a connection that ends under the write leaves the set.
        for viewer in tuple(self.viewers):
            viewer.offer(outgoing)
