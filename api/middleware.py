"""What every HTTP request passes: its id, the size of its body, and who asks.

Authentication stands before the routes, so that a route added later is closed unless it is named
in `OPEN`; bodies are not even read for a stranger. Plain ASGI: WebSockets authenticate themselves.
"""

from __future__ import annotations

import re
import time
import uuid
from http.cookies import CookieError
from typing import TYPE_CHECKING
from urllib.parse import unquote

import structlog
from pymongo.errors import PyMongoError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request

from analytics.errors import (
    CoursepulseError,
    Forbidden,
    Invalid,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from api.answers import FAILED, AnswerLog
from api.problems import problem_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from analytics.identity import Principal
    from api.lifespan import Services
    from api.metrics import Metrics

BODY_BYTES = 256 * 1024
REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,100}")
SLASH = "\x1f"
"""Stands for an encoded slash within one segment of a path: no id holds control characters."""

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN = frozenset(
    {"/", "/health/live", "/health/ready", "/openapi.json", "/docs", "/docs/oauth2-redirect",
     "/redoc", "/asyncapi.json", "/asyncapi", "/demo/session", "/favicon.ico"}
)  # fmt: skip
OPEN_FOLDERS = ("/static/",)
OPEN_TO_LOOPBACK = frozenset({"/metrics"})
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")

log = structlog.get_logger(__name__)


class Gate:
    """Request id, body limit and authentication around the routes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._log = AnswerLog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            try:
                await self._app(scope, receive, send)
            finally:
                if scope["type"] == "lifespan":
                    self._log.write()
            return
        request = Request(scope)
        given = request.headers.get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id

        started = False
        began = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                seconds = time.perf_counter() - began
                _note(request, self._log, request_id, message["status"], seconds)
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                _keep_encoded_slashes(scope)
                if not is_open(request):
                    scope["state"]["principal"] = await authenticate(request)
                _check_path(scope)
                _check_length(request)
            except (CoursepulseError, PyMongoError) as error:
                await problem_response(error)(scope, receive, send_with_id)
                return
            try:
                await self._app(scope, _limited(receive), send_with_id)
            except Exception as error:  # a mistake of ours: told with its id, logged with its cause
                if started:
                    raise
                log.exception("a request failed")
                await problem_response(error)(scope, receive, send_with_id)


def is_open(request: Request) -> bool:
    """Say whether the request may be anybody's."""
    path = request.url.path
    if path in OPEN_TO_LOOPBACK and is_loopback(request):
        return True
    return request.method == "OPTIONS" or path in OPEN or path.startswith(OPEN_FOLDERS)


def is_loopback(request: Request) -> bool:
    """Say whether this machine asks for itself; a proxy on it asks for somebody else."""
    host = request.client.host if request.client is not None else ""
    return host in {"127.0.0.1", "::1"} and not any(name in request.headers for name in FORWARDED)


async def authenticate(request: Request) -> Principal:
    """Return who asks, by bearer token or session cookie; raise `Unauthenticated` or `Forbidden`.

    A write by cookie needs an allowed origin: another site's page must not act for the user.
    """
    services: Services = request.app.state.services
    header = request.headers.get("authorization")
    writes = request.method not in SAFE
    if header is not None:
        principal = await services.authenticator.header(header)
    else:
        found = await services.authenticator.cookie(_cookies(request))
        if found is None:
            raise Unauthenticated("Send a bearer token, or begin a session with POST /session.")
        origin = request.headers.get("origin", "")
        if writes and not services.authenticator.origin_allowed(origin):
            message = "A write with the session cookie needs an allowed Origin (ALLOWED_ORIGINS)."
            raise Forbidden(message)
        principal = found
    if writes and not services.prepared.is_set():
        raise Unavailable("The database is being prepared; repeat the request.")
    return principal


def _note(
    request: Request, answers: AnswerLog, request_id: str, status: int, seconds: float
) -> None:
    """Count an answer and log a write or a failure, by the route's template.

    Paths hold ids, and users' ids belong neither in labels nor in logs. Refused strangers are only
    counted: anybody could fill the log with them.
    """
    metrics: Metrics = request.app.state.metrics
    route = getattr(request.scope.get("route"), "path", "none")
    metrics.request_served(request.method, route, status, seconds)
    writes = request.method not in SAFE and status != Unauthenticated.status
    if writes or status >= FAILED:
        answers.note(request_id, request.method, route, status, seconds)


def _cookies(request: Request) -> dict[str, str]:
    try:
        return request.cookies
    except CookieError:  # a malformed header counts as no cookie
        return {}


def _check_length(request: Request) -> None:
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > BODY_BYTES:
        raise TooLarge(_too_large())


def _check_path(scope: Scope) -> None:
    """Refuse what would be taken for an encoded slash."""
    if b"%1f" in (scope.get("raw_path") or b"").lower():
        raise Invalid("The path holds a control character; ids are text without them.")


def _keep_encoded_slashes(scope: Scope) -> None:
    """Let an id hold slashes: routes would take the decoded ones for the ends of segments."""
    raw: bytes = scope.get("raw_path") or b""
    if b"%2f" in raw.lower():
        encoded = re.sub(b"%2f", b"%1f", raw.split(b"?")[0], flags=re.IGNORECASE)
        scope["path"] = unquote(encoded.decode("ascii", "replace"))


def _limited(receive: Receive) -> Receive:
    """Count a body that comes without its length."""
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > BODY_BYTES:
            # FastAPI lets this kind alone through while it reads a body.
            raise HTTPException(TooLarge.status, _too_large())
        return message

    return counted


def _too_large() -> str:
    return f"The body is larger than {BODY_BYTES // 1024} KiB; send less at once."
