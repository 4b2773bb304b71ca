"""uvicorn's HTTP protocol, with a door for crowds: `uvicorn --http realtime.http_protocol:HubHttp`.

The first bytes of a WebSocket handshake wait, unread, until `Admission` lets them in; any other
request goes straight through. Who connects and sends no whole request head is hung up on.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    from realtime.admission import Admission

ADMISSION = "coursepulse.admission"
HEAD_SECONDS = "coursepulse.head_seconds"
"""Where the lifespan's state holds the `Admission`, and how long a request's head may take."""
_UPGRADE = b"\r\nsec-websocket-key:"


class HubHttp(HttpToolsProtocol):
    """One connection before it is upgraded, or for good."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._early: bytearray | None = None  # what came before the handshake's turn
        self._gated = self.app_state.get(ADMISSION) is not None
        self._head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the peer its time for a request."""
        super().connection_made(transport)
        seconds = self.app_state.get(HEAD_SECONDS)
        if seconds is not None:
            self._head = self.loop.call_later(seconds, transport.close)

    def data_received(self, data: bytes) -> None:
        """Keep a handshake until its turn has come."""
        if self._early is not None:
            self._early += data
        elif self._gated and _UPGRADE in data.lower():
            self._gated = False
            self._early = bytearray(data)
            self._in_time()  # what it waits for now is us
            admission: Admission = self.app_state[ADMISSION]
            admission.enter(self._begin)
        else:
            super().data_received(data)

    def _begin(self) -> None:
        data, self._early = self._early, None
        if data is not None and not self.transport.is_closing():
            super().data_received(bytes(data))

    def on_headers_complete(self) -> None:
        """Go on without a limit: a request has come."""
        self._gated = False
        self._in_time()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what waited."""
        self._early = None
        self._in_time()
        super().connection_lost(exc)

    def _in_time(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None
