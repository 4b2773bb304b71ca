"""uvicorn's WebSocket protocol, and on it the line that needs no task and no queue per viewer.

`uvicorn --ws realtime.protocol:HubProtocol`. After the handshake, which is plain ASGI, the route
attaches a guest and returns. From then on an encoded frame goes to the transport as it is, and what
comes in is a call. The transport's buffer limit is zero: it says at once when the kernel takes no
more (`pause_writing`) and when all is handed on (`resume_writing`).
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.frames import CloseCode

from realtime.line import EXTENSION, content, short, text_of

if TYPE_CHECKING:
    from websockets.http11 import Request

    from realtime.closing import Closed
    from realtime.line import Guest
    from realtime.outgoing import Outgoing

DRAIN = "coursepulse.drain_seconds"
"""Where the lifespan's state holds the longest time of a stop's closings."""
KERNEL_BYTES = 64 * 1024  # the kernel doubles it
HELD_BYTES = 64 * 1024
LINGER_SECONDS = 2.0
DRAIN_PER_VIEWER = 0.002


_QUIET = logging.getLogger("coursepulse.sockets")
_QUIET.setLevel(logging.WARNING)


class _Unread(asyncio.Queue[Any]):
    """Stands where nobody reads any more; one for all."""

    def put_nowait(self, item: Any) -> None:
        """Keep nothing: the guest is told by calls."""


_UNREAD = _Unread()


class HubProtocol(WebSocketsSansIOProtocol):
    """One WebSocket; a `Line` once a guest is attached."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # No permessage-deflate, whatever the command line says: it costs memory per connection.
        self.conn.available_extensions = None
        # uvicorn and websockets tell each connection, twice, with its path, which names users.
        self.logger = self.conn.logger = _QUIET
        self._guest: Guest | None = None
        self._full = False
        self._stall: asyncio.TimerHandle | None = None

    # The transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Have the kernel hold little for this peer, and hear at once when it holds enough."""
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(high=0)
        peer = self.transport.get_extra_info("socket")
        if peer is not None:
            with suppress(OSError):  # the peer has gone; that is told elsewhere
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)

    def data_received(self, data: bytes) -> None:
        """Read on; and say so where the handshake was refused, which uvicorn leaves unsaid."""
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.close_sent:
            self.close_sent = self.handshake_complete = True
            self.transport.write(b"".join(self.conn.data_to_send()))
            self._end_transport()

    def pause_writing(self) -> None:
        """Learn that the kernel takes no more."""
        super().pause_writing()
        self._full = True
        self._time_stall()

    def resume_writing(self) -> None:
        """Learn that all is handed on."""
        super().resume_writing()
        self._full = False
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        if self._guest is not None:
            self._guest.drained()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the guest."""
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        super().connection_lost(exc)
        guest, self._guest = self._guest, None
        if guest is not None:
            guest.gone()

    # What the server and the peer do

    def handle_connect(self, event: Request) -> None:
        """Offer the line to the application, which has not run yet."""
        super().handle_connect(event)
        if not self.close_sent:
            self.scope["extensions"][EXTENSION] = {"line": self}

    async def run_asgi(self) -> None:
        """Serve the request; one that attached a guest leaves the connection open."""
        try:
            await self.app(self.scope, self.receive, self.send)
        except ClientDisconnected:
            pass  # as uvicorn has it: the application learns it by `receive` as well
        except BaseException:
            self.logger.exception("Exception in ASGI application\n")
            self.send_500_response()
        else:
            if self._guest is not None:
                return
            if not self.handshake_complete:
                self.logger.error("ASGI callable returned without completing handshake.")
                self.send_500_response()
        if self.close_timer is None:
            self._end_transport()

    def send_receive_event_to_app(self) -> None:
        """Hand a message to the guest, or queue it where the request's task still reads."""
        data = b"".join(self.frames)
        if self.curr_msg_data_type == "text":
            try:
                text = data.decode()
            except UnicodeDecodeError:
                self.frames = []
                self.conn.fail(CloseCode.INVALID_DATA, "the text is not UTF-8")
                self.handle_parser_exception()
                return
        else:
            text = text_of(data)
        if self._guest is None or self.close_sent:
            super().send_receive_event_to_app()
            return
        self.frames = []
        self._guest.heard(text, len(data))

    def handle_ping(self) -> None:
        """Answer, but do not hoard answers for one who reads none of them."""
        if self.transport.get_write_buffer_size() > HELD_BYTES:
            self.transport.abort()
            return
        super().handle_ping()

    def handle_close(self, event: Any) -> None:
        """Answer the peer's close."""
        super().handle_close(event)
        self._abort_later()

    def handle_parser_exception(self) -> None:
        """Say what the peer did wrong, and end."""
        super().handle_parser_exception()
        self._abort_later()

    def keepalive_timeout(self) -> None:
        """Give up a peer that answers no ping."""
        super().keepalive_timeout()
        self._abort_later()

    def shutdown(self) -> None:
        """End with 1012, each viewer at another moment, so that they do not return together."""
        if self._guest is None:
            super().shutdown()
            self._abort_later()
        else:
            longest = float(self.app_state.get(DRAIN, 0.0))
            spread = min(longest, len(self.connections) * DRAIN_PER_VIEWER)
            self.loop.call_later(random.random() * spread, self._shut_down)  # noqa: S311

    def _shut_down(self) -> None:
        if not self.disconnected:
            super().shutdown()
            self._abort_later()

    # The line

    @property
    def full(self) -> bool:
        """Whether the kernel took less than it was given."""
        return self._full

    def put(self, frame: Outgoing) -> None:
        """Write an encoded frame as it is."""
        if not self.close_sent and not self.transport.is_closing():
            self.transport.write(frame.websocket)

    def attach(self, guest: Guest) -> None:
        """Call the guest from now on, first with what the request's task did not read."""
        self._guest = guest
        while not self.queue.empty():
            message = self.queue.get_nowait()
            if message["type"] == "websocket.receive":
                guest.heard(*content(message))
        if self.disconnected:
            self._guest = None
            self.loop.call_soon(guest.gone)
            return
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        if self._full:
            self._time_stall()

    async def run(self) -> None:
        """Return at once: the calls of the transport are enough."""
        # What only the handshake needed; an idle viewer holds little else.
        self.request = self.response = self.scope = None  # type: ignore[assignment]
        self.queue = _UNREAD

    def close(self, closed: Closed) -> None:
        """Send the close frame; the peer's answer, or a timer, ends the connection."""
        if self.close_sent or self.transport.is_closing():
            return
        with suppress(InvalidState):  # the peer was closing as well
            self.conn.send_close(int(closed.code), short(closed.reason))
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.stop_keepalive()
        self.close_timer = self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    # Endings

    def _time_stall(self) -> None:
        if self._guest is not None and self._stall is None:
            self._stall = self.loop.call_later(self._guest.stall_seconds, self._guest.stalled)

    def _end_transport(self) -> None:
        self.transport.close()
        self._abort_later()

    def _abort_later(self) -> None:
        """Do not wait for ever for a peer that reads nothing: closing waits for the buffer."""
        if not self.disconnected and self.transport.get_write_buffer_size():
            self.loop.call_later(LINGER_SECONDS, self.transport.abort)
