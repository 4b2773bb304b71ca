"""The instance at hand: its settings, its addresses, its secret.

`coursepulse run` chooses ports for embedded servers and leaves the choice in `DATA_DIR/run`; every
other subcommand finds the running instance through it wherever a variable is not set.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from analytics.errors import SettingsError
from analytics.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # listened on everywhere, reached on loopback
SHARED = ("host", "port", "flower_port", "mongo_url", "redis_url")


def environment_path(data_dir: Path) -> Path:
    """Where a running instance says which addresses it uses."""
    return data_dir / "run" / "environment.json"


def load_settings() -> Settings:
    """Read the environment, and what is unset there from the running instance of `DATA_DIR`."""
    settings = Settings.from_environment()
    try:
        running: dict[str, Any] = json.loads(environment_path(settings.data_dir).read_text())
    except (OSError, ValueError):  # nothing runs there, or it is just being written: the defaults
        return settings
    given = {name.lower() for name, value in os.environ.items() if value.strip()}
    found = {name: running[name] for name in SHARED if name in running and name not in given}
    return settings.model_copy(update=found)


def save_environment(settings: Settings) -> None:
    """Leave the addresses in use for the other subcommands, readable by this user only."""
    path = environment_path(settings.data_dir)
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(json.dumps({name: getattr(settings, name) for name in SHARED}) + "\n")


def reachable(host: str) -> str:
    """Return the address at which a server listening on `host` is reached from here."""
    return WILDCARDS.get(host, host)


def http_url(host: str, port: int) -> str:
    """Write the URL of a server that listens on `host`."""
    name = reachable(host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def api_url(settings: Settings) -> str:
    """Return where the API answers, seen from this machine."""
    return http_url(settings.host, settings.port)


def flower_host(settings: Settings) -> str:
    """Flower shows everything to everybody: loopback only, unless a password is set."""
    return settings.host if settings.flower_basic_auth else "127.0.0.1"


def flower_url(settings: Settings) -> str:
    """Return where Flower answers, seen from this machine."""
    return http_url(flower_host(settings), settings.flower_port)


def worker_name(settings: Settings) -> str:
    """Name this instance's worker; the port keeps two instances on one broker apart."""
    return f"worker-{settings.port}@{os.uname().nodename}"


def signing_secret(settings: Settings) -> str:
    """Return the secret that signs development tokens, making it on the first call."""
    if settings.jwt_secret:
        return settings.jwt_secret
    if settings.jwt_jwks_url:
        raise SettingsError(
            "JWT_SECRET: is not set, and with JWT_JWKS_URL only the platform can issue tokens"
        )
    try:
        return settings.ensure_development_secret()
    except OSError as error:
        raise SettingsError(f"DATA_DIR: no secret can be kept there ({error})") from None
