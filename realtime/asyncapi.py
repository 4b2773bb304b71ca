"""The AsyncAPI 3 document of the WebSockets and the event streams, made from the frames' models."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from analytics.frame_models import Authentication, CourseFrame, PlatformFrame, schemas
from realtime.closing import CloseCode

SCHEMAS = "#/components/schemas/"
DESCRIPTION = """\
Live numbers of a course and of the platform. The first frame after authentication is the present
state; after it versions only grow, and a slow client skips intermediate states.

A WebSocket authenticates by an `Authorization: Bearer` header, or by the session cookie and an
allowed `Origin`, or by a first message within 5 s. An event stream takes the header or the cookie;
each event's `id` is the frame's version, and `Last-Event-ID` says what was already seen. Whoever
may not see the numbers gets the close code, or the HTTP status, that `x-close-codes` lists.
"""

CLOSE_CODES = {
    CloseCode.TOO_BIG: ("a message of more than 4 KiB", "fix itself"),
    CloseCode.RESTART: ("the server restarts", "reconnect after a random 0 to 5 s"),
    CloseCode.UNAUTHENTICATED: (
        "no or bad credentials, they expired, or the session was ended",
        "get a new token",
    ),
    CloseCode.FORBIDDEN: ("not allowed to see these numbers", "stop"),
    CloseCode.NO_SUCH_COURSE: ("there is no such course", "stop"),
    CloseCode.REPLACED: ("replaced by a newer connection of the same instructor", "stop"),
    CloseCode.TOO_MANY: ("more than 100 messages a minute, or too many connections", "wait"),
    CloseCode.TOO_SLOW: ("too slow: 10 s since the first byte that could not be sent", "reconnect"),
}
"""What each code means and what the client should do."""

_STATUSES = {
    CloseCode.UNAUTHENTICATED: 401,
    CloseCode.FORBIDDEN: 403,
    CloseCode.NO_SUCH_COURSE: 404,
    CloseCode.TOO_MANY: 429,
}
_MESSAGES: dict[str, tuple[type[BaseModel], str]] = {
    "courseFrame": (CourseFrame, "A course's numbers"),
    "platformFrame": (PlatformFrame, "The platform's numbers"),
    "authentication": (Authentication, "Who connects"),
}
_SUBJECTS = (
    # name, parameter, its meaning, who may see it, the frames
    (
        "course",
        "course_id",
        "The course's id, percent-encoded.",
        "the course's instructor and admins",
        "courseFrame",
    ),
    (
        "instructor",
        "instructor_id",
        "The instructor's id (the token's `sub`), percent-encoded.",
        "that instructor and admins",
        "platformFrame",
    ),
)


def document(host: str, *, secure: bool, cookie: str, version: str) -> dict[str, Any]:
    """Return the document of the installation at `host`, whose session cookie is `cookie`."""
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for name, parameter, meaning, viewers, frames in _SUBJECTS:
        address = f"/realtime/{name}/{{{parameter}}}"
        parameters = {parameter: {"description": meaning}}
        for suffix, server, way in (("", "sockets", "WebSocket"), ("Events", "events", "Events")):
            channel = name + suffix
            heard = [frames] if suffix else [frames, "authentication"]
            channels[channel] = {
                "address": address + ("/events" if suffix else ""),
                "title": f"{way}: {_MESSAGES[frames][1].lower()}",
                "description": f"For {viewers}.",
                "servers": [_reference("servers", server)],
                "parameters": parameters,
                "messages": {key: _reference("components/messages", key) for key in heard},
                "bindings": {"http": {}} if suffix else {"ws": {"method": "GET"}},
            }
            operations[f"send{_capital(channel)}"] = {
                "action": "send",
                "title": "The server sends each newer state",
                "channel": _reference("channels", channel),
                "messages": [_reference(f"channels/{channel}/messages", frames)],
            }
        operations[f"authenticate{_capital(name)}"] = {
            "action": "receive",
            "title": "The client says who it is, or sends a fresh token of the same `sub`",
            "channel": _reference("channels", name),
            "messages": [_reference(f"channels/{name}/messages", "authentication")],
        }
    security = [
        _reference("components/securitySchemes", scheme) for scheme in ("bearer", "session")
    ]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "coursepulse",
            "version": version,
            "description": DESCRIPTION,
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "sockets": {
                "host": host,
                "protocol": "wss" if secure else "ws",
                "description": "WebSockets.",
                "security": security,
            },
            "events": {
                "host": host,
                "protocol": "https" if secure else "http",
                "description": "Server-Sent Events.",
                "security": security,
            },
        },
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": {key: _message(key) for key in _MESSAGES},
            "schemas": schemas(*(model for model, _ in _MESSAGES.values()), prefix=SCHEMAS),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "session": {
                    "type": "httpApiKey",
                    "in": "cookie",
                    "name": cookie,
                    "description": "Set by `POST /session`; needs an allowed `Origin`.",
                },
            },
        },
        "x-close-codes": [
            {"code": int(code), "meaning": meaning, "client": client, "status": _STATUSES.get(code)}
            for code, (meaning, client) in CLOSE_CODES.items()
        ],
    }


def _message(key: str) -> dict[str, Any]:
    model, title = _MESSAGES[key]
    return {
        "name": model.__name__,
        "title": title,
        "summary": model.__doc__,
        "contentType": "application/json",
        "payload": {"$ref": SCHEMAS + model.__name__},
    }


def _reference(place: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/{place}/{name}"}


def _capital(name: str) -> str:
    return name[0].upper() + name[1:]
