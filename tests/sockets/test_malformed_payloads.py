"""Text and close frames whose payload RFC 6455 forbids, and those at the edge that it allows."""

from __future__ import annotations

import pytest

from tests.sockets.conftest import Witness
from tests.sockets.raw_socket import Ending, Opcode, close_frame, frame

NOT_UTF_8 = {
    "lone-continuation": b"\x80",
    "continuation-after-text": b"fine \xbf",
    "overlong-slash-of-2": b"\xc0\xaf",
    "overlong-slash-of-3": b"\xe0\x80\xaf",
    "overlong-slash-of-4": b"\xf0\x80\x80\xaf",
    "overlong-nul": b"\xc0\x80",
    "high-surrogate": b"\xed\xa0\x80",
    "low-surrogate": b"\xed\xbf\xbf",
    "surrogate-pair": b"\xed\xa0\xbd\xed\xb8\x80",
    "above-unicode": b"\xf4\x90\x80\x80",
    "five-bytes": b"\xf8\x88\x80\x80\x80",
    "six-bytes": b"\xfc\x84\x80\x80\x80\x80",
    "byte-fe": b"\xfe",
    "byte-ff": b"\xff",
    "latin-1": b"caf\xe9",
    "utf-16": "hello".encode("utf-16"),
    "truncated-of-2": b"fine \xc3",
    "truncated-of-3": b"fine \xe2\x82",
    "truncated-of-4": b"fine \xf0\x9f\x98",
    "within-an-auth-message": b'{"type": "auth", "token": "\xff"}',
}
IN_FRAGMENTS = {
    "truncated-at-the-last-end": (b"\xe2", b"\x82"),
    "cut-by-ascii-of-the-next": (b"\xe2\x82", b"x"),
    "surrogate-over-the-cut": (b"\xed", b"\xa0\x80"),
    "overlong-over-the-cut": (b"\xc0", b"\xaf"),
    "only-the-first-is-bad": (b"\xff", b"fine"),
    "only-the-last-is-bad": (b"fine", b"\xff"),
    "an-empty-one-after-a-cut": (b"\xe2", b"", b""),
    "cut-in-a-third": (b"\xf0", b"\x9f", b"\x98"),
}
FORBIDDEN_CODES = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 32_768, 65_535)
"""Codes below 3000 that no specification or registry entry lets an endpoint send, and beyond."""
ALLOWED_CODES = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
REGISTERED_LATER = (1012, 1013, 1014)


def parts(*payloads: bytes) -> bytes:
    """Return a text message in as many fragments."""
    first, *others = payloads
    sent = frame(Opcode.TEXT, first, fin=not others)
    for i, payload in enumerate(others, start=1):
        sent += frame(Opcode.CONTINUATION, payload, fin=i == len(others))
    return sent


@pytest.mark.parametrize(
    "data",
    [
        *(pytest.param(parts(payload), id=name) for name, payload in NOT_UTF_8.items()),
        *(pytest.param(parts(*payloads), id=name) for name, payloads in IN_FRAGMENTS.items()),
    ],
)
def test_text_that_is_not_utf_8_closes_with_1007(witness: Witness, data: bytes) -> None:
    with witness.unharmed(), witness.viewer() as offender:
        offender.send(data)
        assert offender.ending().code == 1007


def test_text_that_is_not_utf_8_and_a_close_at_once_end_the_connection(witness: Witness) -> None:
    with witness.unharmed(), witness.viewer() as offender:
        offender.send(parts(b"\xff") + close_frame(1_000))
        assert offender.ending().code in {1000, 1007}


@pytest.mark.parametrize("size", [1_366, 4_096])
def test_binary_is_measured_in_its_own_bytes(witness: Witness, size: int) -> None:
    with witness.unharmed(), witness.viewer() as viewer:
        viewer.send(frame(Opcode.BINARY, b"\xff" * size), frame(Opcode.PING, b"still there"))
        assert viewer.frame_of(Opcode.PONG).payload == b"still there"


def test_binary_that_is_not_utf_8_is_taken(witness: Witness) -> None:
    with witness.unharmed(), witness.viewer() as viewer:
        viewer.send(frame(Opcode.BINARY, b"\xff\xfe"), frame(Opcode.PING, b"still there"))
        assert viewer.frame_of(Opcode.PONG).payload == b"still there"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(frame(Opcode.CLOSE, b"\x03"), id="half-a-code"),
        *(pytest.param(close_frame(code), id=f"{code}") for code in FORBIDDEN_CODES),
        pytest.param(close_frame(1005, b"a reason"), id="1005-with-a-reason"),
        pytest.param(
            frame(Opcode.TEXT, b"x", fin=False) + close_frame(2_999), id="2999-between-fragments"
        ),
    ],
)
def test_a_close_frame_with_a_forbidden_code_fails_the_connection(
    witness: Witness, data: bytes
) -> None:
    with witness.unharmed(), witness.viewer() as offender:
        offender.send(data)
        assert offender.ending().code == 1002


@pytest.mark.parametrize(
    "reason",
    [b"\xff", b"caf\xe9", b"\xed\xa0\x80", b"\xc0\xaf", b"cut \xe2\x82", b"x" * 122 + b"\xc3"],
    ids=["byte-ff", "latin-1", "surrogate", "overlong", "truncated", "truncated-at-123-bytes"],
)
def test_a_close_reason_that_is_not_utf_8_closes_with_1007(witness: Witness, reason: bytes) -> None:
    with witness.unharmed(), witness.viewer() as offender:
        offender.send(close_frame(1_000, reason))
        assert offender.ending().code == 1007


@pytest.mark.parametrize("code", ALLOWED_CODES)
def test_a_close_is_answered_with_its_own_code(witness: Witness, code: int) -> None:
    with witness.unharmed(), witness.viewer() as viewer:
        viewer.send(close_frame(code))
        assert viewer.ending().code == code


@pytest.mark.parametrize("code", REGISTERED_LATER)
def test_a_code_registered_after_the_standard_is_answered_or_refused(
    witness: Witness, code: int
) -> None:
    with witness.unharmed(), witness.viewer() as viewer:
        viewer.send(close_frame(code))
        assert viewer.ending().code in {code, 1002}


def test_a_close_without_a_code_is_answered_without_one(witness: Witness) -> None:
    with witness.unharmed(), witness.viewer() as viewer:
        viewer.send(frame(Opcode.CLOSE))
        assert viewer.frame_of(Opcode.CLOSE).payload == b""
        assert viewer.ending() == Ending(None)


def test_a_close_with_the_longest_reason_is_answered(witness: Witness) -> None:
    with witness.unharmed(), witness.viewer() as viewer:
        viewer.send(close_frame(4_000, "€".encode() * 41))
        assert viewer.ending().code == 4_000


def test_what_follows_a_close_frame_is_not_read(witness: Witness) -> None:
    with witness.unharmed(), witness.viewer() as viewer:
        viewer.send_or_lose(close_frame(1_000) + frame(0x3, b"nonsense", masked=False) * 3)
        assert viewer.ending().code == 1_000
