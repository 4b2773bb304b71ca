"""Who connects, and whether they may: by header, then cookie and origin, then first message."""

from __future__ import annotations

import asyncio
import json

from starlette.websockets import WebSocket, WebSocketDisconnect

from analytics.authentication import Authenticator
from analytics.errors import NotFound, Unauthenticated
from analytics.identity import Principal
from analytics.stores.courses import Courses
from analytics.subjects import Subject
from realtime.closing import CloseCode, Closed

FIRST_MESSAGE_SECONDS = 5.0
MESSAGE_BYTES = 4_096


async def authenticate(socket: WebSocket, authenticator: Authenticator) -> Principal:
    """Return who connected; raise `Closed` with 4401. A bad cookie counts as none."""
    header = socket.headers.get("authorization")
    try:
        if header is not None:
            return await authenticator.header(header)
        if "origin" in socket.headers:  # refused before the accept unless it is allowed
            principal = await authenticator.cookie(socket.cookies)
            if principal is not None:
                return principal
        async with asyncio.timeout(FIRST_MESSAGE_SECONDS):
            token = token_in(await receive_text(socket))
    except TimeoutError:
        token = None
    except Unauthenticated as error:
        raise Closed(CloseCode.UNAUTHENTICATED, error.detail) from error
    if token is None:
        message = 'send {"type": "auth", "token": "..."} within 5 s, or a header, or a cookie'
        raise Closed(CloseCode.UNAUTHENTICATED, message)
    return await verify(authenticator, token)


async def verify(authenticator: Authenticator, token: str) -> Principal:
    """Return whose token a message carried; raise `Closed` with 4401."""
    try:
        return await authenticator.bearer(token)
    except Unauthenticated as error:
        raise Closed(CloseCode.UNAUTHENTICATED, error.detail) from error


async def authorize_course(principal: Principal, course_id: str, courses: Courses) -> Subject:
    """Return the course's subject if the principal may see it; raise `Closed`."""
    try:
        owner = await courses.instructor_of(course_id)
    except NotFound as error:
        raise Closed(CloseCode.NO_SUCH_COURSE, "there is no such course") from error
    if not principal.may_see_course(owner):
        raise Closed(CloseCode.FORBIDDEN, "only the course's instructor and admins may see it")
    return Subject(course_id)


def authorize_instructor(principal: Principal, instructor_id: str) -> None:
    """Raise `Closed` unless the principal is this instructor or an admin."""
    if not principal.may_see_course(instructor_id):
        raise Closed(CloseCode.FORBIDDEN, "only this instructor and admins may see it")


async def receive_text(socket: WebSocket) -> str:
    """Return the next message's text; raise `Closed` where it is too big."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1006))
    text = message.get("text")
    if text is None:
        text = (message.get("bytes") or b"").decode("utf-8", "replace")
    if len(text.encode()) > MESSAGE_BYTES:
        raise Closed(CloseCode.TOO_BIG, f"messages are at most {MESSAGE_BYTES} bytes")
    return str(text)


def token_in(text: str) -> str | None:
    """Return the token of an authentication message, None for any other message."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict) or message.get("type") != "auth":
        return None
    token = message.get("token")
    return token if isinstance(token, str) else None
