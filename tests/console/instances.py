"""Real `coursepulse run` processes on free ports, in directories with awkward names."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import httpx
import psutil

from console.preflight import choose_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COURSEPULSE = (sys.executable, "-m", "console")
START_LIMIT = 60.0
STOP_LIMIT = 30.0
OURS = ("MONGO_URL", "REDIS_URL", "CELERY_BROKER_URL", "JWT_SECRET", "JWT_JWKS_URL", "DEMO",
        "ALLOWED_ORIGINS", "FLOWER_BASIC_AUTH", "COURSEPULSE_PARENT")  # fmt: skip


def wait_for(condition: Callable[[], object], limit: float, what: str) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit} s: {what}"
        time.sleep(0.05)


class Instance:
    """One `coursepulse run` and the directory it works in."""

    def __init__(self, data_dir: Path, *, demo: str = "off") -> None:
        self.data_dir = data_dir
        self.port = choose_port(None, set())
        self.flower_port = choose_port(None, {self.port})
        self.environment = {
            **{name: value for name, value in os.environ.items() if name not in OURS},
            "PORT": str(self.port),
            "FLOWER_PORT": str(self.flower_port),
            "DATA_DIR": str(data_dir),
            "DEMO": demo,
        }
        self.url = f"http://127.0.0.1:{self.port}"
        self.output = data_dir.parent / f"{data_dir.name}.out"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, command: tuple[str, ...] = (*COURSEPULSE, "run")) -> None:
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                env=self.environment,
                cwd=self.data_dir.parent,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def start_and_wait(self) -> float:
        began = time.monotonic()
        self.start()
        self.wait_ready()
        return time.monotonic() - began

    def wait_ready(self) -> None:
        def settled() -> bool:
            ended = self.process is not None and self.process.poll() is not None
            return f"ready {self.url}" in self.lines() or ended

        wait_for(settled, START_LIMIT, f"the ready line in\n{self.lines()}")
        assert f"ready {self.url}" in self.lines(), self.output.read_text()

    def lines(self) -> list[str]:
        return self.output.read_text().splitlines()

    def exit_code(self) -> int:
        assert self.process is not None
        return self.process.wait(STOP_LIMIT)

    def signal(self, number: int) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def processes(self) -> list[psutil.Process]:
        """Every living process that was given this directory."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = process.environ().get("DATA_DIR") == str(self.data_dir)
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:  # ended while being looked at, or somebody else's
                continue
        return found

    def part(self, name: str) -> psutil.Process:
        return psutil.Process(int((self.data_dir / "run" / f"{name}.pid").read_text().split()[0]))

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run another subcommand against this instance, its ports not given."""
        environment = {
            name: value
            for name, value in self.environment.items()
            if name not in {"PORT", "FLOWER_PORT"}
        }
        return subprocess.run(
            [*COURSEPULSE, *words],
            env=environment,
            cwd=self.data_dir.parent,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def service(self) -> httpx.Client:
        token = self.command("token", "--role", "service", "--sub", "tests").stdout.strip()
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=10)

    def end(self) -> None:
        """Stop what a failed test left running."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(STOP_LIMIT)
        for process in self.processes():
            process.kill()
