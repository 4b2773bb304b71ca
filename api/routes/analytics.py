"""Analytics as the frames carry them, for whoever asks instead of listening; forced refreshes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Response
from starlette.responses import JSONResponse

from analytics.frame_models import CourseAnalytics, PlatformOverview
from analytics.messages import Frame
from analytics.subjects import PLATFORM, Subject
from api.dependencies import (
    Caller,
    PathId,
    RequestId,
    TheServices,
    require_viewer,
)

router = APIRouter(tags=["analytics"])

IfNoneMatch = Annotated[str | None, Header(alias="If-None-Match", max_length=1_000)]


@router.get("/courses/{course_id}/analytics", response_model=CourseAnalytics)
@router.get("/analytics/courses/{course_id}/performance", response_model=CourseAnalytics)
async def course_analytics(
    course_id: PathId, caller: Caller, services: TheServices, if_none_match: IfNoneMatch = None
) -> Response:
    """Return exactly the `analytics` object of the course's newest frame."""
    await require_viewer(services, caller, course_id)
    return _numbers(await services.frames.get(Subject(course_id)), if_none_match)


@router.get("/analytics/platform/overview", response_model=PlatformOverview)
async def platform_overview(
    caller: Caller, services: TheServices, if_none_match: IfNoneMatch = None
) -> Response:
    """Return exactly the `data` object of the platform's newest frame."""
    caller.require("instructor")
    return _numbers(await services.frames.get(PLATFORM), if_none_match)


@router.post("/analytics/courses/{course_id}/refresh", status_code=202)
async def refresh_course(
    course_id: PathId, caller: Caller, services: TheServices, request_id: RequestId
) -> dict[str, str]:
    """Recompute the course in full; a new version and a frame follow in any case."""
    await require_viewer(services, caller, course_id)
    return {"task_id": await services.queue.force(Subject(course_id), request_id=request_id)}


@router.post("/analytics/platform/refresh", status_code=202)
async def refresh_platform(
    caller: Caller, services: TheServices, request_id: RequestId
) -> dict[str, str]:
    """Recompute the platform in full; a new version and a frame follow in any case."""
    caller.require()
    return {"task_id": await services.queue.force(PLATFORM, request_id=request_id)}


def _numbers(frame: Frame, if_none_match: str | None) -> Response:
    etag = f'"{frame.version}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    known = [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
    if etag in known or known == ["*"]:
        return Response(status_code=304, headers=headers)
    return JSONResponse(frame.numbers, headers=headers)
