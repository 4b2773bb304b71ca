"""A whole installation for tests: `coursepulse run` in processes of its own, on free ports."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from analytics.identity import Role, issue_token

START_SECONDS = 60.0
STOP_SECONDS = 35.0
COMMAND = Path(sys.executable).parent / "coursepulse"
T = TypeVar("T")


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def eventually(
    check: Callable[[], T | None], *, seconds: float = 10.0, what: str = "condition"
) -> T:
    """Return what `check` returns as soon as it is truthy; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        result = check()
        if result:
            return result
        if time.monotonic() > deadline:
            message = f"{what} not reached in {seconds} s; last: {result!r}"
            raise AssertionError(message)
        time.sleep(0.02)


@dataclass
class Stack:
    """A running installation."""

    data_dir: Path
    port: int
    flower_port: int
    process: subprocess.Popen[str]
    clients: dict[tuple[str, str], httpx.Client] = field(default_factory=dict)

    @classmethod
    def start(cls, data_dir: Path, *, demo: bool = False, **variables: str) -> Stack:
        """Start an installation and wait until it is ready."""
        port, flower_port = free_port(), free_port()
        environment = clean_environment() | {
            "PORT": str(port),
            "FLOWER_PORT": str(flower_port),
            "DATA_DIR": str(data_dir),
            "DEMO": "on" if demo else "off",
            **variables,
        }
        data_dir.mkdir(parents=True, exist_ok=True)
        output = data_dir / "output.txt"
        with output.open("w") as file:
            process = subprocess.Popen(
                [COMMAND, "run"], env=environment, stdout=file, stderr=subprocess.STDOUT, text=True
            )

        def is_ready() -> bool:
            text = output.read_text()
            assert process.poll() is None, text
            return f"ready http://127.0.0.1:{port}\n" in text

        try:
            eventually(is_ready, seconds=START_SECONDS, what="the ready line")
        except BaseException:
            process.terminate()
            process.wait(STOP_SECONDS)
            raise
        return cls(data_dir, port, flower_port, process)

    def stop(self) -> int:
        """Stop it with SIGTERM; return the exit code."""
        for client in self.clients.values():
            client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    @property
    def url(self) -> str:
        """Where REST answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def socket_url(self) -> str:
        """Where WebSockets are opened."""
        return f"ws://127.0.0.1:{self.port}"

    @property
    def servers(self) -> dict[str, str]:
        """The embedded servers' `MONGO_URL` and `REDIS_URL`."""
        found = json.loads((self.data_dir / "run/environment.json").read_text())
        return {"MONGO_URL": found["mongo_url"], "REDIS_URL": found["redis_url"]}

    @property
    def secret(self) -> str:
        """The development secret."""
        return (self.data_dir / "jwt-secret").read_text().strip()

    @property
    def environment(self) -> dict[str, str]:
        """What a console command needs to find this installation."""
        return clean_environment() | {
            "PORT": str(self.port),
            "FLOWER_PORT": str(self.flower_port),
            "DATA_DIR": str(self.data_dir),
        }

    def token(self, role: Role = "service", sub: str = "lms", ttl: float = 3_600) -> str:
        """Return a token of this installation."""
        return issue_token(self.secret, sub=sub, role=role, ttl=ttl)

    def client(self, role: Role = "service", sub: str = "lms") -> httpx.Client:
        """Return the REST client of this role and id; it is closed with the installation."""
        if (role, sub) not in self.clients:
            headers = {"Authorization": f"Bearer {self.token(role, sub)}"}
            client = httpx.Client(base_url=self.url, headers=headers, timeout=10)
            self.clients[role, sub] = client
        return self.clients[role, sub]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a console command against this installation."""
        return subprocess.run(
            [COMMAND, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def clean_environment() -> dict[str, str]:
    """Return this process's environment without the product's variables."""
    from analytics.settings import Settings  # noqa: PLC0415  # keeps `import stack` light

    names = {name.upper() for name in Settings.model_fields}
    return {name: value for name, value in os.environ.items() if name.upper() not in names}


def lessons(*ids: str, module_id: str = "m1") -> list[dict[str, Any]]:
    """Return modules: one, with these lessons."""
    return [
        {
            "module_id": module_id,
            "title": "Module",
            "lessons": [
                {"lesson_id": lesson, "title": lesson, "content_type": "video"} for lesson in ids
            ],
        }
    ]
