"""The embedded servers alone, as `coursepulse run` starts them, and other programs beside them.

For measurements that want a fresh Valkey, or that put another system in the product's place. Each
program is started through the product's tether, so that none outlives this process, and leaves its
pid file where `costs` looks for it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from analytics.settings import Settings
from bench import costs
from bench.installation import clean_environment, free_port
from console.programs import Program, child_environment, supervised, tether_command, write_files
from console.run import EMBEDDED_MONGO
from console.tether import PARENT, is_there

START_SECONDS = 30.0
STOP_SECONDS = 10.0
LOG_SHOWN = 4_000  # characters

More = Callable[[Settings], list[Program]]


@dataclass(frozen=True, slots=True)
class Servers:
    """What runs: settings that lead to it, and the main process of each program by name."""

    settings: Settings
    processes: dict[str, psutil.Process]

    def cpu_seconds(self) -> costs.Counts:
        """Return the CPU seconds spent so far by each program, its children included."""
        return {name: costs.family_seconds(process) for name, process in self.processes.items()}


@contextmanager
def servers(*names: str, more: More | None = None) -> Iterator[Servers]:
    """Start `mongo`, `valkey` or both, then what `more` returns for their settings.

    What listens on `settings.port` must be among `more`; it is waited for.
    """
    data_dir = Path(tempfile.mkdtemp(prefix="coursepulse-bench-"))
    for folder in ("run", "logs", *names):
        (data_dir / folder).mkdir()
    settings = Settings.from_environment().model_copy(
        update={
            "data_dir": data_dir,
            "port": free_port(),
            "mongo_url": EMBEDDED_MONGO.format(port=free_port()),
            "redis_url": f"redis://127.0.0.1:{free_port()}",
            "jwt_secret": "b" * 32,
        }
    )
    programs = supervised(settings, own_mongo=True, own_valkey=True)
    programs = [program for program in programs if program.name in names]
    programs += more(settings) if more else []
    write_files(settings, programs)
    environment = clean_environment() | child_environment(settings) | {PARENT: str(os.getpid())}
    started: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for program in programs:
            started[program.name] = _start(program.name, settings, environment)
        urls = {"mongo": settings.mongo_url, "valkey": settings.redis_url}
        addresses = [urlsplit(urls[name] or "").netloc for name in names]
        addresses += [f"127.0.0.1:{settings.port}"] if more else []
        for address in addresses:
            there = costs.settle(partial(is_there, address), START_SECONDS)
            assert there, f"nothing listens at {address}"
        yield Servers(settings, {n: psutil.Process(each.pid) for n, each in started.items()})
        for name, process in started.items():
            assert process.poll() is None, f"{name} ended by itself"
    except BaseException:
        for log in sorted((data_dir / "logs").iterdir()):  # before the directory goes
            print(f"--- {log.name}\n{log.read_text()[-LOG_SHOWN:]}", file=sys.stderr)
        raise
    finally:
        for process in reversed(started.values()):
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(data_dir, ignore_errors=True)


def _start(name: str, settings: Settings, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    with (settings.data_dir / "logs" / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [*tether_command(), name],
            cwd=settings.data_dir / "run",
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
