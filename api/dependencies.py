"""What routes ask for: the services, the caller, the request's id and key, checked ids.

The dependencies are asynchronous although they wait for nothing: FastAPI would run a plain function
in a thread, at several times the cost.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import Depends, Header, Path, Request
from pydantic import BeforeValidator

from analytics.clock import now_ms
from analytics.errors import Forbidden, Invalid
from analytics.identity import Principal
from analytics.ids import ID_PATTERN, digest
from analytics.stores.progress import Request as ProgressRequest
from api.lifespan import Services
from api.middleware import SLASH


async def services(request: Request) -> Services:
    """Return the application's services."""
    found: Services = request.app.state.services
    return found


async def principal(request: Request) -> Principal:
    """Return the caller, whom the gate has authenticated."""
    found: Principal = request.state.principal
    return found


async def request_id(request: Request) -> str:
    """Return the id that follows the work through logs, tasks and frames."""
    found: str = request.state.request_id
    return found


def with_slashes(segment: str) -> str:
    """Return a path's id with the slashes that the gate kept from splitting it."""
    return segment.replace(SLASH, "/")


TheServices = Annotated[Services, Depends(services)]
Caller = Annotated[Principal, Depends(principal)]
RequestId = Annotated[str, Depends(request_id)]
PathId = Annotated[
    str,
    Path(min_length=1, max_length=200, pattern=ID_PATTERN),
    BeforeValidator(with_slashes),
]
IdempotencyKey = Annotated[
    str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200)
]


def acted_for(caller: Principal, user_id: str | None) -> str:
    """Return the student acted for; a service names it in the body."""
    student = caller.student(user_id)
    if not student:
        raise Invalid("user_id is missing: a service says for which student it acts.")
    return student


def progress_request(
    request_id: str, key: str | None, kind: str, body: dict[str, Any]
) -> ProgressRequest:
    """Return what accompanies an event; `kind` and `body` are what its key stands for."""
    content = digest(kind, json.dumps(body, sort_keys=True)) if key is not None else ""
    return ProgressRequest(now_ms(), request_id, key, content)


async def require_editor(services: Services, caller: Principal, course_id: str) -> None:
    """Raise `Forbidden` unless the course is the caller's to edit, `NotFound` without it."""
    owner = await services.courses.instructor_of(course_id)
    if not caller.may_edit_course(owner):
        raise Forbidden("Only the course's instructor, an admin or a service may edit it.")


async def require_viewer(services: Services, caller: Principal, course_id: str) -> None:
    """Raise `Forbidden` unless the course's analytics are the caller's to see, or `NotFound`."""
    owner = await services.courses.instructor_of(course_id)
    if not caller.may_see_course(owner):
        raise Forbidden("Only the course's instructor and admins may see its analytics.")
