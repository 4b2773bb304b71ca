"""A whole installation to measure: `coursepulse run` with free ports and a directory of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analytics.identity import Role, issue_token
from analytics.settings import Settings

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[1]
START_SECONDS = 60.0
STOP_SECONDS = 35.0
PAUSE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Installation:
    """Where a running installation is found."""

    data_dir: Path
    port: int
    pid: int
    environment: dict[str, str]
    settings: Settings

    def token(self, role: Role = "service", sub: str = "bench") -> str:
        """Return a token that outlives every measurement."""
        return issue_token(self.settings.require_jwt_secret(), sub=sub, role=role, ttl=86_400)

    def audit(self) -> tuple[int, str]:
        """Run `coursepulse audit`; return its exit code and its last line."""
        done = subprocess.run(
            [BIN / "coursepulse", "audit"],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        lines = (done.stdout + done.stderr).strip().splitlines()
        return done.returncode, lines[-1] if lines else ""


@contextmanager
def installation(**variables: str) -> Iterator[Installation]:
    """Start an installation, yield it when it is ready, stop it and remove its directory."""
    data_dir = Path(tempfile.mkdtemp(prefix="coursepulse-bench-"))
    port = free_port()
    environment = clean_environment() | {
        "PORT": str(port),
        "FLOWER_PORT": str(free_port()),
        "DATA_DIR": str(data_dir),
        "DEMO": "off",
        **variables,
    }
    output = data_dir / "output.txt"
    with output.open("w") as file:
        process = subprocess.Popen(
            [BIN / "coursepulse", "run"], env=environment, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        _wait_for(output, f"ready http://127.0.0.1:{port}\n", process)
        found: dict[str, Any] = json.loads((data_dir / "run/environment.json").read_text())
        settings = Settings.from_environment().model_copy(
            update={
                "port": port,
                "data_dir": data_dir,
                "mongo_url": found["mongo_url"],
                "redis_url": found["redis_url"],
                "jwt_secret": (data_dir / "jwt-secret").read_text().strip(),
            }
        )
        yield Installation(data_dir, port, process.pid, environment, settings)
        assert process.poll() is None, "the installation ended by itself"
    except BaseException:
        print(output.read_text(), file=sys.stderr)  # before the directory goes
        raise
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(STOP_SECONDS)
        shutil.rmtree(data_dir, ignore_errors=True)


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(output: Path, line: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while line not in output.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the installation did not start:\n{output.read_text()}")
        time.sleep(PAUSE_SECONDS)


def clean_environment() -> dict[str, str]:
    """Return this environment without the product's variables."""
    names = {name.upper() for name in Settings.model_fields}
    return {name: value for name, value in os.environ.items() if name.upper() not in names}
