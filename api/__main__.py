"""`python -m api`: serve REST, WebSockets and the page on one port."""

from __future__ import annotations

import sys

import uvicorn

from analytics.errors import SettingsError
from analytics.logs import configure_logs
from analytics.settings import Settings
from api.app import create_app

PING_SECONDS = 20
MESSAGE_BYTES = 64 * 1024
DRAIN_SECONDS = 8


def main() -> int:
    """Serve until SIGTERM; return the exit code."""
    try:
        settings = Settings.from_environment()
        app = create_app(settings)
    except SettingsError as error:
        print(f"coursepulse: {error}", file=sys.stderr)  # noqa: T201  # before logging exists
        return 1
    configure_logs(settings.log_format)
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        loop="auto",
        http="httptools",
        ws="websockets-sansio",
        # A peer silent for 40 s is gone: one ping interval and one timeout.
        ws_ping_interval=PING_SECONDS,
        ws_ping_timeout=PING_SECONDS,
        ws_max_size=MESSAGE_BYTES,
        # Compression costs memory per connection and is an attack surface.
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        server_header=False,
        proxy_headers=False,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
