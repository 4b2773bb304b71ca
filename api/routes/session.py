"""Browser sessions: a bearer token becomes an HttpOnly cookie, and the cookie can be ended."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request, Response

from analytics.errors import Unauthenticated
from analytics.identity import Principal
from api.dependencies import Caller, TheServices
from api.lifespan import Services

router = APIRouter(tags=["session"])


@router.post("/session", status_code=204)
async def begin_session(
    request: Request, response: Response, caller: Caller, services: TheServices
) -> None:
    """Set the session cookie for the bearer of a token."""
    if "authorization" not in request.headers:
        raise Unauthenticated("Send the bearer token that the session is for.")
    await set_cookie(request, response, caller, services)


@router.delete("/session", status_code=204)
async def end_session(request: Request, response: Response, services: TheServices) -> None:
    """End the session: the cookie is refused from now on."""
    name = services.settings.session_cookie
    cookie = request.cookies.get(name)
    if cookie:
        await services.sessions.end(cookie)
    response.delete_cookie(name, path="/", httponly=True, samesite="lax")


async def set_cookie(
    request: Request, response: Response, principal: Principal, services: Services
) -> None:
    """Begin a session of the principal and set its cookie, which ends with the token."""
    response.set_cookie(
        services.settings.session_cookie,
        await services.sessions.begin(principal),
        max_age=max(1, int(principal.expires_at - time.time())),
        path="/",
        httponly=True,
        secure=is_https(request),
        samesite="lax",
    )


def is_https(request: Request) -> bool:
    """Say whether the browser came by HTTPS, be it to a proxy before this server."""
    forwarded = request.headers.get("x-forwarded-proto", "")
    return "https" in {request.url.scheme, forwarded.split(",")[0].strip().lower()}
