"""The frames as Server-Sent Events, beside the WebSockets that carry the same."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Response

from analytics.errors import Forbidden
from analytics.identity import Principal
from analytics.subjects import PLATFORM, Subject
from api.dependencies import Caller, PathId, TheServices, require_viewer
from api.lifespan import Services
from realtime.events import EventStream, version_seen

router = APIRouter(tags=["realtime"])

LastEventId = Annotated[str | None, Header(alias="Last-Event-ID", max_length=1_000)]
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "One event a frame: `id` is its version, `data` its JSON text.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


@router.get("/realtime/course/{course_id}/events", response_class=Response, responses=_ANSWERS)
async def course_events(
    course_id: PathId, caller: Caller, services: TheServices, last_event_id: LastEventId = None
) -> Response:
    """Stream a course's frames to its instructor and to admins."""
    await require_viewer(services, caller, course_id)
    seen = version_seen(last_event_id)
    return _stream(services, Subject(course_id), caller, seen)


@router.get(
    "/realtime/instructor/{instructor_id}/events", response_class=Response, responses=_ANSWERS
)
async def instructor_events(
    instructor_id: PathId, caller: Caller, services: TheServices, last_event_id: LastEventId = None
) -> Response:
    """Stream the platform's frames; unlike a WebSocket it pushes no other connection out."""
    if not caller.may_see_course(instructor_id):
        raise Forbidden("Only this instructor and admins may see it.")
    seen = version_seen(last_event_id)
    return _stream(services, PLATFORM, caller, seen)


def _stream(services: Services, subject: Subject, caller: Principal, seen: int) -> EventStream:
    stall_seconds = services.settings.socket_stall_seconds
    return EventStream(services.streams, services.hub, subject, caller, seen, stall_seconds)
