"""A stream of learners whose acknowledgements are recorded, and viewers who note what they see."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Any, Self

import httpx
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from tests.stack import Stack

THREADS = 4
STUDENTS = 20
REFUSED_PAUSE = 0.05


class Stream:
    """Posts a minute of watch time at a rate, each event until it is acknowledged."""

    def __init__(self, stack: Stack, courses: tuple[str, ...], rate: float) -> None:
        self._stack = stack
        self._courses = courses
        self._pause = THREADS / rate
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.acknowledged: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.slowest_ack = 0.0
        self._threads = [
            threading.Thread(target=self._run, args=(number,)) for number in range(THREADS)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, thread: int) -> None:
        headers = {"Authorization": f"Bearer {self._stack.token()}"}
        number = thread
        with httpx.Client(base_url=self._stack.url, headers=headers, timeout=10) as client:
            while not self._stop.wait(self._pause):
                course = self._courses[number % len(self._courses)]
                self._post(client, course, f"u{number % STUDENTS}")
                number += THREADS

    def _post(self, client: httpx.Client, course: str, user: str) -> None:
        key = {"Idempotency-Key": secrets.token_hex(8)}
        body = {"course_id": course, "user_id": user, "watch_time": 60}
        while True:
            began = time.monotonic()
            try:
                answer = client.post("/progress/lessons/a/watch-time", json=body, headers=key)
            except httpx.TransportError as error:
                self._refuse(type(error).__name__)
                continue
            with self._lock:
                self.slowest_ack = max(self.slowest_ack, time.monotonic() - began)
            if answer.status_code == 202:
                with self._lock:
                    self.acknowledged[course] += 1
                return
            assert answer.status_code == 503, answer.text
            assert answer.headers["retry-after"]
            self._refuse("503")

    def _refuse(self, why: str) -> None:
        with self._lock:
            self.refused[why] += 1
        time.sleep(REFUSED_PAUSE)


class Watcher:
    """One dashboard of a course: connects again whenever it is cut off, and never looks back."""

    def __init__(self, stack: Stack, course: str) -> None:
        headers = {"Authorization": f"Bearer {stack.token('admin', 'root')}"}
        self._options: dict[str, Any] = {
            "uri": f"{stack.socket_url}/realtime/course/{course}",
            "additional_headers": headers,
        }
        self.course = course
        self.versions: list[int] = []
        self.minutes = 0.0
        self.connections = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with connect(**self._options) as socket:
                    self.connections += 1
                    self._read(socket)
            except (OSError, WebSocketException):  # the API is away; it comes back
                time.sleep(REFUSED_PAUSE)

    def _read(self, socket: Any) -> None:
        first = True
        while not self._stop.is_set():
            try:
                frame = json.loads(socket.recv(timeout=0.2))
            except TimeoutError:
                continue
            # A new connection begins with the present state, which may be the one seen last.
            if first and self.versions[-1:] == [frame["version"]]:
                continue
            first = False
            self.versions.append(frame["version"])
            self.minutes = frame["analytics"]["total_watch_time_minutes"]
