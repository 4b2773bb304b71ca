"""The WebSocket routes `/realtime/course/{id}` and `/realtime/instructor/{id}`."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fastapi import APIRouter
from pymongo.errors import PyMongoError
from starlette.websockets import WebSocket, WebSocketDisconnect

from analytics.authentication import Authenticator
from analytics.errors import NotFound, TooMany, Unavailable
from analytics.identity import Principal
from analytics.settings import Settings
from analytics.sharing import SharedReads
from analytics.subjects import PLATFORM, Subject
from realtime.closing import CloseCode, Closed
from realtime.handshake import authenticate, authorize_course, authorize_instructor
from realtime.hub import Hub
from realtime.line import Line, line_of, tell
from realtime.session import Session
from realtime.viewer import Viewer
from realtime.visit import Visit

router = APIRouter()
log = logging.getLogger(__name__)

Authorize = Callable[[Principal], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Realtime:
    """What the routes need; the lifespan puts it into `app.state.realtime`."""

    settings: Settings
    hub: Hub
    authenticator: Authenticator
    owners: SharedReads[str, str]
    """Course id → its instructor's; raises `NotFound`."""


@router.websocket("/realtime/course/{course_id:path}")
async def course_socket(socket: WebSocket, course_id: str) -> None:
    """Send a course's frames to its instructor and to admins."""
    realtime: Realtime = socket.app.state.realtime

    async def authorize(principal: Principal) -> None:
        try:
            owner = await realtime.owners.after(course_id)
        except NotFound as error:
            raise Closed(CloseCode.NO_SUCH_COURSE, "there is no such course") from error
        authorize_course(principal, owner)

    await _serve(socket, realtime, Subject(course_id), authorize)


@router.websocket("/realtime/instructor/{instructor_id:path}")
async def instructor_socket(socket: WebSocket, instructor_id: str) -> None:
    """Send the platform's frames to one connection per instructor, the newest."""
    realtime: Realtime = socket.app.state.realtime

    async def authorize(principal: Principal) -> None:
        authorize_instructor(principal, instructor_id)

    await _serve(socket, realtime, PLATFORM, authorize, instructor_id)


async def _serve(
    socket: WebSocket,
    realtime: Realtime,
    subject: Subject,
    authorize: Authorize,
    instructor_id: str | None = None,
) -> None:
    """See a connection through its handshake, then leave it to its session."""
    origin = socket.headers.get("origin")
    if origin is not None and not realtime.authenticator.origin_allowed(origin):
        await socket.close()  # before the accept: HTTP 403
        return
    try:
        await socket.accept()
        visit = Visit(realtime.hub)
        try:
            line = await _attach(socket, realtime, subject, authorize, instructor_id, visit)
        except BaseException:
            visit.end()
            raise
        await line.run()
    except WebSocketDisconnect:
        pass  # the viewer left
    except Closed as closed:
        await tell(socket, closed)
    except TooMany as error:
        await tell(socket, Closed(CloseCode.TOO_MANY, error.detail))
    except (PyMongoError, Unavailable) as error:
        log.warning("a handshake failed, a dependency is away: %s", error)
        await tell(socket, Closed(CloseCode.RESTART, "not available for now; reconnect"))


async def _attach(  # noqa: PLR0913  # one handshake's circumstances
    socket: WebSocket,
    realtime: Realtime,
    subject: Subject,
    authorize: Authorize,
    instructor_id: str | None,
    visit: Visit,
) -> Line:
    """Return the line of a viewer with all rights and limits checked; its end ends the visit."""
    settings = realtime.settings
    principal = await authenticate(socket, realtime.authenticator, settings)
    await authorize(principal)
    await visit.take_seat(principal.sub)
    line = line_of(socket)
    viewer = Viewer(line, principal)
    if instructor_id is not None:
        # An admin who looks has a place of its own.
        await visit.claim(f"{instructor_id}\x1f{principal.sub}", _replaced(viewer))
    session = Session(line, viewer, realtime.authenticator, settings, visit.end)
    line.attach(session)
    try:
        await visit.join(subject, viewer)
    except BaseException:
        session.gone()  # nobody will run this line
        raise
    return line


def _replaced(viewer: Viewer) -> Callable[[], None]:
    def replaced() -> None:
        message = "replaced by a newer connection of this instructor"
        viewer.end(Closed(CloseCode.REPLACED, message))

    return replaced
