"""The one place where errors become HTTP answers: RFC 9457 problem documents."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pymongo.errors import PyMongoError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from analytics.errors import CoursepulseError, Refused, TooMany, Unauthenticated, Unavailable
from analytics.stores.mongo import is_outage

TYPE = "https://coursepulse.dev/problems/"
MEDIA_TYPE = "application/problem+json"
MESSAGE_LIMIT = 500

# What the framework says of its own accord, in words that say what to do.
ADVICE = {
    "There was an error parsing the body": "The body cannot be read; send a JSON object in UTF-8.",
    "Not Found": "There is nothing at this address; /docs lists the routes.",
    "Method Not Allowed": "This address does not take this method; /docs lists the routes.",
}

_REFUSED_HEADERS: dict[type[Refused], dict[str, str]] = {
    Unauthenticated: {"WWW-Authenticate": "Bearer"},
    TooMany: {"Retry-After": "5"},
}

log = structlog.get_logger(__name__)


def install(app: FastAPI) -> None:
    """Make the application render every error here."""
    app.add_exception_handler(CoursepulseError, _render)
    app.add_exception_handler(RequestValidationError, _render)
    app.add_exception_handler(HTTPException, _render)
    app.add_exception_handler(PyMongoError, _render)
    app.add_exception_handler(Exception, _render)


async def _render(_: Request, error: Exception) -> Response:
    if isinstance(error, PyMongoError) and not is_outage(error):
        raise error  # a mistake of ours: logged and answered as such by the last handler
    return problem_response(error)


def problem_response(error: Exception) -> Response:
    """Return the answer for an error; what is not known is a 500 that tells no secrets."""
    match error:
        case Refused():
            headers = _REFUSED_HEADERS.get(type(error))
            return _problem(error.status, error.kind, error.title, error.detail, headers=headers)
        case Unavailable():
            return _unavailable(error.detail, error.retry_after)
        case PyMongoError() if is_outage(error):
            log.warning("the database does not answer", error=str(error)[:MESSAGE_LIMIT])
            return _unavailable(
                "The database does not answer. The write may have been stored: repeat the request "
                "with the same Idempotency-Key.",
                1,
            )
        case RequestValidationError():
            return _invalid(error)
        case HTTPException():
            title = HTTPStatus(error.status_code).phrase
            kind = title.lower().replace(" ", "-")
            detail = ADVICE.get(str(error.detail), str(error.detail))
            return _problem(error.status_code, kind, title, detail, headers=error.headers)
        case _:
            return _problem(
                500,
                "internal-error",
                "Internal error",
                "The server made a mistake; its log has the details under this X-Request-ID.",
            )


def _unavailable(detail: str, retry_after: int) -> Response:
    headers = {"Retry-After": str(retry_after)}
    return _problem(503, "unavailable", "Not available for now", detail, headers=headers)


def _invalid(error: RequestValidationError) -> Response:
    """Name each wrong field; the input itself is not repeated (it may not even be JSON)."""
    errors = [
        {"field": ".".join(str(part) for part in item["loc"])[:MESSAGE_LIMIT],
         "problem": str(item["msg"]).removeprefix("Value error, ")[:MESSAGE_LIMIT]}
        for item in error.errors()[:20]
    ]  # fmt: skip
    first = errors[0] if errors else {"field": "body", "problem": "is not valid"}
    detail = f"{first['field']}: {first['problem']}"
    return _problem(422, "invalid", "Invalid content", detail, errors=errors)


def _problem(
    status: int,
    kind: str,
    title: str,
    detail: str,
    *,
    headers: Any = None,
    **extra: Any,
) -> Response:
    body = {"type": TYPE + kind, "title": title, "status": status, "detail": detail, **extra}
    # Lone surrogates cannot be encoded: they are shown as what they are.
    content = _without_surrogates(body)
    return JSONResponse(content, status_code=status, headers=headers, media_type=MEDIA_TYPE)


def _without_surrogates(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {key: _without_surrogates(item) for key, item in value.items()}
        case list():
            return [_without_surrogates(item) for item in value]
        case _:
            return value
