"""What a connection takes of the hub on its way in, and gives back at its end."""

from __future__ import annotations

from collections.abc import Callable

from analytics.subjects import Subject
from realtime.hub import Hub
from realtime.viewer import Viewer


class Visit:
    """One connection's entry, seat, place and view; raises `TooMany` where there is no room.

    Slots rather than a stack of callbacks: that was a fifth of what the garbage collector had to
    look at for an idle viewer.
    """

    __slots__ = ("_claim", "_hub", "_sub", "_view")

    def __init__(self, hub: Hub) -> None:
        hub.enter()
        self._hub: Hub | None = hub
        self._sub: str | None = None
        self._claim: tuple[str, str] | None = None
        self._view: tuple[Subject, Viewer] | None = None

    async def take_seat(self, sub: str) -> None:
        """Take one of the user's seats; raise `TooMany` where all are taken."""
        await self._entered.registry.take_seat(sub)
        self._sub = sub

    async def claim(self, place: str, on_replaced: Callable[[], None]) -> None:
        """Be the place's only connection."""
        self._claim = place, await self._entered.registry.claim(place, on_replaced)

    async def join(self, subject: Subject, viewer: Viewer) -> None:
        """View the subject: the present state, and what follows."""
        self._view = subject, viewer
        await self._entered.join(subject, viewer)

    def end(self) -> None:
        """Give everything back; a second call changes nothing."""
        hub, self._hub = self._hub, None
        if hub is None:
            return
        if self._view is not None:
            hub.leave(*self._view)
        if self._claim is not None:
            hub.registry.release(*self._claim)
        if self._sub is not None:
            hub.registry.leave_seat(self._sub)
        hub.exit()

    @property
    def _entered(self) -> Hub:
        if self._hub is None:
            raise RuntimeError("the visit has ended")
        return self._hub
