"""Ends what an earlier, killed run of the same `DATA_DIR` left behind.

Only processes whose pid *and* start time match a pid file of that run are touched. The caller
holds the lock of `DATA_DIR`, so no living run can own them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from pathlib import Path

TOLERANCE = 10.0  # seconds between a fork and its pid file on a busy machine
DEADLINE = 5.0


def end_leftovers(run_dir: Path) -> int:
    """Kill the processes of `run_dir`'s pid files and their children; return how many there were.

    Removes the pid files, also those of processes long gone.
    """
    victims: dict[int, psutil.Process] = {}
    for pid_file in run_dir.glob("*.pid"):
        process = _owner(pid_file)
        if process is not None:
            for victim in (process, *_children(process)):
                victims[victim.pid] = victim
    for victim in victims.values():
        try:
            victim.kill()
        except psutil.NoSuchProcess:  # it went by itself meanwhile
            continue
    psutil.wait_procs(victims.values(), timeout=DEADLINE)
    for pid_file in run_dir.glob("*.pid"):
        pid_file.unlink(missing_ok=True)
    return len(victims)


def _owner(pid_file: Path) -> psutil.Process | None:
    try:
        pid, started = pid_file.read_text().split()
        process = psutil.Process(int(pid))
        # A pid is reused sooner or later, and a stranger must not die for it.
        known = abs(process.create_time() - float(started)) < TOLERANCE
    except (ValueError, OSError, psutil.NoSuchProcess):  # half-written, or gone: nothing to end
        return None
    return process if known and process.status() != psutil.STATUS_ZOMBIE else None


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:  # gone between two looks
        return []
