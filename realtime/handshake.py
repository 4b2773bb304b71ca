"""Who connects, and whether they may: by header, then cookie and origin, then first message."""

from __future__ import annotations

import asyncio
import json

from starlette.websockets import WebSocket

from analytics.authentication import Authenticator
from analytics.errors import Unauthenticated
from analytics.identity import Principal
from analytics.settings import Settings
from realtime.closing import CloseCode, Closed
from realtime.line import receive


async def authenticate(
    socket: WebSocket, authenticator: Authenticator, settings: Settings
) -> Principal:
    """Return who connected; raise `Closed` with 4401. A bad cookie counts as none."""
    header = socket.headers.get("authorization")
    try:
        if header is not None:
            return await authenticator.header(header)
        if "origin" in socket.headers:  # refused before the accept unless it is allowed
            principal = await authenticator.cookie(socket.cookies)
            if principal is not None:
                return principal
        async with asyncio.timeout(settings.socket_handshake_seconds):
            text, size = await receive(socket)
    except TimeoutError:
        text, size = "", 0
    except Unauthenticated as error:
        raise Closed(CloseCode.UNAUTHENTICATED, error.detail) from error
    if size > settings.socket_message_bytes:
        message = f"messages are at most {settings.socket_message_bytes} bytes"
        raise Closed(CloseCode.TOO_BIG, message)
    token = token_in(text)
    if token is None:
        within = f"within {settings.socket_handshake_seconds:g} s"
        message = f'send {{"type": "auth", "token": "..."}} {within}, or a header, or a cookie'
        raise Closed(CloseCode.UNAUTHENTICATED, message)
    return await verify(authenticator, token)


async def verify(authenticator: Authenticator, token: str) -> Principal:
    """Return whose token a message carried; raise `Closed` with 4401."""
    try:
        return await authenticator.bearer(token)
    except Unauthenticated as error:
        raise Closed(CloseCode.UNAUTHENTICATED, error.detail) from error


def authorize_course(principal: Principal, instructor_id: str) -> None:
    """Raise `Closed` unless a course of this instructor is the principal's to see."""
    if not principal.may_see_course(instructor_id):
        raise Closed(CloseCode.FORBIDDEN, "only the course's instructor and admins may see it")


def authorize_instructor(principal: Principal, instructor_id: str) -> None:
    """Raise `Closed` unless the principal is this instructor or an admin."""
    if not principal.may_see_course(instructor_id):
        raise Closed(CloseCode.FORBIDDEN, "only this instructor and admins may see it")


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
