"""Peers that are slow, half gone or gone: they are let go, and nobody else notices."""

from __future__ import annotations

import json
from contextlib import ExitStack

import pytest

from tests.sockets.conftest import Witness
from tests.sockets.raw_socket import Opcode, RawSocket, close_frame, frame, handshake

DEAD_WITHIN = 30.0
HALF_FRAME = frame(Opcode.TEXT, b"x" * 100)[:50]


def test_peers_that_answer_no_pings_are_dropped_and_the_one_that_does_stays(
    witness: Witness,
) -> None:
    with witness.unharmed(), ExitStack() as opened:
        silent, half_a_frame, half_a_message, half_a_ping = (
            opened.enter_context(witness.viewer()) for _ in range(4)
        )
        half_a_frame.send(HALF_FRAME)
        half_a_message.send(frame(Opcode.TEXT, b"x", fin=False))
        half_a_ping.send(frame(Opcode.PING, b"x" * 100)[:50])
        closed = opened.enter_context(witness.viewer())
        closed.send(frame(Opcode.TEXT, b"x" * 4_097))  # the answer to the close never comes
        unknown = opened.enter_context(RawSocket.open(witness.stack.port, witness.path))
        viewers = (silent, half_a_frame, half_a_message, half_a_ping)
        for peer in (*viewers, closed, unknown):
            peer.wait_at_most(DEAD_WITHIN)
        for viewer in viewers:
            viewer.frame_of(Opcode.PING)
        for peer in (*viewers, closed, unknown):
            peer.ending(answer_close=False)  # reads to the end of TCP, or fails


def test_unfinished_handshakes_keep_nobody_out(witness: Witness) -> None:
    whole = handshake(witness.path, token=witness.token)
    with witness.unharmed(), ExitStack() as opened:
        waiting = [opened.enter_context(RawSocket(witness.stack.port)) for _ in range(60)]
        for i, peer in enumerate(waiting):
            peer.send(whole[: i * len(whole) // len(waiting)])
        witness.sees_newer_numbers()
        with witness.viewer() as newcomer:
            newcomer.send(close_frame(1_000))
            assert newcomer.ending().code == 1_000


@pytest.mark.parametrize("sent", [0, 1, 100])
def test_a_handshake_that_stops_is_hung_up_on(witness: Witness, sent: int) -> None:
    with witness.unharmed(), RawSocket(witness.stack.port) as peer:
        peer.send(handshake(witness.path)[:sent])
        peer.wait_at_most(DEAD_WITHIN)
        peer.ending(answer_close=False)


@pytest.mark.parametrize("authenticated", [True, False])
def test_one_who_pings_and_reads_no_answer_is_let_go(
    witness: Witness, *, authenticated: bool
) -> None:
    pings = frame(Opcode.PING, b"x" * 125) * 1_000
    with witness.unharmed():
        token = witness.token if authenticated else None
        with RawSocket.open(witness.stack.port, witness.path, token) as peer:
            peer.wait_at_most(DEAD_WITHIN)
            for _ in range(2_000):
                try:
                    peer.send(pings)
                except OSError:
                    break
            else:
                raise AssertionError("two million pings were taken")


def test_a_client_that_sends_byte_by_byte_is_served(witness: Witness) -> None:
    with witness.unharmed(), RawSocket(witness.stack.port) as slow:
        for byte in handshake(witness.path):
            slow.send(bytes([byte]))
        assert slow.answer().status == 101
        message = json.dumps({"type": "auth", "token": witness.token}).encode()
        middle = len(message) // 2
        fragments = frame(Opcode.TEXT, message[:middle], fin=False)
        fragments += frame(Opcode.PING, b"between")
        fragments += frame(Opcode.CONTINUATION, message[middle:])
        for byte in fragments:
            slow.send(bytes([byte]))
        assert slow.frame_of(Opcode.PONG).payload == b"between"
        first = json.loads(slow.frame_of(Opcode.TEXT).payload)
        assert first["course_id"] == witness.course_id


@pytest.mark.parametrize("abruptly", [False, True], ids=["in-order", "with-a-reset"])
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="at-once"),
        pytest.param(HALF_FRAME[:1], id="in-the-first-byte-pair"),
        pytest.param(HALF_FRAME[:4], id="in-the-mask"),
        pytest.param(HALF_FRAME, id="in-the-payload"),
        pytest.param(frame(Opcode.TEXT, declared=4_000)[:3], id="in-the-length"),
        pytest.param(frame(Opcode.TEXT, b"x", fin=False), id="between-fragments"),
        pytest.param(frame(Opcode.PING, b"x"), id="after-a-ping"),
        pytest.param(close_frame(1_000)[:4], id="in-the-close-frame"),
        pytest.param(close_frame(1_000), id="after-the-close-frame"),
    ],
)
def test_a_viewer_that_leaves_in_the_middle_harms_nobody(
    witness: Witness, data: bytes, *, abruptly: bool
) -> None:
    with witness.unharmed():
        leaving = witness.viewer()
        leaving.send(data)
        leaving.leave(abruptly=abruptly)


@pytest.mark.parametrize("abruptly", [False, True], ids=["in-order", "with-a-reset"])
@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.99], ids=["before", "0.1", "0.5", "0.99"])
def test_a_client_that_leaves_during_the_handshake_harms_nobody(
    witness: Witness, part: float, *, abruptly: bool
) -> None:
    with witness.unharmed():
        whole = handshake(witness.path, token=witness.token)
        leaving = RawSocket(witness.stack.port)
        leaving.send(whole[: round(part * len(whole))])
        leaving.leave(abruptly=abruptly)


@pytest.mark.parametrize(
    "payload", [b"", b"x", b"\x00\xff", b"x" * 125], ids=["empty", "x", "binary", "125"]
)
def test_a_ping_is_answered_with_its_payload(witness: Witness, payload: bytes) -> None:
    with witness.unharmed(), witness.viewer() as viewer:
        viewer.send(frame(Opcode.PING, payload))
        assert viewer.frame_of(Opcode.PONG).payload == payload


def test_pings_are_answered_in_order(witness: Witness) -> None:
    payloads = [f"{i}".encode() for i in range(50)]
    with witness.unharmed(), witness.viewer() as viewer:
        viewer.send(*(frame(Opcode.PING, payload) for payload in payloads))
        assert [viewer.frame_of(Opcode.PONG).payload for _ in payloads] == payloads


def test_a_ping_before_authentication_is_answered(witness: Witness) -> None:
    with witness.unharmed(), RawSocket.open(witness.stack.port, witness.path) as stranger:
        stranger.send(frame(Opcode.PING, b"who is there"))
        assert stranger.frame_of(Opcode.PONG).payload == b"who is there"
