"""The shapes of what goes over the sockets: `messages.encode_frame` writes them, these describe.

Frames are not validated on their way, which would cost more than all the rest of it; a test holds
real frames against these models' schemas.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

Moment = Annotated[
    datetime,
    WithJsonSchema({"type": "string", "format": "date-time"}),
    Field(examples=["2026-11-23T09:30:00.123Z"]),
]
"""RFC 3339, UTC, with `Z`."""


class Shape(BaseModel):
    """Exactly these fields."""

    model_config = ConfigDict(extra="forbid")


class CourseAnalytics(Shape):
    """A course's numbers; each is rounded once, half up."""

    course_id: str = Field(examples=["68a1e085f965e83b626e215e"])
    students: int = Field(ge=0, description="Students with a progress document in the course.")
    avg_completion: float = Field(
        ge=0, le=100, description="Percent: the mean over students, of the lessons there are today."
    )
    total_watch_time_minutes: float = Field(ge=0, description="What was watched twice counts once.")
    avg_watch_time_per_student: float = Field(ge=0, description="In minutes.")
    avg_quiz_score: float = Field(ge=0, le=100, description="Percent: the mean over all attempts.")
    generated_at: Moment = Field(description="When it was computed.")


class CategoryCount(Shape):
    """A category and how many courses it has."""

    id: str = Field(alias="_id", examples=["Data"])
    count: int = Field(ge=1)


class PlatformOverview(Shape):
    """The platform's numbers."""

    total_courses: int = Field(ge=0)
    active_students: int = Field(ge=0, description="Distinct users with progress in any course.")
    avg_rating: float = Field(ge=0, le=5, description="The mean over courses that have ratings.")
    popular_categories: list[CategoryCount] = Field(
        max_length=5, description="The five with most courses, by count down, then by name."
    )
    generated_at: Moment = Field(description="When it was computed.")


class Versioned(Shape):
    """What frames of both kinds carry beside the numbers."""

    version: int = Field(
        ge=0, description="Grows with every new state of the subject; 0 before the first."
    )
    latest_event_at: Moment | None = Field(
        description="When the newest event in the numbers was accepted."
    )
    request_id: str | None = Field(description="The `X-Request-ID` of that event.")


class CourseFrame(Versioned):
    """The present state of a course."""

    event: Literal["course_analytics_update"]
    course_id: str
    analytics: CourseAnalytics


class PlatformFrame(Versioned):
    """The present state of the platform."""

    event: Literal["platform_overview"]
    data: PlatformOverview


class Authentication(BaseModel):
    """The first message where neither header nor cookie authenticates; later: a fresh token."""

    type: Literal["auth"]
    token: str = Field(description="A JWT, as in `Authorization: Bearer`.")


def schemas(*models: type[BaseModel], prefix: str) -> dict[str, Any]:
    """Return the models' JSON schemas by name, their references beginning with `prefix`."""
    found: dict[str, Any] = {}
    for model in models:
        schema = model.model_json_schema(ref_template=prefix + "{model}")
        found |= schema.pop("$defs", {})
        found[model.__name__] = schema
    return found
