"""What simulated learners do next: pure decisions, the randomness comes in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from random import Random

FIRST_STUDENTS = 12
MOST_STUDENTS = 200
NEWCOMER_CHANCE = 0.02
COMPLETION_CHANCE = 0.3
SEGMENTS_CHANCE = 0.7
FAVOURITE_CHANCE = (
    0.5  # half of all events on one course, so that somebody who watches sees it move
)


@dataclass(frozen=True)
class Action:
    """One request: path and JSON body of a progress event."""

    path: str
    body: dict[str, Any]


@dataclass
class Classroom:
    """The learners and what they have finished as far as this simulation knows."""

    random: Random
    instructors: frozenset[str] | None = None
    """Whose courses they take; None: everybody's."""
    courses: list[dict[str, Any]] = field(default_factory=list)
    students: int = FIRST_STUDENTS
    finished: set[tuple[str, str, str]] = field(default_factory=set)

    def replace_courses(self, courses: list[dict[str, Any]]) -> None:
        """Take the courses that exist today; those without lessons give nothing to do."""
        self.courses = sorted(
            (course for course in courses if _lessons(course) and self._takes(course)),
            key=lambda course: course["_id"],
        )

    def next_action(self) -> Action:
        """Decide what happens next; needs at least one course with a lesson."""
        if self.students < MOST_STUDENTS and self.random.random() < NEWCOMER_CHANCE:
            self.students += 1
        student = f"demo-student-{self.random.randrange(self.students) + 1:03d}"
        favourite = self.random.random() < FAVOURITE_CHANCE
        course = self.courses[0] if favourite else self.random.choice(self.courses)
        lesson = self.random.choice(_lessons(course))
        person = {"course_id": course["_id"], "user_id": student}
        done = (student, course["_id"], lesson["lesson_id"])
        if done not in self.finished and self.random.random() < COMPLETION_CHANCE:
            self.finished.add(done)
            return _action(lesson, "complete", person)
        if lesson["content_type"] == "quiz":
            most = self.random.choice((5, 10, 20))
            score = {"score": self.random.randint(most // 3, most), "max_score": most}
            return _action(lesson, "quiz-attempts", {**person, **score})
        return _action(lesson, "watch-time", {**person, **self._watched(lesson)})

    def _takes(self, course: dict[str, Any]) -> bool:
        return self.instructors is None or course["instructor_id"] in self.instructors

    def _watched(self, lesson: dict[str, Any]) -> dict[str, Any]:
        length = max(int(60 * float(lesson.get("duration_minutes") or 0)), 30)
        seconds = self.random.randint(5, min(length, 180))
        if lesson["content_type"] == "video" and self.random.random() < SEGMENTS_CHANCE:
            begin = self.random.randint(0, max(length - seconds, 0))
            return {"segments": [[begin, begin + seconds]]}
        return {"watch_time": seconds}


def _lessons(course: dict[str, Any]) -> list[dict[str, Any]]:
    return [lesson for module in course.get("modules") or () for lesson in module["lessons"]]


def _action(lesson: dict[str, Any], kind: str, body: dict[str, Any]) -> Action:
    return Action(f"/progress/lessons/{quote(lesson['lesson_id'], safe='')}/{kind}", body)
