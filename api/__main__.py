"""`python -m api`: serve REST, WebSockets, event streams and the page on one port."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import uvicorn

from analytics.errors import SettingsError
from analytics.logs import configure_logs
from analytics.settings import Settings
from api.app import create_app
from realtime.assembly import raise_file_limit, server_options

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

DRAIN_SECONDS = 7
STARTUP_FAILURE = 3


class Server(uvicorn.Server):
    """Ends the event streams first: uvicorn closes sockets by itself, but waits for answers."""

    def __init__(self, config: uvicorn.Config, end_streams: Callable[[], None]) -> None:
        super().__init__(config)
        self._end_streams = end_streams

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop serving."""
        self._end_streams()
        await super().shutdown(sockets)


def main() -> int:
    """Serve until SIGTERM; return the exit code."""
    try:
        settings = Settings.from_environment()
        app = create_app(settings)
    except SettingsError as error:
        print(f"coursepulse: {error}", file=sys.stderr)  # noqa: T201  # before logging exists
        return 1
    configure_logs(settings.log_format)
    raise_file_limit()
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        loop="auto",
        timeout_graceful_shutdown=DRAIN_SECONDS,
        server_header=False,
        proxy_headers=False,
        **server_options(settings),
    )

    def end_streams() -> None:
        app.state.services.streams.end_all()  # made by the lifespan, after this function

    server = Server(config, end_streams)
    with suppress(KeyboardInterrupt):  # uvicorn raises it again once it has stopped
        server.run()
    return 0 if server.started else STARTUP_FAILURE


if __name__ == "__main__":
    sys.exit(main())
