"""The shape of a course: what clients send, what is stored, what they get back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from analytics.clock import rfc3339
from analytics.ids import Id

Text = Annotated[str, StringConstraints(strict=True, max_length=10_000)]
Title = Annotated[str, StringConstraints(strict=True, min_length=3, max_length=200)]
ShortTitle = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=200)]
# A category becomes a field name in the platform's totals, which cannot hold every control.
Label = Id
Minutes = Annotated[float, Field(ge=0, le=100_000, strict=True, allow_inf_nan=False)]
Difficulty = Literal["beginner", "intermediate", "advanced"]


class Strict(BaseModel):
    """A body: unknown fields are refused, and numbers are finite."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Lesson(Strict):
    """One lesson of a module."""

    lesson_id: Id
    title: ShortTitle
    content_type: Literal["video", "article", "quiz"]
    duration_minutes: Minutes = 0


class Module(Strict):
    """A module of a course; lesson ids are unique within the course."""

    module_id: Id
    title: ShortTitle
    index: int = Field(0, ge=0, le=100_000, strict=True)
    lessons: list[Lesson] = Field(default_factory=list, max_length=5_000)


class CourseFields(Strict):
    """What may be given of a course, at its creation and later."""

    description: Text | None = None
    slug: Label | None = None
    category: Label | None = None
    tags: list[Label] = Field(default_factory=list, max_length=100)
    difficulty: Difficulty | None = None
    language: Label | None = None
    modules: list[Module] = Field(default_factory=list, max_length=1_000)
    published: bool = Field(default=False, strict=True)

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Self:
        check_unique(self.modules)
        return self


class NewCourse(CourseFields):
    """The body of `POST /courses`."""

    course_id: Id | None = None
    title: Title
    instructor_id: Id


class CourseChange(CourseFields):
    """The body of `PUT /courses/{course_id}`: the fields given are replaced."""

    title: Title = "..."
    instructor_id: Id = "..."


class ModuleChange(Strict):
    """The body of `PUT /courses/{course_id}/modules/{module_id}`: the fields given are replaced."""

    title: ShortTitle = "..."
    index: int = Field(0, ge=0, le=100_000, strict=True)
    lessons: list[Lesson] = Field(default_factory=list, max_length=5_000)


def check_unique(modules: Iterable[Module]) -> None:
    """Raise `ValueError` where a module or lesson id stands twice."""
    module_ids: set[str] = set()
    lesson_ids: set[str] = set()
    for module in modules:
        if module.module_id in module_ids:
            message = f"module_id {module.module_id!r} stands twice; make ids unique in the course"
            raise ValueError(message)
        module_ids.add(module.module_id)
        for lesson in module.lessons:
            if lesson.lesson_id in lesson_ids:
                message = (
                    f"lesson_id {lesson.lesson_id!r} stands twice; make ids unique in the course"
                )
                raise ValueError(message)
            lesson_ids.add(lesson.lesson_id)


def lesson_ids(course: dict[str, Any]) -> list[str]:
    """Return the ids of the lessons that a stored course has today."""
    return [lesson["lesson_id"] for module in course["modules"] for lesson in module["lessons"]]


def derived_fields(modules: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what is stored beside the modules because lists are searched and sorted by it."""
    lessons = [lesson for module in modules for lesson in module["lessons"]]
    total = sum(lesson["duration_minutes"] for lesson in lessons)
    return {"lessons_count": len(lessons), "total_duration_minutes": round(total, 3)}


def public_course(course: dict[str, Any]) -> dict[str, Any]:
    """Return the course as clients see it."""
    ratings = course["ratings"]
    count = ratings["count"]
    return {
        "_id": course["_id"],
        "title": course["title"],
        "description": course["description"],
        "slug": course["slug"],
        "category": course["category"],
        "tags": course["tags"],
        "difficulty": course["difficulty"],
        "language": course["language"],
        "instructor_id": course["instructor_id"],
        "modules": course["modules"],
        "lessons_count": course["lessons_count"],
        "total_duration_minutes": course["total_duration_minutes"],
        "ratings_avg": mean_rating(ratings["sum"], count),
        "ratings_count": count,
        "enroll_count": course["enroll_count"],
        "published": course["published"],
        "created_at": rfc3339(course["created_at"]),
        "updated_at": rfc3339(course["updated_at"]),
    }


def mean_rating(total: int, count: int) -> float:
    """Return the mean of a course's ratings, 2 decimals half up; 0.0 without any."""
    return (200 * total + count) // (2 * count) / 100 if count else 0.0
