"""A course of the test's own on the running installation, and a student's actions in it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Self

import httpx
import pytest

from tests.stack import Stack, eventually, lessons


@dataclass
class Classroom:
    """A course that only one test uses."""

    stack: Stack
    course_id: str
    instructor: str
    service: httpx.Client
    owner: httpx.Client

    @classmethod
    def create(cls, stack: Stack, course_id: str, instructor: str = "prof") -> Self:
        """Create a course of this id with the lesson a."""
        service, owner = stack.client(), stack.client("instructor", instructor)
        body = {
            "course_id": course_id,
            "title": "A course",
            "instructor_id": instructor,
            "modules": lessons("a"),
        }
        answer = service.post("/courses", json=body)
        assert answer.status_code == 201, answer.text
        return cls(stack, course_id, instructor, service, owner)

    def post(
        self, lesson: str, action: str, body: dict[str, Any], **options: Any
    ) -> httpx.Response:
        """Post a progress event as the learning platform does."""
        path = f"/progress/lessons/{httpx_quote(lesson)}/{action}"
        body = {"course_id": self.course_id, "user_id": "ann"} | body
        return self.service.post(path, json=body, **options)

    def analytics(self) -> dict[str, Any]:
        """Return the course's numbers as REST tells them."""
        answer = self.owner.get(f"/courses/{httpx_quote(self.course_id)}/analytics")
        assert answer.status_code == 200, answer.text
        numbers: dict[str, Any] = answer.json()
        return numbers

    def reaches(self, **numbers: Any) -> None:
        """Wait until the course's numbers are these."""

        def there() -> bool:
            now = self.analytics()
            return all(now[name] == value for name, value in numbers.items())

        eventually(there, what=f"analytics {numbers}")

    def progress(self, user: str = "ann") -> dict[str, Any]:
        """Return a student's own progress."""
        path = f"/progress/courses/{httpx_quote(self.course_id)}"
        answer = self.service.get(path, params={"user_id": user})
        assert answer.status_code == 200, answer.text
        own: dict[str, Any] = answer.json()
        return own


def httpx_quote(text: str) -> str:
    """Return text as one segment of a path."""
    from urllib.parse import quote  # noqa: PLC0415  # a name that says for whom

    return quote(text, safe="")


@pytest.fixture
def room(stack: Stack) -> Classroom:
    """Return a fresh course with the lessons a, b and c."""
    instructor = f"prof-{secrets.token_hex(4)}"
    service, owner = stack.client(), stack.client("instructor", instructor)
    answer = service.post(
        "/courses",
        json={"title": "A course", "instructor_id": instructor, "modules": lessons("a", "b", "c")},
    )
    assert answer.status_code == 201, answer.text
    return Classroom(stack, answer.json()["_id"], instructor, service, owner)
