"""Courses and their modules: created, listed, read, edited."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Header, Query, Response

from analytics.courses import (
    CourseChange,
    Module,
    ModuleChange,
    NewCourse,
    check_unique,
    public_course,
)
from analytics.errors import Forbidden, Invalid, NotFound
from analytics.ids import new_id
from analytics.stores.courses import search_conditions
from analytics.subjects import PLATFORM, Subject
from api.dependencies import Caller, PathId, RequestId, TheServices, require_editor

router = APIRouter(tags=["courses"])

IfMatch = Annotated[str | None, Header(alias="If-Match", max_length=1_000)]
Course = dict[str, Any]
NO_NUL = r"^[^\x00]*$"  # MongoDB takes none in a regular expression


@router.post("/courses", status_code=201)
async def create_course(
    body: NewCourse,
    caller: Caller,
    services: TheServices,
    request_id: RequestId,
    response: Response,
) -> Course:
    """Create a course; an instructor creates its own."""
    caller.require("instructor", "service")
    if caller.role == "instructor" and body.instructor_id != caller.sub:
        raise Forbidden("An instructor creates its own courses: instructor_id must be your sub.")
    fields = body.model_dump()
    course_id = fields.pop("course_id") or new_id()
    course = await services.courses.create(course_id, fields, request_id)
    services.queue.mark(PLATFORM, request_id=request_id)
    services.queue.announce_edit(course_id)
    response.headers["Location"] = f"/courses/{quote(course_id, safe='')}"
    response.headers["ETag"] = _etag(course)
    return public_course(course)


@router.get("/courses")
async def list_courses(  # noqa: PLR0913  # each is a filter of the contract
    caller: Caller,  # noqa: ARG001  # any role may
    services: TheServices,
    search: Annotated[str | None, Query(max_length=200, pattern=NO_NUL)] = None,
    category: Annotated[str | None, Query(max_length=200)] = None,
    tags: Annotated[list[str] | None, Query(max_length=20)] = None,
    difficulty: Literal["beginner", "intermediate", "advanced"] | None = None,
    instructor_id: Annotated[str | None, Query(max_length=200)] = None,
    published: bool | None = None,  # noqa: FBT001  # a query parameter
    min_duration: Annotated[float | None, Query(ge=0, allow_inf_nan=False)] = None,
    max_duration: Annotated[float | None, Query(ge=0, allow_inf_nan=False)] = None,
    sort_by: Literal["recent", "popular", "top_rated", "duration"] = "recent",
    page: Annotated[int, Query(ge=1, le=100_000)] = 1,
    page_size: Annotated[int, Query(ge=1, le=100)] = 20,
) -> dict[str, Any]:
    """List courses, filtered and sorted; durations are minutes, tags must all be there."""
    conditions = search_conditions(
        search=search,
        tags=[tag.strip() for given in tags or [] for tag in given.split(",") if tag.strip()],
        min_duration=min_duration,
        max_duration=max_duration,
        category=category,
        difficulty=difficulty,
        instructor_id=instructor_id,
        published=published,
    )
    total, found = await services.courses.search(conditions, sort_by, page, page_size)
    items = [public_course(course) for course in found]
    return {"total": total, "page": page, "page_size": page_size, "items": items}


@router.get("/courses/{course_id}")
async def read_course(
    course_id: PathId,
    caller: Caller,  # noqa: ARG001  # any role may
    services: TheServices,
    response: Response,
) -> Course:
    """Return one course; its `ETag` serves `If-Match`."""
    course = await services.courses.get(course_id)
    response.headers["ETag"] = _etag(course)
    return public_course(course)


@router.put("/courses/{course_id}")
async def edit_course(  # noqa: PLR0913  # path, header, body and what every route asks for
    course_id: PathId,
    body: CourseChange,
    caller: Caller,
    services: TheServices,
    request_id: RequestId,
    response: Response,
    if_match: IfMatch = None,
) -> Course:
    """Replace the fields given."""
    await require_editor(services, caller, course_id)
    fields = body.model_dump(exclude_unset=True)
    if "modules" in fields:
        fields["modules"] = [module.model_dump() for module in body.modules]
    course = await services.courses.edit(
        course_id, lambda _: dict(fields), request_id, expected=_versions(if_match)
    )
    return _edited(course_id, course, services, request_id, response)


@router.put("/courses/{course_id}/modules/{module_id}")
async def edit_module(  # noqa: PLR0913  # as above
    course_id: PathId,
    module_id: PathId,
    body: ModuleChange,
    caller: Caller,
    services: TheServices,
    request_id: RequestId,
    response: Response,
    if_match: IfMatch = None,
) -> Course:
    """Replace the given fields of one module."""
    await require_editor(services, caller, course_id)
    fields = body.model_dump(exclude_unset=True)
    if "lessons" in fields:
        fields["lessons"] = [lesson.model_dump() for lesson in body.lessons]

    def change(course: Course) -> Course:
        modules = [dict(module) for module in course["modules"]]
        for module in modules:
            if module["module_id"] == module_id:
                module.update(fields)
                break
        else:
            message = f"Course {course_id!r} has no module {module_id!r}; add it by PUT of modules."
            raise NotFound(message)
        try:
            check_unique([Module.model_validate(module) for module in modules])
        except ValueError as error:
            raise Invalid(str(error)) from error
        return {"modules": modules}

    course = await services.courses.edit(
        course_id, change, request_id, expected=_versions(if_match)
    )
    return _edited(course_id, course, services, request_id, response)


def _edited(
    course_id: str, course: Course, services: TheServices, request_id: str, response: Response
) -> Course:
    services.outlines.drop(course_id)
    services.queue.announce_edit(course_id)
    services.queue.mark(Subject(course_id), PLATFORM, request_id=request_id)
    response.headers["ETag"] = _etag(course)
    return public_course(course)


def _etag(course: Course) -> str:
    return f'"{course["version"]}"'


def _versions(if_match: str | None) -> frozenset[int] | None:
    """Return the versions that `If-Match` names, None where any will do."""
    if if_match is None or if_match.strip() == "*":
        return None
    tags = [tag.strip().strip('"') for tag in if_match.split(",")]
    # A tag that is not one of ours matches nothing.
    return frozenset(int(tag) for tag in tags if tag.isdecimal() and tag.isascii())
