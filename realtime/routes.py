"""The WebSocket routes `/realtime/course/{id}` and `/realtime/instructor/{id}`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import redis.asyncio
from fastapi import APIRouter
from pymongo.errors import PyMongoError
from starlette.websockets import WebSocket, WebSocketDisconnect

from analytics.authentication import Authenticator
from analytics.errors import Unavailable
from analytics.stores.courses import Courses
from analytics.subjects import PLATFORM, Subject
from realtime.claims import publish_claim
from realtime.closing import CloseCode, Closed
from realtime.connection import Connection, unavailable
from realtime.handshake import authorize_course, authorize_instructor
from realtime.hub import Hub
from realtime.viewer import Viewer

if TYPE_CHECKING:
    from collections.abc import Callable

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Realtime:
    """What the routes need; the lifespan puts it into `app.state.realtime`."""

    hub: Hub
    authenticator: Authenticator
    courses: Courses
    redis: redis.asyncio.Redis


@router.websocket("/realtime/course/{course_id:path}")
async def course_socket(socket: WebSocket, course_id: str) -> None:
    """Send a course's frames to its instructor and to admins."""
    realtime: Realtime = socket.app.state.realtime
    connection = await Connection.open(socket, realtime.authenticator)
    if connection is None:
        return
    try:
        principal = await connection.identify()
        subject = await authorize_course(principal, course_id, realtime.courses)
        await _view(realtime.hub, subject, connection)
    except Closed as closed:
        await connection.close(closed)
    except WebSocketDisconnect:
        pass  # the viewer left
    except (PyMongoError, Unavailable) as error:
        await unavailable(connection, error)


@router.websocket("/realtime/instructor/{instructor_id:path}")
async def instructor_socket(socket: WebSocket, instructor_id: str) -> None:
    """Send the platform's frames to one connection per instructor, the newest."""
    realtime: Realtime = socket.app.state.realtime
    connection = await Connection.open(socket, realtime.authenticator)
    if connection is None:
        return
    try:
        principal = await connection.identify()
        authorize_instructor(principal, instructor_id)
        # An admin who looks has a place of its own.
        place = f"{instructor_id}\x1f{principal.sub}"
        token = await publish_claim(realtime.redis, place)
        realtime.hub.claim(place, token, _replaced(connection))
        try:
            await _view(realtime.hub, PLATFORM, connection)
        finally:
            realtime.hub.release(place, token)
    except Closed as closed:
        await connection.close(closed)
    except WebSocketDisconnect:
        pass  # the viewer left
    except (PyMongoError, Unavailable) as error:
        await unavailable(connection, error)


async def _view(hub: Hub, subject: Subject, connection: Connection) -> None:
    def stalled() -> None:
        connection.end(CloseCode.TOO_SLOW, "nothing was read for 10 s; reconnect")

    viewer = Viewer(connection.send, stalled)
    try:
        await hub.join(subject, viewer)
        await connection.listen()
    finally:
        await hub.leave(subject, viewer)


def _replaced(connection: Connection) -> Callable[[], None]:
    def replaced() -> None:
        connection.end(CloseCode.REPLACED, "replaced by a newer connection of this instructor")

    return replaced
