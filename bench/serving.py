"""How the peers of the API are served: on the product's server with its options."""

from __future__ import annotations

from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from analytics.settings import Settings


def serve(create_app: Callable[[Settings], FastAPI]) -> None:
    """Serve as `api.__main__` does, with settings from the environment."""
    settings = Settings.from_environment()
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        loop="auto",
        http="httptools",
        ws="websockets-sansio",
        server_header=False,
        proxy_headers=False,
    )
