"""What simulated learners do is always something the API can accept."""

from __future__ import annotations

from random import Random
from typing import Any

from console.demo import CATALOGUE, COURSE, INSTRUCTOR, course_body, course_id
from console.learners import MOST_STUDENTS, Classroom
from console.simulate import percentile


def classroom() -> Classroom:
    bodies = [course_body(position) for position in range(len(CATALOGUE))]
    room = Classroom(Random(7))
    room.replace_courses([{**body, "_id": body["course_id"]} for body in bodies])
    return room


def test_learners_of_some_instructors_leave_other_courses_alone() -> None:
    bodies = [course_body(position) for position in range(len(CATALOGUE))]
    theirs = {body["course_id"] for body in bodies if body["instructor_id"] == INSTRUCTOR}
    room = Classroom(Random(7), frozenset({INSTRUCTOR}))
    room.replace_courses([{**body, "_id": body["course_id"]} for body in bodies])
    assert {room.next_action().body["course_id"] for _ in range(500)} == theirs


def test_every_action_is_within_the_contract() -> None:
    room = classroom()
    for _ in range(3000):
        action = room.next_action()
        kind = action.path.rpartition("/")[2]
        body: dict[str, Any] = action.body
        if kind == "quiz-attempts":
            assert 0 <= body["score"] <= body["max_score"]
        elif kind == "watch-time" and "segments" in body:
            assert all(0 <= begin < end for begin, end in body["segments"])
        elif kind == "watch-time":
            assert 0 < body["watch_time"] <= 86400
        else:
            assert kind == "complete"


def test_a_lesson_is_completed_once_per_student() -> None:
    room = classroom()
    actions = [room.next_action() for _ in range(5000)]
    done = [
        (action.path, *action.body.values()) for action in actions if action.path.endswith("te")
    ]
    assert len(done) == len(set(done))


def test_students_are_bounded() -> None:
    room = classroom()
    students = {room.next_action().body["user_id"] for _ in range(20_000)}
    assert 100 < len(students) <= MOST_STUDENTS


def test_courses_without_lessons_give_nothing_to_do() -> None:
    room = Classroom(Random(1))
    room.replace_courses([{"_id": "empty", "modules": []}])
    assert room.courses == []


def test_lesson_ids_of_any_text_make_one_path() -> None:
    room = Classroom(Random(1))
    lesson = {"lesson_id": "a/b ?#", "content_type": "quiz", "duration_minutes": 1}
    room.replace_courses([{"_id": "c", "modules": [{"lessons": [lesson]}]}])
    assert room.next_action().path.startswith("/progress/lessons/a%2Fb%20%3F%23/")


def test_the_catalogue_is_the_documented_one() -> None:
    categories = [category for _, category, _ in CATALOGUE]
    assert (len(CATALOGUE), categories.count("Data"), categories.count("Backend")) == (14, 12, 1)
    assert course_id(0) == COURSE
    assert len({course_id(position) for position in range(14)}) == 14


def test_percentiles_are_of_the_nearest_rank() -> None:
    assert percentile([], 0.5) == 0
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([1.0], 0.99) == 1.0
