"""The demo data of `DEMO=on`: two instructors' courses and a few students, made through the API.

Repeating is harmless: ids and idempotency keys are fixed, and the last course, made after all
else, says that everything is there.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx

from analytics.errors import CoursepulseError
from console.client import TRY_AGAIN, client_options, pause_before_retry

if TYPE_CHECKING:
    from analytics.settings import Settings

COURSE = "68a1e085f965e83b626e215e"
INSTRUCTOR = "689f3b634ccdaf5428b24d62"
SECOND_INSTRUCTOR = "689f3b634ccdaf5428b24d63"
STUDENTS = ("ada", "ben", "chloe", "dev", "ema", "finn")
DEADLINE = 20.0  # seconds for all of it

# Title, category, instructor; the first is the course of the example in the documentation.
CATALOGUE: tuple[tuple[str, str | None, str], ...] = (
    ("Data Analysis with Python", "Data", INSTRUCTOR),
    ("SQL from the Ground Up", "Data", INSTRUCTOR),
    ("Statistics for Decisions", "Data", INSTRUCTOR),
    ("Visualising Data", "Data", INSTRUCTOR),
    ("Spreadsheets, Seriously", "Data", INSTRUCTOR),
    ("Time Series", "Data", INSTRUCTOR),
    ("Machine Learning Basics", "Data", SECOND_INSTRUCTOR),
    ("Data Ethics", "Data", SECOND_INSTRUCTOR),
    ("Experiments and A/B Tests", "Data", SECOND_INSTRUCTOR),
    ("Geographic Data", "Data", SECOND_INSTRUCTOR),
    ("Text as Data", "Data", SECOND_INSTRUCTOR),
    ("Streaming Pipelines", "Data", SECOND_INSTRUCTOR),
    ("Backend Services", "Backend", SECOND_INSTRUCTOR),
    ("Learning How to Learn", None, SECOND_INSTRUCTOR),
)


def course_id(position: int) -> str:
    """Return the id of a course of the catalogue; they count up from the first."""
    return f"{int(COURSE, 16) + position:024x}"


def course_body(position: int) -> dict[str, Any]:
    """Return what is posted for a course of the catalogue."""
    title, category, instructor = CATALOGUE[position]
    body: dict[str, Any] = {
        "course_id": course_id(position),
        "title": title,
        "instructor_id": instructor,
        "description": f"{title}: a demo course.",
        "difficulty": ("beginner", "intermediate", "advanced")[position % 3],
        "language": "en",
        "published": True,
        "modules": [
            {"module_id": "m1", "title": "Foundations", "index": 0, "lessons": lessons("1")},
            {"module_id": "m2", "title": "Practice", "index": 1, "lessons": lessons("2")},
        ],
    }
    return body if category is None else {**body, "category": category}


def lessons(module: str) -> list[dict[str, Any]]:
    """Return a module's lessons: one of each content type."""
    return [
        {
            "lesson_id": f"{kind}-{module}",
            "title": title,
            "content_type": kind,
            "duration_minutes": minutes,
        }
        for kind, title, minutes in (
            ("video", "Watch", 12),
            ("article", "Read", 8),
            ("quiz", "Check yourself", 5),
        )
    ]


def progress_events() -> list[tuple[str, dict[str, Any]]]:
    """Return path and body of each demo event; each student has got a bit further."""
    events: list[tuple[str, dict[str, Any]]] = []
    for number, student in enumerate(STUDENTS):
        person = {"course_id": COURSE, "user_id": student}
        watched = 120 * (number + 1)
        events.append(("video-1/watch-time", {**person, "segments": [[0, watched]]}))
        if number >= 1:
            events.append(("video-1/complete", person))
        if number >= 2:  # noqa: PLR2004  # the third student got to the quiz
            score = {"score": 5 + number % 5, "max_score": 10}
            events.append(("quiz-1/quiz-attempts", {**person, **score}))
    return [(f"/progress/lessons/{path}", body) for path, body in events]


def seed(settings: Settings) -> str:
    """Make the demo data where it is not there yet; return what was done, for the terminal.

    Raises `CoursepulseError` where the API refuses.
    """
    last = len(CATALOGUE) - 1
    deadline = time.monotonic() + DEADLINE
    with httpx.Client(**client_options(settings)) as client:

        def send(method: str, path: str, body: Any = None, key: str | None = None) -> int:
            headers = {} if key is None else {"Idempotency-Key": key}
            return _send(client, deadline, client.build_request(
                method, path, json=body, headers=headers))  # fmt: skip

        if send("GET", f"/courses/{course_id(last)}") == httpx.codes.OK:
            return "data is there already"
        for position in range(last):
            send("POST", "/courses", course_body(position))
        for student in STUDENTS:
            send("POST", f"/courses/{COURSE}/enrollments", {"user_id": student})
        for number, (path, body) in enumerate(progress_events()):
            send("POST", path, body, key=f"demo-seed-{number}")
        send("POST", "/courses", course_body(last))
    return f"made {len(CATALOGUE)} courses and {len(STUDENTS)} students"


def _send(client: httpx.Client, deadline: float, request: httpx.Request) -> int:
    """Send until it is answered; a conflict says that an earlier start made it already."""
    while True:
        try:
            answer = client.send(request)
        except httpx.TransportError as error:
            answer = httpx.Response(httpx.codes.SERVICE_UNAVAILABLE, text=str(error))
        missing = request.method == "GET" and answer.status_code == httpx.codes.NOT_FOUND
        if answer.is_success or missing or answer.status_code == httpx.codes.CONFLICT:
            return answer.status_code
        if answer.status_code not in TRY_AGAIN or time.monotonic() > deadline:
            message = (
                f"the demo data was refused: {request.method} {request.url.path} answered"
                f" {answer.status_code} {answer.text[:300]}"
            )
            raise CoursepulseError(message)
        time.sleep(pause_before_retry(answer.headers))
