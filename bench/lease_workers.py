"""The workers of `coalescing`: they lease through the product's coalescer and only wait.

`python -m bench.lease_workers` reads a `Pretence` as JSON in the first line of stdin, then a line
`subject fence` for each lease that a mark gave its caller (what Celery carries in the product). A
dispatcher takes what is due at the product's pace. When stdin ends, it writes to stdout every
start: `[subject, time.monotonic() in seconds, marks so far]`.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import asdict, dataclass
from queue import SimpleQueue

from analytics.settings import Settings
from analytics.stores import redis as redis_store
from analytics.subjects import Subject
from tasks.coalescer import MAXIMUM_QUEUED, Coalescer, Lease
from tasks.dispatcher import FULL_SECONDS, IDLE_SECONDS

Start = tuple[str, float, int]


@dataclass(frozen=True, slots=True)
class Pretence:
    """How many workers (threads: they only wait), and how long each refresh takes, in seconds."""

    redis_url: str
    workers: int
    refresh_seconds: float

    def line(self) -> str:
        """Return it as the first line of stdin."""
        return json.dumps(asdict(self)) + "\n"


class Workers:
    """The threads and what they saw."""

    def __init__(self, pretence: Pretence) -> None:
        settings = Settings.from_environment().model_copy(update={"redis_url": pretence.redis_url})
        self._coalescer = Coalescer(redis_store.connect(settings), settings.refresh_window_ms)
        self._refresh_seconds = pretence.refresh_seconds
        self._leases: SimpleQueue[Lease | None] = SimpleQueue()
        self._stopping = threading.Event()
        self._starts: list[Start] = []
        self._dropped = 0
        self._dispatcher = threading.Thread(target=self._dispatch)
        self._threads = [threading.Thread(target=self._work) for _ in range(pretence.workers)]

    def run(self) -> dict[str, object]:
        """Work until stdin ends; return the starts and how many leases were stale."""
        for thread in (self._dispatcher, *self._threads):
            thread.start()
        for line in sys.stdin:
            name, fence = line.split()
            self._leases.put(Lease(Subject.parse(name), fence))
        self._stopping.set()
        self._dispatcher.join()
        for _ in self._threads:
            self._leases.put(None)
        for thread in self._threads:
            thread.join()
        return {"starts": self._starts, "dropped": self._dropped}

    def _dispatch(self) -> None:
        """Do as `tasks.dispatcher` does, but for the reconcile."""
        wait = 0.0
        while not self._stopping.wait(wait):
            leases, next_due_ms = self._coalescer.take(MAXIMUM_QUEUED)
            for lease in leases:
                self._leases.put(lease)
            idle = next_due_ms is None
            wait = IDLE_SECONDS if idle else next_due_ms / 1000  # type: ignore[operator]
            wait = min(IDLE_SECONDS, max(FULL_SECONDS, wait))

    def _work(self) -> None:
        while (lease := self._leases.get()) is not None:
            marks = self._coalescer.start(lease)
            if marks is None:
                self._dropped += 1
                continue
            self._starts.append((lease.subject.name, time.monotonic(), marks))
            time.sleep(self._refresh_seconds)
            self._coalescer.finish(lease, marks)


def main() -> None:
    """Run the pretence of stdin."""
    pretence = Pretence(**json.loads(sys.stdin.readline()))
    json.dump(Workers(pretence).run(), sys.stdout)


if __name__ == "__main__":
    main()
