"""The close codes, a public contract, and the refusals that carry them."""

from __future__ import annotations

from enum import IntEnum


class CloseCode(IntEnum):
    """Why the hub closes a connection."""

    TOO_BIG = 1009
    RESTART = 1012
    UNAUTHENTICATED = 4401
    FORBIDDEN = 4403
    NO_SUCH_COURSE = 4404
    REPLACED = 4409
    TOO_MANY = 4429
    TOO_SLOW = 4508


class Closed(Exception):  # a way to end a connection, not an error
    """Ends a connection with a code and a reason of at most 123 bytes."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
