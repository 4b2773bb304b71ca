"""Gets the peers ready, apart from the product: in `.bench/`, from their locked versions.

Each function returns `None`, or what lacks on this machine and how to get it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from bench.installation import ROOT

HERE = Path(__file__).parent
PEERS = ROOT / ".bench"
PYTHON = PEERS / "venv/bin/python"
CENTRIFUGE = PEERS / "bin/centrifuge-fanout"
NCHAN_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
INSTALL_SECONDS = 300


@cache
def python_peers() -> str | None:
    """Install Socket.IO and Channels in an environment of their own."""
    locked = HERE / "peers.txt"
    installed = PEERS / "venv/installed.txt"
    if installed.exists() and installed.read_text() == locked.read_text():
        return None
    shutil.rmtree(PEERS / "venv", ignore_errors=True)
    pip = (str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    why = _run(sys.executable, "-m", "venv", str(PEERS / "venv")) or _run(
        *pip, "--require-hashes", "-r", str(locked)
    )
    if why is None:
        shutil.copy(locked, installed)
    return why


@cache
def centrifuge() -> str | None:
    """Build the program around Centrifuge."""
    if shutil.which("go") is None:
        return "Go is not installed; it builds Centrifuge"
    return _run("go", "build", "-o", str(CENTRIFUGE), ".", directory=HERE / "centrifuge")


@cache
def nchan() -> str | None:
    """Look for nginx and its module."""
    if shutil.which("nginx") is None or not NCHAN_MODULE.exists():
        return "apt-get install nginx libnginx-mod-nchan"
    return None


def _run(*command: str, directory: Path = ROOT) -> str | None:
    try:
        done = subprocess.run(
            command, cwd=directory, capture_output=True, text=True, timeout=INSTALL_SECONDS,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"{command[0]} did not end within {INSTALL_SECONDS} s"
    if done.returncode == 0:
        return None
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[-1] if lines else f"{command[0]} ended with {done.returncode}"
