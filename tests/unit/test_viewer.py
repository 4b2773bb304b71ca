"""The viewer state machine: versions never go back, the last state is reached, one frame is held.

Any interleaving of publications, lost and repeated ones, reconnects, stored states handed over by
the rounds, and lines that fill and drain.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from analytics.identity import Principal
from analytics.messages import Frame
from realtime.audience import Audience
from realtime.closing import CloseCode, Closed
from realtime.outgoing import Outgoing, encode_text
from realtime.viewer import Viewer

PROFESSOR = Principal("prof", "instructor", expires_at=2e9)


class Line:
    """Takes frames while it is not full, as a transport does."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.taken: list[int] = []
        self.closed: list[Closed] = []

    @property
    def full(self) -> bool:
        return self.room == 0

    def put(self, frame: Outgoing) -> None:
        assert not self.full, "a full line is given nothing"
        self.room -= 1
        self.taken.append(frame.version)

    def close(self, closed: Closed) -> None:
        self.closed.append(closed)


class Dashboards(RuleBasedStateMachine):
    """Three dashboards of one subject, whose numbers are published, or lost on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.audience = Audience()
        self.stored = 0
        self.sent: list[int] = []
        self.lines: list[Line] = []
        self.viewers: list[Viewer] = []
        for number in range(3):
            self.connect(number)

    def connect(self, number: int) -> None:
        line = Line(room=1)
        viewer = Viewer(line, PROFESSOR)
        self.lines[number : number + 1] = [line]
        self.viewers[number : number + 1] = [viewer]
        self.audience.viewers = set(self.viewers)

    def frame(self, version: int) -> Frame:
        return Frame(version, str(version))

    @rule(lost=st.booleans())
    def publish(self, *, lost: bool) -> None:
        """Store a newer state, and publish it unless that gets lost."""
        self.stored += 1
        self.sent.append(self.stored)
        if not lost:
            self.audience.offer(self.frame(self.stored))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """Hear an older publication again, or late."""
        self.audience.offer(self.frame(data.draw(st.sampled_from(self.sent))))

    @rule()
    def go_round(self) -> None:
        """Hand over the stored state, as a round or a reconnect to Redis does."""
        self.audience.offer(self.frame(self.stored))

    @rule(number=st.integers(0, 2))
    def reconnect(self, number: int) -> None:
        """Come back as a new viewer, to whom the newest state seen is handed."""
        self.connect(number)
        if self.audience.newest is not None:
            self.viewers[number].offer(self.audience.newest)

    @rule(number=st.integers(0, 2), room=st.integers(1, 3))
    def drain(self, number: int, room: int) -> None:
        """Read what the line holds."""
        self.lines[number].room = room
        self.viewers[number].drained()

    @rule(number=st.integers(0, 2))
    def fill(self, number: int) -> None:
        """Stop reading."""
        self.lines[number].room = 0

    @invariant()
    def versions_only_grow(self) -> None:
        for line in self.lines:
            assert all(before < after for before, after in pairwise(line.taken))

    def teardown(self) -> None:
        """Whatever happened: a round, and room, and every dashboard shows the last state."""
        self.audience.offer(self.frame(self.stored))
        for line, viewer in zip(self.lines, self.viewers, strict=True):
            line.room = 9
            viewer.drained()
            assert line.taken[-1] == self.stored


TestDashboards = Dashboards.TestCase


def test_what_was_seen_before_a_reconnect_is_not_sent_again() -> None:
    line = Line(room=9)
    viewer = Viewer(line, PROFESSOR, seen=7)
    for version in (6, 7, 8):
        viewer.offer(Outgoing(Frame(version, str(version))))
    assert line.taken == [8]


def test_a_viewer_that_is_ended_holds_nothing_more() -> None:
    line = Line(room=0)
    viewer = Viewer(line, PROFESSOR)
    viewer.offer(Outgoing(Frame(1, "1")))
    viewer.end(Closed(CloseCode.TOO_SLOW, "too slow"))
    line.room = 1
    viewer.drained()
    assert line.taken == []
    assert [closed.code for closed in line.closed] == [CloseCode.TOO_SLOW]


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65_535, b"\x81\x7e\xff\xff"),
        (65_536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_a_frame_is_encoded_as_rfc_6455_says(size: int, head: bytes) -> None:
    assert encode_text(b"x" * size) == head + b"x" * size


@given(st.text(max_size=400))
def test_a_frame_is_encoded_once_for_all(text: str) -> None:
    outgoing = Outgoing(Frame(1, text))
    assert outgoing.websocket is outgoing.websocket
    assert outgoing.websocket.endswith(text.encode())


def test_one_who_joins_while_an_older_state_is_read_gets_the_newest_heard() -> None:
    audience = Audience()
    audience.offer(Frame(9, "heard meanwhile"))
    line = Line(room=9)
    audience.viewers.add(Viewer(line, PROFESSOR))
    audience.offer(Frame(7, "what the read began with"))
    assert line.taken == [9]
