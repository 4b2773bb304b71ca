"""`/metrics` for Prometheus: open to this machine, to others with an admin's or service's token."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from api.dependencies import TheServices
from api.metrics import Metrics
from api.middleware import is_loopback

router = APIRouter(tags=["operations"])


@router.get("/metrics")
async def read_metrics(request: Request, services: TheServices) -> Response:
    """Return all metrics in Prometheus' text format."""
    if not is_loopback(request):
        request.state.principal.require("service")
    metrics: Metrics = request.app.state.metrics
    return Response(await metrics.exposition(services), media_type=CONTENT_TYPE_LATEST)
