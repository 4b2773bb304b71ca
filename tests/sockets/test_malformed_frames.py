"""Each violation of RFC 6455 in a frame ends the connection that made it, and no other."""

from __future__ import annotations

import pytest

from tests.sockets.conftest import Witness
from tests.sockets.raw_socket import Ending, Opcode, close_frame, frame

PROTOCOL_ERROR = {1002}
TOO_BIG = {1009}
EITHER = PROTOCOL_ERROR | TOO_BIG
CONTROL = (Opcode.CLOSE, Opcode.PING, Opcode.PONG)
DEFINED = tuple(Opcode)
RESERVED = (0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF)
NORMAL = (1_000).to_bytes(2, "big")
ALL_AT_ONCE = 0b111


def text(payload: bytes, *, fin: bool = True) -> bytes:
    return frame(Opcode.TEXT, payload, fin=fin)


def continuation(payload: bytes, *, fin: bool = True) -> bytes:
    return frame(Opcode.CONTINUATION, payload, fin=fin)


def binary(payload: bytes, *, fin: bool = True) -> bytes:
    return frame(Opcode.BINARY, payload, fin=fin)


HEADERS = [
    *(
        pytest.param(frame(opcode, b"x"), PROTOCOL_ERROR, id=f"reserved-opcode-{opcode:x}")
        for opcode in RESERVED
    ),
    pytest.param(frame(0x3, b"x", fin=False), PROTOCOL_ERROR, id="reserved-opcode-in-fragments"),
    *(
        pytest.param(frame(Opcode.TEXT, b"x", reserved=bits), PROTOCOL_ERROR, id=f"rsv-{bits:03b}")
        for bits in (0b100, 0b010, 0b001, ALL_AT_ONCE)
    ),
    *(
        pytest.param(
            frame(opcode, NORMAL, reserved=0b100), PROTOCOL_ERROR, id=f"rsv-100-{opcode.name}"
        )
        for opcode in (*CONTROL, Opcode.BINARY)
    ),
    pytest.param(
        text(b"x", fin=False) + frame(Opcode.CONTINUATION, b"x", reserved=0b100),
        PROTOCOL_ERROR,
        id="rsv-100-CONTINUATION",
    ),
    # A server must close on an unmasked frame; the code is its choice.
    *(
        pytest.param(
            frame(opcode, NORMAL, masked=False), {1002, None}, id=f"unmasked-{opcode.name}"
        )
        for opcode in DEFINED
    ),
    pytest.param(
        text(b"x", fin=False) + frame(Opcode.CONTINUATION, b"x", masked=False),
        {1002, None},
        id="unmasked-last-fragment",
    ),
    pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", PROTOCOL_ERROR, id="http-after-upgrade"),
    pytest.param(b"\xff" * 64, PROTOCOL_ERROR, id="only-ones"),
    pytest.param(b"\x00" * 64, {1002, None}, id="only-zeros"),
]

CONTROL_FRAMES = [
    *(
        pytest.param(frame(opcode, NORMAL + b"x" * 124), PROTOCOL_ERROR, id=f"126-{opcode.name}")
        for opcode in CONTROL
    ),
    *(
        pytest.param(frame(opcode, NORMAL + b"x" * 3_998), PROTOCOL_ERROR, id=f"4000-{opcode.name}")
        for opcode in CONTROL
    ),
    *(
        pytest.param(
            frame(opcode, declared=1 << 40), EITHER, id=f"a-tebibyte-declared-{opcode.name}"
        )
        for opcode in CONTROL
    ),
    *(
        pytest.param(frame(opcode, NORMAL, fin=False), PROTOCOL_ERROR, id=f"in-parts-{opcode.name}")
        for opcode in CONTROL
    ),
    *(
        pytest.param(
            text(b"x", fin=False) + frame(opcode, NORMAL, fin=False),
            PROTOCOL_ERROR,
            id=f"in-parts-between-fragments-{opcode.name}",
        )
        for opcode in CONTROL
    ),
]

FRAGMENTS = [
    pytest.param(continuation(b"x"), PROTOCOL_ERROR, id="continuation-first"),
    pytest.param(continuation(b""), PROTOCOL_ERROR, id="empty-continuation-first"),
    pytest.param(continuation(b"x", fin=False), PROTOCOL_ERROR, id="open-continuation-first"),
    pytest.param(text(b"x") + continuation(b"x"), PROTOCOL_ERROR, id="continuation-after-whole"),
    pytest.param(
        text(b"x", fin=False) + continuation(b"x") + continuation(b"x"),
        PROTOCOL_ERROR,
        id="continuation-after-last",
    ),
    pytest.param(text(b"x", fin=False) + text(b"x"), PROTOCOL_ERROR, id="text-within-text"),
    pytest.param(text(b"x", fin=False) + binary(b"x"), PROTOCOL_ERROR, id="binary-within-text"),
    pytest.param(binary(b"x", fin=False) + text(b"x"), PROTOCOL_ERROR, id="text-within-binary"),
    pytest.param(
        text(b"x", fin=False) + text(b"x", fin=False), PROTOCOL_ERROR, id="two-messages-open"
    ),
    pytest.param(
        text(b"x", fin=False) + frame(Opcode.PING) + text(b"x"),
        PROTOCOL_ERROR,
        id="text-within-text-after-a-ping",
    ),
]

