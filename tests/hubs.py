"""A hub on its own: `uvicorn realtime.app:app` in a process beside an installation."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import Self

import httpx

from tests.stack import Stack, eventually, free_port

OWN = ("--http", "realtime.http_protocol:HubHttp", "--ws", "realtime.protocol:HubProtocol")
PROTOCOLS = {
    "its own protocol": OWN,
    "plain ASGI": ("--ws", "websockets-sansio"),  # the server offers no line: the fallback
}


@dataclass
class HubProcess:
    """A running hub."""

    port: int
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, stack: Stack, protocol: str = "its own protocol", **variables: str) -> Self:
        """Start a hub over the installation's servers; wait until it answers."""
        port = free_port()
        command = (
            sys.executable, "-m", "uvicorn", "realtime.app:app", "--port", str(port),
            *PROTOCOLS[protocol], "--log-level", "warning",
        )  # fmt: skip
        # PORT stays the installation's, as behind a proxy: it names the session's cookie.
        own = {"JWT_SECRET": stack.secret}
        environment = stack.environment | stack.servers | own | variables
        with (stack.data_dir / "logs" / f"hub-{port}.log").open("wb") as log:
            process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        hub = cls(port, process)
        eventually(hub.answers, seconds=30, what="the hub")
        return hub

    @property
    def socket_url(self) -> str:
        """Where WebSockets are opened."""
        return f"ws://127.0.0.1:{self.port}"

    def answers(self) -> bool:
        """Say whether it serves."""
        assert self.process.poll() is None, "the hub ended by itself"
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/health/live").status_code == 200
        except httpx.TransportError:
            return False

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it; return the exit code: uvicorn ends by the signal it was sent."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30)
