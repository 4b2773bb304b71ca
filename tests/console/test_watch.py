"""`coursepulse watch` as a process, against the real system and against a server of the test's."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from websockets.sync.server import Server, ServerConnection, serve

from console.watch import EXITS, duration, line, pause
from tests.stack import COMMAND, Stack, eventually, lessons
from tests.whole.test_whole_path import pid_of

SECRET = "a secret of at least thirty-two bytes"
LINE = re.compile(
    r"version (\d+)  students (\d+)  completion ([\d.]+) %  watched ([\d.]+) min"
    r"  quiz ([\d.]+) %  age [\d.]+ (s|min|h|d)"
)


class Watcher:
    """One `coursepulse watch` and what it wrote."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process = process
        self._folder = folder

    def lines(self) -> list[str]:
        """Return the finished lines of its output."""
        return (self._folder / "out").read_text().split("\n")[:-1]

    def complaints(self) -> str:
        return (self._folder / "err").read_text()

    def exit_code(self) -> int:
        return self.process.wait(30)


@contextmanager
def watching(
    folder: Path, environment: dict[str, str], *words: str, **variables: str
) -> Iterator[Watcher]:
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        process = subprocess.Popen(
            [COMMAND, "watch", *words],
            env=environment | variables,
            stdout=out,
            stderr=err,
            text=True,
        )
    try:
        yield Watcher(process, folder)
    finally:
        process.kill()
        process.wait(10)


def make_course(stack: Stack) -> str:
    course = f"course-{secrets.token_hex(4)}"
    body = {
        "course_id": course,
        "title": "A course",
        "instructor_id": "prof",
        "modules": lessons("a", "b"),
    }
    stack.client().post("/courses", json=body).raise_for_status()
    return course


def complete(stack: Stack, course: str, user: str = "ann") -> None:
    body = {"course_id": course, "user_id": user}
    stack.client().post("/progress/lessons/a/complete", json=body).raise_for_status()


def test_each_newer_state_is_one_line(stack: Stack, tmp_path: Path) -> None:
    course = make_course(stack)
    with watching(tmp_path, stack.environment, "--course", course) as watcher:
        eventually(watcher.lines, seconds=30, what="the present state")
        complete(stack, course)
        eventually(lambda: "students 1" in watcher.lines()[-1], what="the student")
        shown = [LINE.fullmatch(text) for text in watcher.lines()]
        versions = [int(match[1]) for match in shown if match]
        assert len(versions) == len(shown)
        assert versions == sorted(set(versions))
        last = shown[-1]
        assert last is not None
        assert (last[2], last[3]) == ("1", "50.00")
        watcher.process.send_signal(signal.SIGINT)
        assert watcher.exit_code() == 0
        assert watcher.complaints() == ""


def test_the_platforms_frames_as_json(stack: Stack, tmp_path: Path) -> None:
    make_course(stack)
    with watching(tmp_path, stack.environment, "--instructor", "prof", "--json") as watcher:
        eventually(watcher.lines, seconds=30, what="a frame")
        frame = json.loads(watcher.lines()[0])
        assert frame["event"] == "platform_overview"
        assert frame["data"]["total_courses"] >= 1


@pytest.mark.parametrize("way", ["option", "variable"])
def test_a_token_may_be_given(stack: Stack, tmp_path: Path, way: str) -> None:
    course, token = make_course(stack), stack.token("instructor", "prof")
    words = ("--token", token) if way == "option" else ()
    variables = {"COURSEPULSE_TOKEN": token} if way == "variable" else {}
    # Another secret than the installation's: only the given token can have opened the door.
    with watching(
        tmp_path, stack.environment, "--course", course, *words, JWT_SECRET=SECRET, **variables
    ) as watcher:
        eventually(watcher.lines, seconds=30, what="a frame")


@pytest.mark.parametrize(
    ("role", "course", "exit_code"), [("student", None, 4), ("admin", "absent", 5), (None, None, 3)]
)
def test_what_does_not_pass_ends_it(
    stack: Stack, tmp_path: Path, role: Any, course: str | None, exit_code: int
) -> None:
    token = "a.b.c" if role is None else stack.token(role, "somebody")
    course = course or make_course(stack)
    with watching(tmp_path, stack.environment, "--course", course, "--token", token) as watcher:
        assert watcher.exit_code() == exit_code
        assert dict(EXITS.values())[exit_code] in watcher.complaints()
        assert len(watcher.complaints().splitlines()) == 1
        assert watcher.lines() == []


def test_a_second_secret_that_is_refused_ends_it(stack: Stack, tmp_path: Path) -> None:
    course = make_course(stack)
    with watching(tmp_path, stack.environment, "--course", course, JWT_SECRET=SECRET) as watcher:
        assert watcher.exit_code() == 3
        assert "has expired; again in" in watcher.complaints()  # it tried a fresh one first


@pytest.mark.parametrize("words", [(), ("--course", "a", "--instructor", "b"), ("--course", "")])
def test_it_takes_one_subject(tmp_path: Path, words: tuple[str, ...]) -> None:
    with watching(tmp_path, dict(os.environ), *words) as watcher:
        assert watcher.exit_code() == 2
        assert len(watcher.complaints().splitlines()) == 1


