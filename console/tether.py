"""Runs a program of `programs.json` so that it cannot outlive its parent: `tether.py NAME`.

The kernel kills it when the parent dies, however that happened (Linux; elsewhere the next start
ends what was left, see `leftovers.py`). It also leaves a pid file, starts at most once a second,
and waits until what it needs is there. Only the standard library: it runs before every program.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PARENT = "COURSEPULSE_PARENT"  # the pid that each tethered program's parent must have
PAUSE = 1.0  # seconds between two starts of the same program
PATIENCE = 15.0  # seconds to wait for what a program needs; then it starts and copes


def tie_to_parent(death_signal: int, parent: int) -> None:
    """Have the kernel send `death_signal` to this process when its parent dies; exit if it has."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel was told
        sys.exit(1)


def is_there(need: str) -> bool:
    """Say whether `need`, a file's path or `host:port`, is there."""
    if need.startswith("/"):
        return Path(need).exists()
    host, _, port = need.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def leave_pid(pid_file: Path) -> None:
    """Leave pid and time for `leftovers.py`; pause when the last start was a moment ago."""
    try:
        since = time.time() - pid_file.stat().st_mtime
    except FileNotFoundError:
        since = PAUSE
    pid_file.write_text(f"{os.getpid()} {time.time()}\n")
    time.sleep(min(max(PAUSE - since, 0.0), PAUSE))


def main() -> None:
    """Become the program named."""
    tie_to_parent(signal.SIGKILL, int(os.environ[PARENT]))
    os.environ[PARENT] = str(os.getpid())
    name = sys.argv[1]
    program = json.loads(Path("programs.json").read_text())[name]
    leave_pid(Path(f"{name}.pid"))
    deadline = time.monotonic() + PATIENCE
    needs = program["needs"]
    # What is a file has no deadline: it stands for a decision, not for a server that may be down.
    while any(
        not is_there(need) and (need.startswith("/") or time.monotonic() < deadline)
        for need in needs
    ):
        time.sleep(0.05)
    os.chdir(program["directory"])
    command = program["command"]
    os.execv(command[0], command)  # noqa: S606  # the command is the product's own, made by run


if __name__ == "__main__":
    main()
