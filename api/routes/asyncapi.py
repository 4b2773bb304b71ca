"""What the sockets and event streams carry: as an AsyncAPI document, and as a page of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.responses import FileResponse

import dashboard
from api.dependencies import TheServices
from api.routes.page import POLICY
from api.routes.session import is_https
from realtime.asyncapi import document

router = APIRouter(include_in_schema=False)

_PAGE = Path(dashboard.__file__).parent / "asyncapi.html"


@router.get("/asyncapi.json")
async def asyncapi(request: Request, response: Response, services: TheServices) -> dict[str, Any]:
    """Return the AsyncAPI 3 document, its servers where the request found this one."""
    response.headers["Cache-Control"] = "no-cache"
    return document(
        request.url.netloc,
        secure=is_https(request),
        cookie=services.settings.session_cookie,
        version=request.app.version,
    )


@router.get("/asyncapi")
async def asyncapi_page() -> FileResponse:
    """Return the page that shows the document."""
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
    return FileResponse(_PAGE, media_type="text/html", headers=headers)