SIZES = [
    pytest.param(text(b"x" * 4_097), TOO_BIG, id="text"),
    pytest.param(binary(b"\xff" * 4_097), TOO_BIG, id="binary"),
    pytest.param(text("€".encode() * 1_366), TOO_BIG, id="bytes-not-characters"),
    pytest.param(text(b"x" * 60_000), TOO_BIG, id="60-kB"),
    pytest.param(
        text(b"x" * 3_000, fin=False) + continuation(b"x" * 1_097), TOO_BIG, id="two-fragments"
    ),
    pytest.param(
        binary(b"x" * 3_000, fin=False) + continuation(b"x" * 1_097),
        TOO_BIG,
        id="two-binary-fragments",
    ),
    pytest.param(
        text(b"", fin=False) + continuation(b"x", fin=False) * 4_096 + continuation(b"x"),
        TOO_BIG,
        id="fragments-of-a-byte",
    ),
    # The server may stop reading before the end of these, and a reset may then overtake its code.
    pytest.param(text(b"x" * 200_000), {1009, None}, id="200-kB"),
    pytest.param(
        text(b"x", fin=False) + continuation(b"x" * 4_000, fin=False) * 50,
        {1009, None},
        id="200-kB-of-open-fragments",
    ),
]

LENGTHS = [
    pytest.param(frame(Opcode.TEXT, declared=1 << 20), TOO_BIG, id="a-mebibyte"),
    pytest.param(frame(Opcode.BINARY, declared=1 << 30), TOO_BIG, id="a-gibibyte-of-binary"),
    pytest.param(frame(Opcode.TEXT, declared=(1 << 63) - 1), TOO_BIG, id="the-longest"),
    pytest.param(
        text(b"x", fin=False) + frame(Opcode.CONTINUATION, declared=1 << 40),
        TOO_BIG,
        id="a-tebibyte-of-continuation",
    ),
    pytest.param(frame(Opcode.TEXT, declared=1 << 63), EITHER, id="high-bit"),
    pytest.param(frame(Opcode.TEXT, declared=1 << 63 | 1), EITHER, id="high-bit-and-one"),
    pytest.param(frame(Opcode.TEXT, declared=(1 << 64) - 1), EITHER, id="all-64-bits"),
    pytest.param(frame(Opcode.PING, declared=1 << 63 | 1), EITHER, id="high-bit-in-a-ping"),
]


def ends_with_one_of(codes: set[int | None], data: bytes, witness: Witness) -> None:
    with witness.unharmed(), witness.viewer() as offender:
        offender.send_or_lose(data)
        assert offender.ending().code in codes


@pytest.mark.parametrize(("data", "codes"), HEADERS)
def test_a_wrong_frame_header_fails_the_connection(
    witness: Witness, data: bytes, codes: set[int | None]
) -> None:
    ends_with_one_of(codes, data, witness)


@pytest.mark.parametrize(("data", "codes"), CONTROL_FRAMES)
def test_a_long_or_fragmented_control_frame_fails_the_connection(
    witness: Witness, data: bytes, codes: set[int | None]
) -> None:
    ends_with_one_of(codes, data, witness)


@pytest.mark.parametrize(("data", "codes"), FRAGMENTS)
def test_fragments_out_of_order_fail_the_connection(
    witness: Witness, data: bytes, codes: set[int | None]
) -> None:
    ends_with_one_of(codes, data, witness)


@pytest.mark.parametrize(("data", "codes"), SIZES)
def test_a_message_over_4_kib_in_any_form_closes_with_1009(
    witness: Witness, data: bytes, codes: set[int | None]
) -> None:
    ends_with_one_of(codes, data, witness)


@pytest.mark.parametrize(("data", "codes"), LENGTHS)
def test_an_enormous_length_is_refused_before_its_payload_comes(
    witness: Witness, data: bytes, codes: set[int | None]
) -> None:
    ends_with_one_of(codes, data, witness)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(text(b"x" * 4_096), id="text"),
        pytest.param(binary(b"x" * 4_096), id="binary"),
        pytest.param(text(b"x" * 2_048, fin=False) + continuation(b"x" * 2_048), id="fragments"),
        pytest.param(text(b"x", fin=False) + continuation(b""), id="an-empty-last-fragment"),
        pytest.param(
            text(b"\xe2", fin=False) + frame(Opcode.PING) + continuation(b"\x82\xac"),
            id="a-character-in-two-fragments-around-a-ping",
        ),
        pytest.param(frame(Opcode.PONG, b"nobody asked"), id="an-unasked-pong"),
    ],
)
def test_a_frame_at_the_edge_of_what_is_allowed_is_taken(witness: Witness, data: bytes) -> None:
    with witness.unharmed(), witness.viewer() as viewer:
        viewer.send(data, frame(Opcode.PING, b"still there"))
        while viewer.frame_of(Opcode.PONG).payload != b"still there":
            pass
        viewer.send(close_frame(1_000))
        assert viewer.ending() == Ending(1_000)