def test_a_token_that_is_none_is_refused(tmp_path: Path) -> None:
    words = ("--course", "a", "--token", "not a token")
    with watching(tmp_path, dict(os.environ), *words) as watcher:
        assert watcher.exit_code() == 1
        assert "JWT" in watcher.complaints()


def test_it_ends_with_its_reader(stack: Stack) -> None:
    course = make_course(stack)
    process = subprocess.Popen(
        [COMMAND, "watch", "--course", course, "--json"],
        env=stack.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process, process.stdout, process.stderr:
        assert json.loads(process.stdout.readline())["version"] == 0
        process.stdout.close()
        complete(stack, course)
        assert process.wait(30) == 0
        assert process.stderr.read() == ""


@pytest.fixture(scope="module")
def harmed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Yield an installation whose API a test may kill."""
    running = Stack.start(tmp_path_factory.mktemp("harmed"))
    yield running
    assert running.stop() == 0


def test_a_killed_server_is_waited_for(harmed: Stack, tmp_path: Path) -> None:
    course = make_course(harmed)
    with watching(tmp_path, harmed.environment, "--course", course) as watcher:
        eventually(watcher.lines, seconds=30, what="the present state")
        before = pid_of(harmed, "api")
        os.kill(before, signal.SIGKILL)
        eventually(lambda: pid_of(harmed, "api") != before, seconds=30, what="the restart")
        client = harmed.client()
        # The first requests find a connection that died with the server.
        eventually(lambda: answers(client), seconds=30, what="the API")
        complete(harmed, course)
        eventually(lambda: "students 1" in watcher.lines()[-1], seconds=60, what="the student")
        versions = [text.split()[1] for text in watcher.lines()]
        assert versions == sorted(set(versions), key=int)
        assert "again in" in watcher.complaints()


def answers(client: Any) -> bool:
    import httpx  # noqa: PLC0415  # for its error alone

    try:
        ready: bool = client.get("/health/ready").is_success
    except httpx.TransportError:
        return False
    return ready


@contextmanager
def server_that_plays(*visits: list[str | int]) -> Iterator[int]:
    """Serve each visit's frames in turn, then its close code; yield the port."""
    left = list(visits)

    def visit(socket: ServerConnection) -> None:
        for step in left.pop(0):
            if isinstance(step, int):
                socket.close(step, "because")
            else:
                socket.send(step)

    server: Server = serve(visit, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.socket.getsockname()[1]
    finally:
        server.shutdown()
        thread.join()


def frame(version: int) -> str:
    return json.dumps({"version": version})


def test_versions_never_go_back_and_a_replaced_watcher_ends(tmp_path: Path) -> None:
    visits: list[list[str | int]] = [
        [frame(5), frame(4), frame(7), 4508],
        [frame(6), frame(7), frame(8), 1012],
        [frame(8), 4409],
    ]
    words = ("--instructor", "prof", "--json")
    with server_that_plays(*visits) as port:
        environment = {name: text for name, text in os.environ.items() if name != "HOST"}
        environment |= {"PORT": str(port), "DATA_DIR": str(tmp_path), "JWT_SECRET": SECRET}
        with watching(tmp_path, environment, *words) as watcher:
            assert watcher.exit_code() == 6
            assert [json.loads(text)["version"] for text in watcher.lines()] == [5, 7, 8]
            complaints = watcher.complaints().splitlines()
    assert [text.split(";")[0] for text in complaints] == [
        "coursepulse: this terminal was too slow",
        "coursepulse: the server restarts",
        "coursepulse: replaced by a newer connection of the same instructor (4409 because)",
    ]


@pytest.mark.parametrize(
    ("code", "failures", "least", "most"),
    [(1012, 9, 0, 5), (4508, 9, 0, 5), (4429, 0, 60, 90), (0, 0, 0.1, 1), (1011, 9, 0.1, 30)],
)
def test_pauses_are_spread(code: int, failures: int, least: float, most: float) -> None:
    pauses = [pause(code, failures, Random(seed))[0] for seed in range(200)]
    assert least <= min(pauses) < max(pauses) <= most
    assert max(pauses) - min(pauses) > (most - least) / 2


def test_a_line_holds_nothing_that_a_terminal_obeys() -> None:
    data = {
        "total_courses": 2,
        "active_students": 3,
        "avg_rating": 4.5,
        "popular_categories": [{"_id": "\x1b[2J\n", "count": 2}],
        "generated_at": "2026-01-01T00:00:00Z",
    }
    shown = line({"event": "platform_overview", "data": data, "version": 9}, 1_767_225_661.0)
    assert shown == (
        "version 9  courses 2  students 3  rating 4.50  categories ?[2J? 2  age 1.0 min"
    )


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-3, "0.0 s"), (0.34, "0.3 s"), (90, "1.5 min"), (7_200, "2.0 h"), (180_000, "2.1 d")],
)
def test_a_time_span_is_written_in_its_largest_unit(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown
