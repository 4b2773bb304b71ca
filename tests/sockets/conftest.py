"""A witness: a viewer that stays connected while other clients misbehave."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.sockets.raw_socket import PATIENCE, Opcode, RawSocket
from tests.stack import Stack, lessons


@dataclass
class Witness:
    """A well-behaved viewer of a course, and what others need to misbehave beside it."""

    stack: Stack
    course_id: str
    socket: ClientConnection
    students: int = 0
    version: int = -1

    @property
    def path(self) -> str:
        """Where the course's frames are."""
        return f"/realtime/course/{self.course_id}"

    @property
    def token(self) -> str:
        """A token for another viewer of the same course."""
        return self.stack.token("admin", "root")

    def viewer(self) -> RawSocket:
        """Return another viewer, which has got its first frame."""
        opened = RawSocket.open(self.stack.port, self.path, self.token)
        opened.frame_of(Opcode.TEXT)
        return opened

    def sees_newer_numbers(self) -> None:
        """Let one more student finish a lesson; the frame that counts them must come."""
        self.students += 1
        answer = self.stack.client().post(
            "/progress/lessons/a/complete",
            json={"course_id": self.course_id, "user_id": f"student-{self.students}"},
        )
        assert answer.status_code == 202, answer.text
        students = -1
        while students < self.students:
            frame = json.loads(self.socket.recv(PATIENCE))
            assert frame["version"] > self.version
            self.version = frame["version"]
            students = frame["analytics"]["students"]
        assert students == self.students

    @contextmanager
    def unharmed(self) -> Iterator[None]:
        """Prove that what is done meanwhile takes nothing from others and breaks no code."""
        log = self.stack.data_dir / "logs/api.log"
        before = log.stat().st_size
        yield
        self.sees_newer_numbers()
        added = _from(log, before)
        assert "Traceback" not in added, added


def _from(log: Path, start: int) -> str:
    with log.open("rb") as file:
        file.seek(start if log.stat().st_size >= start else 0)  # it may have been rotated
        return file.read().decode("utf-8", "replace")


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One installation for these files, which is quick to answer and to lose patience."""
    running = Stack.start(
        tmp_path_factory.mktemp("sockets"),
        REFRESH_WINDOW_MS="10",
        SOCKET_PING_SECONDS="3",
        SOCKET_HANDSHAKE_SECONDS="2",
    )
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def witness(stack: Stack) -> Iterator[Witness]:
    """Return a viewer that is connected from a file's first test to its last."""
    course_id = f"watched-{secrets.token_hex(4)}"
    body = {"course_id": course_id, "title": "Watched", "instructor_id": "prof"}
    answer = stack.client().post("/courses", json=body | {"modules": lessons("a")})
    assert answer.status_code == 201, answer.text
    headers = {"Authorization": f"Bearer {stack.token('instructor', 'prof')}"}
    url = f"{stack.socket_url}/realtime/course/{course_id}"
    with connect(url, additional_headers=headers) as socket:
        connected = Witness(stack, course_id, socket)
        yield connected
        connected.sees_newer_numbers()
