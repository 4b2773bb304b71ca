"""What is compared: how each way is started, joined and given a message.

All Python ways run on the same uvicorn with the same event loop and parser, in one process. Each is
given messages as its manual has it: over Redis, by its library, or by its own route.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from analytics.settings import Settings
from bench.fanout import preparing
from bench.installation import ROOT
from console.programs import Program

COURSE = "course"
OURS = "coursepulse"
ON_PLAIN_ASGI = "coursepulse, plain ASGI"
NAIVE_JSON = "send_json to each"
NAIVE_TEXT = "encoded once, send_text to each"
SOCKET_IO = "Socket.IO (python-socketio)"
CHANNELS = "Django Channels"
CENTRIFUGE = "Centrifuge (Go)"
NCHAN = "nginx + nchan (C)"
PEER_APPS = Path(__file__).parent / "peer_apps"

NGINX = """
load_module {module};
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 12000; }}
http {{
  access_log off;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location /publish {{ nchan_publisher; nchan_channel_id {course};
                         nchan_message_buffer_length 1; }}
    location /viewers {{ nchan_subscriber websocket; nchan_channel_id {course};
                         nchan_subscriber_first_message newest; }}
  }}
}}
"""


def _always() -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Way:
    """One way to send a message to many viewers."""

    name: str
    command: Callable[[Settings], tuple[str, ...]]
    path: str
    publisher: Callable[[Settings], tuple[str, ...]]
    hello: tuple[str, ...] = ()
    in_python: bool = True
    why_missing: Callable[[], str | None] = _always
    """Makes it ready to run; says what lacks where that cannot be."""

    def program(self, settings: Settings) -> Program:
        """Return its server."""
        needs = (urlsplit(settings.require_redis_url()).netloc,)
        return Program("server", self.command(settings), ROOT, needs)


def all_ways() -> tuple[Way, ...]:
    """Return them, ours first."""
    return (
        Way(OURS, _hub("--http", "realtime.http_protocol:HubHttp",
                       "--ws", "realtime.protocol:HubProtocol"),
            f"/realtime/course/{COURSE}", _channel(f"analytics:{COURSE}")),
        Way(ON_PLAIN_ASGI, _hub("--ws", "websockets-sansio"),
            f"/realtime/course/{COURSE}", _channel(f"analytics:{COURSE}")),
        Way(NAIVE_JSON, _naive, "/json", _channel("naive")),
        Way(NAIVE_TEXT, _naive, "/text", _channel("naive")),
        Way(SOCKET_IO, _peer("socketio_app"), "/socket.io/?EIO=4&transport=websocket",
            _library("socketio_app"), hello=("40",), why_missing=preparing.python_peers),
        Way(CHANNELS, _peer("channels_app"), "/course", _library("channels_app"),
            why_missing=preparing.python_peers),
        Way(CENTRIFUGE, _centrifuge, "/connection/websocket", _route, in_python=False,
            hello=('{"id":1,"connect":{}}',), why_missing=preparing.centrifuge),
        Way(NCHAN, _nginx, "/viewers", _route, in_python=False, why_missing=preparing.nchan),
    )  # fmt: skip


def _uvicorn(python: str | Path, settings: Settings, *words: str) -> tuple[str, ...]:
    port = ("--port", str(settings.port))
    quiet = ("--log-level", "warning", "--no-access-log")
    return (str(python), "-m", "uvicorn", *words, *port, *quiet)


def _hub(*protocols: str) -> Callable[[Settings], tuple[str, ...]]:
    return lambda settings: _uvicorn(sys.executable, settings, "realtime.app:app", *protocols)


def _naive(settings: Settings) -> tuple[str, ...]:
    return _uvicorn(sys.executable, settings, "bench.fanout.naive_hub:app")


def _peer(module: str) -> Callable[[Settings], tuple[str, ...]]:
    app_dir = ("--app-dir", str(PEER_APPS))
    return lambda settings: _uvicorn(preparing.PYTHON, settings, f"{module}:app", *app_dir)


def _centrifuge(settings: Settings) -> tuple[str, ...]:
    address = urlsplit(settings.require_redis_url()).netloc
    return (str(preparing.CENTRIFUGE), str(settings.port), address)


def _nginx(settings: Settings) -> tuple[str, ...]:
    directory = settings.data_dir
    file = directory / "nginx.conf"
    words = {"module": preparing.NCHAN_MODULE, "port": settings.port, "course": COURSE}
    file.write_text(NGINX.format(directory=directory, **words))
    return (
        shutil.which("nginx") or "nginx",
        "-c",
        str(file),
        "-p",
        str(directory),
        "-g",
        "daemon off;",
    )


def _channel(name: str) -> Callable[[Settings], tuple[str, ...]]:
    return lambda settings: ("redis", settings.require_redis_url(), name)


def _library(module: str) -> Callable[[Settings], tuple[str, ...]]:
    def words(settings: Settings) -> tuple[str, ...]:
        environment = f"REDIS_URL={settings.require_redis_url()}"
        program = (str(preparing.PYTHON), str(PEER_APPS / f"{module}.py"))
        return ("command", "env", environment, *program)

    return words


def _route(settings: Settings) -> tuple[str, ...]:
    return ("http", str(settings.port), "/publish")
