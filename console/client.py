"""How the console speaks to the API: a service's token, one address, no proxy.

`service` is the platform's own back end, so it may act for any student.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from analytics.identity import issue_token
from console.instance import api_url, signing_secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analytics.settings import Settings

TOKEN_LIFETIME = 3600.0
TIMEOUT = 5.0
TRY_AGAIN = {httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.TOO_MANY_REQUESTS}
LONGEST_PAUSE = 5.0


def service_headers(settings: Settings) -> dict[str, str]:
    """Return the headers that authenticate the console, for `TOKEN_LIFETIME` seconds."""
    token = issue_token(signing_secret(settings), sub="console", role="service", ttl=TOKEN_LIFETIME)
    return {"Authorization": f"Bearer {token}"}


def client_options(settings: Settings) -> dict[str, Any]:
    """Return what httpx's clients of both colours take."""
    return {
        "base_url": api_url(settings),
        "headers": service_headers(settings),
        "timeout": TIMEOUT,
        # A proxy of the environment has no business between this machine and itself.
        "trust_env": False,
    }


def pause_before_retry(headers: Mapping[str, str]) -> float:
    """Return the seconds to wait after a refusal that says when to try again."""
    try:
        return min(max(float(headers.get("Retry-After", "1")), 0.1), LONGEST_PAUSE)
    except ValueError:  # a date: no server of ours sends one
        return 1.0
