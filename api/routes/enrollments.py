"""Enrolments, removals, ratings."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import Field

from analytics.courses import Strict
from analytics.events import Enrolled
from analytics.ids import Id
from analytics.subjects import PLATFORM, Subject
from api.dependencies import (
    Caller,
    PathId,
    RequestId,
    TheServices,
    acted_for,
    progress_request,
)

router = APIRouter(tags=["enrolments"])


class Enrollment(Strict):
    """The body of an enrolment; a student may leave it out."""

    user_id: Id | None = None


class Rating(Strict):
    """The body of a rating."""

    rating: Annotated[int, Field(ge=1, le=5, strict=True)]
    user_id: Id | None = None


@router.post("/courses/{course_id}/enrollments", status_code=201)
async def enrol(  # noqa: PLR0913  # path, body and what every route asks for
    course_id: PathId,
    caller: Caller,
    services: TheServices,
    request_id: RequestId,
    response: Response,
    body: Enrollment | None = None,
) -> dict[str, Any]:
    """Enrol a student: 201, or 200 where already enrolled."""
    student = acted_for(caller, body.user_id if body else None)
    await services.courses.instructor_of(course_id)
    request = progress_request(request_id, None, "enrol", {})
    accepted = await services.progress.append(course_id, student, Enrolled(), request)
    if accepted.changed:
        services.queue.mark(Subject(course_id), PLATFORM, request_id=request_id)
    else:
        response.status_code = 200
    return {"course_id": course_id, "user_id": student}


@router.delete("/courses/{course_id}/enrollments/{user_id}", status_code=204)
async def remove_enrollment(
    course_id: PathId,
    user_id: PathId,
    caller: Caller,
    services: TheServices,
    request_id: RequestId,
) -> None:
    """Take the student and all their events out of the course's numbers."""
    caller.require("service")
    await services.courses.instructor_of(course_id)
    await services.progress.remove(
        course_id, user_id, progress_request(request_id, None, "remove", {})
    )
    services.queue.mark(Subject(course_id), PLATFORM, request_id=request_id)


@router.delete("/students/{user_id}", status_code=202)
async def erase_student(
    user_id: PathId, caller: Caller, services: TheServices, request_id: RequestId
) -> dict[str, Any]:
    """Take the student out of every course and erase the person's data."""
    caller.require("service")
    courses = await services.progress.courses_of(user_id)
    for course_id in courses:
        await services.progress.remove(
            course_id, user_id, progress_request(request_id, None, "remove", {})
        )
    await services.ratings.withdraw_all(user_id)
    await services.sessions.end_all_of(user_id)
    subjects = [Subject(course_id) for course_id in courses]
    services.queue.mark(*subjects, PLATFORM, request_id=request_id)
    return {"user_id": user_id, "courses": len(courses)}


@router.put("/courses/{course_id}/rating")
async def rate_course(
    course_id: PathId,
    body: Rating,
    caller: Caller,
    services: TheServices,
    request_id: RequestId,
) -> dict[str, Any]:
    """Rate the course; one rating per student, the last one stands."""
    student = acted_for(caller, body.user_id)
    await services.courses.instructor_of(course_id)
    await services.ratings.rate(course_id, student, body.rating)
    services.queue.mark(PLATFORM, request_id=request_id)
    return {"course_id": course_id, "user_id": student, "rating": body.rating}
