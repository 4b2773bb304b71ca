"""uvicorn's HTTP protocol, with a door for crowds: `uvicorn --http realtime.http_protocol:HubHttp`.

The first bytes of a WebSocket handshake wait, unread, until `Admission` lets them in; any other
request goes straight through. Who sends no whole request head in time is hung up on, and a head has
a size limit. What of RFC 6455 (section 4.2.1) is lost when uvicorn hands the request on to its
WebSocket protocol is checked here.
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
HEAD_BYTES = 32 * 1024
_UPGRADE = b"\r\nsec-websocket-key:"


class HubHttp(HttpToolsProtocol):
    """One connection before it is upgraded, or for good."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._early: bytearray | None = None  # what came before the handshake's turn
        self._gated = self.app_state.get(ADMISSION) is not None
        self._head: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the peer its time for a request."""
        super().connection_made(transport)
        self._time_head()

    def data_received(self, data: bytes) -> None:
        """Keep a handshake until its turn has come."""
        if self._early is not None:
            self._early += data
        elif self._gated and _UPGRADE in data.lower():
            self._gated = False
            self._early = bytearray(data)
            self._in_time()  # what it waits for now is us
            self.transport.pause_reading()
            admission: Admission = self.app_state[ADMISSION]
            admission.enter(self._begin)
        else:
            super().data_received(data)
            if self._in_head:
                self._measure_head(len(data))

    def _begin(self) -> None:
        data, self._early = self._early, None
        if data is None or self.transport.is_closing():
            return
        self.transport.resume_reading()
        super().data_received(bytes(data))
        if self._in_head:  # it was not the whole of it
            self._measure_head(len(data))
            self._time_head()

    def on_message_begin(self) -> None:
        """Begin a request's head."""
        self._in_head, self._head_bytes = True, 0
        self._time_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Go on without a limit: a request has come."""
        self._gated = self._in_head = False
        self._in_time()
        super().on_headers_complete()

    def handle_websocket_upgrade(self) -> None:
        """Refuse what is no handshake; hand the rest on."""
        names = [name for name, _ in self.headers]
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.close()  # behind a request whose answer still goes on
        elif self.scope["http_version"] != "1.1":
            self._refuse(b"400 Bad Request", "a WebSocket handshake is HTTP/1.1")
        elif names.count(b"host") != 1:
            self._refuse(b"400 Bad Request", "a WebSocket handshake has one Host")
        elif b"content-length" in names or b"transfer-encoding" in names:
            self._refuse(b"400 Bad Request", "a WebSocket handshake has no body")
        elif [v for name, v in self.headers if name == b"sec-websocket-version"] != [b"13"]:
            only = b"Sec-WebSocket-Version: 13\r\n"
            self._refuse(b"426 Upgrade Required", "the WebSocket version is 13", only)
        else:
            super().handle_websocket_upgrade()
            # The parser and its protocol hold each other: left alone, each handshake is garbage
            # that only a full collection finds, and those hold up every viewer's frames.
            self.parser = None  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what waited."""
        self._early = None
        self._in_time()
        super().connection_lost(exc)

    def _in_time(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _time_head(self) -> None:
        seconds = self.app_state.get(HEAD_SECONDS)
        if seconds is not None and self._head is None:
            self._head = self.loop.call_later(seconds, self.transport.close)

    def _measure_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES:
            reason = f"a request's head is at most {HEAD_BYTES} bytes"
            self._refuse(b"431 Request Header Fields Too Large", reason)

    def _refuse(self, status: bytes, reason: str, header: bytes = b"") -> None:
        body = f"{reason}\n".encode()
        self.transport.write(
            b"HTTP/1.1 "
            + status
            + b"\r\n"
            + header
            + b"Content-Type: text/plain; charset=utf-8\r\n"
            b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body
        )
        self.transport.close()
