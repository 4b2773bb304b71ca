"""A guard for Flower, where its own doors stand too far open.

* `/metrics` asks for the password too, where one is set; only `/healthcheck`, which says no more
  than OK, stays open.
* Without a password it listens on loopback only, and its API is open there. A web page in a browser
  of this machine must not use that: Flower would even invite it (`Access-Control-Allow-Origin: *`).
  So a request from another site, or under a name that is not this machine's, is refused.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

OWN_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
OWN_SITES = frozenset({"same-origin", "none"})  # `none`: typed, or a bookmark


def install() -> None:
    """Guard a Flower that runs in this process; elsewhere do nothing."""
    monitor = sys.modules.get("flower.views.monitor")
    if monitor is None or getattr(monitor.Metrics, "guarded", False):
        return
    from flower.api import BaseApiHandler  # noqa: PLC0415  # Flower's, and only there
    from flower.views import BaseHandler  # noqa: PLC0415
    from tornado.web import authenticated  # noqa: PLC0415

    monitor.Metrics.get = authenticated(monitor.Metrics.get)
    monitor.Metrics.guarded = True
    BaseHandler.set_default_headers = _default_headers
    BaseHandler.prepare = _refusing_strangers(BaseHandler.prepare)
    BaseApiHandler.prepare = _refusing_strangers(BaseApiHandler.prepare)


def _default_headers(handler: Any) -> None:
    handler.set_header("X-Content-Type-Options", "nosniff")


def _refusing_strangers(prepare: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a `prepare` that ends requests which only somebody else's page would make."""
    from tornado.web import HTTPError  # noqa: PLC0415  # as above

    def guarded(handler: Any) -> Any:
        options = handler.application.options
        if not (options.basic_auth or options.auth) and is_strange(handler.request):
            raise HTTPError(403, "without FLOWER_BASIC_AUTH, Flower answers this machine only")
        return prepare(handler)

    return guarded


def is_strange(request: Any) -> bool:
    """Say whether a request comes from another site, or asks for a name not of this machine."""
    if urlsplit(f"//{request.host}").hostname not in OWN_NAMES:
        return True  # a name that its owner has pointed at 127.0.0.1
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    if origin is not None and urlsplit(origin).netloc != request.host:
        return True
    return site is not None and site not in OWN_SITES
