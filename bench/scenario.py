"""The courses and students that the installation is measured with, and their requests."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from bench.http_client import Answer, Connection, request_bytes

LESSONS = 10
CONNECTIONS = 8
SECONDS_PER_EVENT = 60  # each event adds a whole minute: the frame's minutes count the events
INSTRUCTOR = "bench-teacher"


@dataclass(frozen=True, slots=True)
class Scenario:
    """Where to send what."""

    port: int
    token: str
    courses: tuple[str, ...]
    students: int

    def watch(self, course: str, student: str, lesson: int) -> bytes:
        """Return the request of a watch-time event."""
        body = {"course_id": course, "user_id": student, "watch_time": SECONDS_PER_EVENT}
        path = f"/progress/lessons/l{lesson}/watch-time"
        return request_bytes("POST", path, self.token, body)

    def enrol(self, course: str, student: str) -> bytes:
        """Return the request that enrols a student."""
        path = f"/courses/{course}/enrollments"
        return request_bytes("POST", path, self.token, {"user_id": student})

    def create(self, course: str) -> bytes:
        """Return the request that creates a course."""
        return request_bytes("POST", "/courses", self.token, course_body(course))

    def prepare(self) -> None:
        """Create the courses and enrol their students."""
        asyncio.run(self._prepare())

    async def _prepare(self) -> None:
        await send_all(self.port, [self.create(course) for course in self.courses])
        names = [student_name(number) for number in range(self.students)]
        await send_all(
            self.port, [self.enrol(course, name) for name in names for course in self.courses]
        )


def course_body(course: str, lessons: int = LESSONS) -> dict[str, Any]:
    """Return the body that creates a course with the lessons l0, l1 and so on."""
    module = {
        "module_id": "m1",
        "title": "Module",
        "lessons": [
            {"lesson_id": f"l{number}", "title": f"Lesson {number}", "content_type": "video"}
            for number in range(lessons)
        ],
    }
    return {
        "course_id": course,
        "title": f"Course {course}",
        "instructor_id": INSTRUCTOR,
        "category": "bench",
        "modules": [module],
    }


def student_name(number: int) -> str:
    """Return the id of a student."""
    return f"student-{number}"


async def send_all(port: int, requests: list[bytes], connections: int = CONNECTIONS) -> None:
    """Send requests over a few connections; raise where one is refused."""
    waiting = iter(requests)

    async def work() -> None:
        connection = await Connection.open(port)
        for request in waiting:
            answer: Answer = await connection.send(request)
            if answer.status >= 400:
                raise RuntimeError(f"{answer.status}: {answer[1].decode()}")
        connection.close()

    await asyncio.gather(*(work() for _ in range(connections)))
