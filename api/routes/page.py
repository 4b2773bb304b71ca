"""The web page at `/`."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse

import dashboard

router = APIRouter(include_in_schema=False)

_INDEX = Path(dashboard.__file__).parent / "index.html"
POLICY = "default-src 'self'; connect-src 'self' ws: wss:; frame-ancestors 'none'"


@router.get("/")
async def index() -> FileResponse:
    """Return the page."""
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
    return FileResponse(_INDEX, media_type="text/html", headers=headers)
