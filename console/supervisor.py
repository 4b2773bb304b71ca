"""supervisord as a child process: started tethered, watched through its log, stopped in order."""

from __future__ import annotations

import os
import queue
import re
import subprocess
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from console.programs import SUPERVISOR, tether_command
from console.tether import PARENT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STOP_DEADLINE = 27.0  # seconds; the programs' graces add up to less
_EXITED = re.compile(r"exited: (?P<name>\w+) \((?P<why>[^;)]*)")


@dataclass(frozen=True)
class Death:
    """A program ended without being asked to; without a name, it was the supervisor itself."""

    name: str | None
    why: str = ""


class Supervisor:
    """Runs the programs written to `run_dir` by `programs.write_files`."""

    def __init__(self, run_dir: Path) -> None:
        self._deaths: queue.SimpleQueue[Death] = queue.SimpleQueue()
        # Its own session: Ctrl-C in the terminal reaches `coursepulse run` alone, which stops the
        # programs in their order.
        self._process = subprocess.Popen(  # noqa: S603  # the command is the product's own
            [*tether_command(), SUPERVISOR],
            cwd=run_dir,
            env={**os.environ, PARENT: str(os.getpid())},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._read_log, daemon=True).start()

    def deaths(self, timeout: float) -> Iterator[Death]:
        """Wait up to `timeout` seconds for news, then yield all there is."""
        try:
            yield self._deaths.get(timeout=timeout)
            while True:
                yield self._deaths.get_nowait()
        except queue.Empty:
            return

    def stop(self) -> bool:
        """End all programs in order; return False where force was needed."""
        self._process.terminate()
        try:
            self._process.wait(STOP_DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.kill()  # its programs are tethered to it
            self._process.wait()
            return False
        return True

    def _read_log(self) -> None:
        log = self._process.stdout
        if log is None:  # it is a pipe
            return
        for line in log:
            found = _EXITED.search(line)
            if found:
                self._deaths.put(Death(found["name"], found["why"]))
        self._deaths.put(Death(None))
