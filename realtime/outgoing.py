"""One state of one subject in the forms that connections take, each encoded once for all."""

from __future__ import annotations

from functools import cached_property

from analytics.messages import Frame

_FINAL_TEXT = 0x81
_SHORT = 125
_MEDIUM, _MEDIUM_MARK = 0xFFFF, 126
_LONG_MARK = 127


class Outgoing:
    """A frame on its way to its viewers."""

    def __init__(self, frame: Frame) -> None:
        self.version = frame.version
        self.text = frame.text

    @cached_property
    def websocket(self) -> bytes:
        """The whole WebSocket frame, unmasked as a server's are (RFC 6455, section 5.2)."""
        return encode_text(self.text.encode())

    @cached_property
    def event(self) -> bytes:
        """The Server-Sent Event; the JSON text holds no line breaks."""
        return f"id: {self.version}\ndata: {self.text}\n\n".encode()


def encode_text(payload: bytes) -> bytes:
    """Return a WebSocket frame that holds this text alone."""
    size = len(payload)
    if size <= _SHORT:
        head = bytes((_FINAL_TEXT, size))
    elif size <= _MEDIUM:
        head = bytes((_FINAL_TEXT, _MEDIUM_MARK)) + size.to_bytes(2, "big")
    else:
        head = bytes((_FINAL_TEXT, _LONG_MARK)) + size.to_bytes(8, "big")
    return head + payload
