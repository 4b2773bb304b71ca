"""The demo's sign-in, there only with `DEMO=on`: a session as the demo instructor."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request, Response

from analytics.errors import Forbidden
from analytics.identity import Principal
from api.dependencies import TheServices
from api.routes.session import set_cookie

router = APIRouter(tags=["demo"])

DEMO_INSTRUCTOR = "689f3b634ccdaf5428b24d62"
SESSION_SECONDS = 8 * 3600


@router.post("/demo/session", status_code=204)
async def begin_demo_session(request: Request, response: Response, services: TheServices) -> None:
    """Sign in as the demo instructor; only pages of an allowed origin may ask."""
    if not services.authenticator.origin_allowed(request.headers.get("origin", "")):
        raise Forbidden("Sign in from the product's own page.")
    principal = Principal(
        DEMO_INSTRUCTOR, "instructor", time.time() + SESSION_SECONDS, "Demo instructor"
    )
    await set_cookie(request, response, principal, services)
