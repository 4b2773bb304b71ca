"""`coursepulse run`: everything the product needs on this machine, in one foreground process.

It checks first and starts nothing half; shows a line for each thing that matters; and when it is
stopped, or its parent dies, or it is killed, nothing of it stays behind.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from console import preflight
from console.instance import (
    api_url,
    environment_path,
    flower_url,
    save_environment,
    signing_secret,
)
from console.programs import (
    READY_MARK,
    child_environment,
    discard_flower_history,
    supervised,
    write_files,
)
from console.tether import tie_to_parent

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from analytics.settings import Settings
    from console.supervisor import Supervisor

START_LIMIT = 60.0  # seconds until every part must have answered once
REPORT_AGAIN = 30.0  # seconds: a part that dies over and over is not told each time
# The embedded server keeps its memory of retryable writes in memory and searches all of it at each
# write, so that writes grow slower with use; and after a restart a retry would be done twice.
EMBEDDED_MONGO = "mongodb://127.0.0.1:{port}/?retryWrites=false"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A signal asked this run to stop; not an error, so nothing that handles errors sees it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take none: the environment configures the product."""
    parser.epilog = "Settings come from the environment; docs/settings.md lists them."


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Run until stopped (0) or until it cannot go on (1)."""
    del args
    tie_to_parent(signal.SIGTERM, os.getppid())
    preflight.check_python()
    preflight.check_packages(settings)
    preflight.check_identity(settings)
    settings = settings.model_copy(update={"data_dir": settings.data_dir.resolve()})
    preflight.prepare_data_dir(settings.data_dir)
    try:
        with preflight.lock_data_dir(settings.data_dir), stop_on_signals():
            return _run_locked(settings)
    except Stopped:
        return 0


def say(part: str, text: str) -> None:
    """Print one readable line."""
    _print(f"{part:<9} {text}")


def _print(line: str) -> None:
    try:
        print(line, flush=True)
    except OSError:  # the terminal is gone; what runs must still be stopped in order
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123  # it lasts as long as the process


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Raise `Stopped` at the first signal; the ones that follow change nothing."""

    def stop(_number: int, _frame: object) -> NoReturn:
        ignore_signals()
        raise Stopped

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore_signals() -> None:
    """Let nothing interrupt the stopping, which has a deadline of its own."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _run_locked(settings: Settings) -> int:
    from console.leftovers import end_leftovers  # noqa: PLC0415  # psutil is known to be there now
    from console.supervisor import Supervisor  # noqa: PLC0415  # not needed to refuse

    run_dir = settings.data_dir / "run"
    (run_dir / READY_MARK).unlink(missing_ok=True)
    if end_leftovers(run_dir):
        say("run", "ended what an earlier, killed run had left")
    preflight.check_ports(settings)
    if environment_path(settings.data_dir).exists():  # the earlier run did not end by itself
        discard_flower_history(settings.data_dir)
    own_mongo, own_valkey = settings.mongo_url is None, settings.redis_url is None
    settings = _complete(settings)
    programs = supervised(settings, own_mongo=own_mongo, own_valkey=own_valkey)
    os.environ.update(child_environment(settings))
    write_files(settings, programs)
    save_environment(settings)
    say("run", f"starting; data and logs are in {settings.data_dir}")
    supervisor = Supervisor(run_dir)
    try:
        return _Watch(settings, supervisor, [program.name for program in programs]).watch()
    finally:
        ignore_signals()
        say("run", "stopping")
        began = time.monotonic()
        in_order = supervisor.stop()
        (run_dir / READY_MARK).unlink(missing_ok=True)
        end_leftovers(run_dir)
        environment_path(settings.data_dir).unlink(missing_ok=True)
        manner = "" if in_order else ", by force"
        say("run", f"stopped in {time.monotonic() - began:.1f} s{manner}")


def _complete(settings: Settings) -> Settings:
    """Fill in what this run decides: the embedded servers' URLs and the development secret."""
    ports = _embedded_ports(settings)
    found: dict[str, str] = {
        "mongo_url": settings.mongo_url or EMBEDDED_MONGO.format(port=ports["mongo"]),
        "redis_url": settings.redis_url or f"redis://127.0.0.1:{ports['valkey']}",
    }
    if not settings.jwt_jwks_url:
        found["jwt_secret"] = signing_secret(settings)
    return settings.model_copy(update=found)


def _embedded_ports(settings: Settings) -> dict[str, int]:
    """Choose a port for each embedded server, the last run's where it is free."""
    memory = settings.data_dir / "run" / "ports.json"
    try:
        last: dict[str, int] = json.loads(memory.read_text())
    except (OSError, ValueError):  # the first run, or a file cut short: any port will do
        last = {}
    taken = {settings.port, settings.flower_port}
    chosen: dict[str, int] = {}
    for name in ("mongo", "valkey"):
        chosen[name] = preflight.choose_port(last.get(name), taken)
        taken.add(chosen[name])
    memory.write_text(json.dumps(chosen) + "\n")
    return chosen


class _Watch:
    """Tells what becomes ready and what dies; everything after the start and before the stop."""

    def __init__(self, settings: Settings, supervisor: Supervisor, names: list[str]) -> None:
        from console.readiness import looks  # noqa: PLC0415  # not needed to refuse

        self._settings = settings
        self._supervisor = supervisor
        self._looks = looks(settings, names)
        self._waiting = list(self._looks)  # not yet ready, or ready no more
        self._told: dict[str, float] = {}  # when a part's death was last shown
        self._began = time.monotonic()
        self._ready = False

    def watch(self) -> int:
        """Watch until a signal comes; return 1 where it cannot go on."""
        while True:
            for death in self._supervisor.deaths(timeout=0.05 if self._waiting else 1.0):
                if death.name is None:
                    say("run", f"the supervisor died; see {self._log('supervisord')}")
                    return 1
                self._tell_death(death.name, death.why)
            self._look()
            if self._ready:
                continue
            if not self._waiting:
                self._announce()
            elif time.monotonic() - self._began > START_LIMIT:
                name = self._waiting[0]
                say(name, f"is not ready after {START_LIMIT:.0f} s; see {self._log(name)}")
                return 1

    def _look(self) -> None:
        # In the order of starting: what comes later needs what comes earlier.
        while self._waiting and self._looks[self._waiting[0]]():
            name = self._waiting.pop(0)
            again = "" if self._told.pop(name, None) is None or not self._ready else " again"
            where = f" {flower_url(self._settings)}" if name == "flower" else ""
            say(name, f"ready{again}{where}")
            if name == "api" and not self._ready and self._settings.demo:
                self._seed()

    def _seed(self) -> None:
        from console.demo import seed  # noqa: PLC0415  # only for DEMO=on

        say("demo", seed(self._settings))

    def _announce(self) -> None:
        self._ready = True
        (self._settings.data_dir / "run" / READY_MARK).touch()
        _print(f"ready {api_url(self._settings)}")

    def _tell_death(self, name: str, why: str) -> None:
        if name in self._looks and name not in self._waiting:
            self._waiting.append(name)
        now = time.monotonic()
        if now - self._told.get(name, -REPORT_AGAIN) >= REPORT_AGAIN:
            self._told[name] = now
            say(name, f"died ({why}), restarting; see {self._log(name)}")

    def _log(self, name: str) -> Path:
        return self._settings.data_dir / "logs" / f"{name}.log"
