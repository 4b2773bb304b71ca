"""The harms: each does its damage to a running installation and ends it."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import redis

from tests.stack import Stack, eventually
from tests.whole.test_whole_path import pid_of

Harm = Callable[[Stack], None]
FROZEN_SECONDS = 6.0  # longer than a lease


def kill(part: str) -> Harm:
    """Return the harm that kills a part and waits for its successor."""

    def harm(stack: Stack) -> None:
        before = pid_of(stack, part)
        os.kill(before, signal.SIGKILL)
        eventually(lambda: pid_of(stack, part) not in {0, before}, seconds=30, what=part)

    return harm


def kill_worker_child(stack: Stack) -> None:
    """Kill one process of the worker and wait for its successor."""
    worker = psutil.Process(pid_of(stack, "worker"))
    before = worker.children()
    before[0].kill()

    def replaced() -> bool:
        now = worker.children()
        return before[0] not in now and len(now) >= len(before)

    eventually(replaced, seconds=30, what="another process of the worker")


def freeze_worker(stack: Stack) -> None:
    """Stop the worker and its processes for longer than a lease, then let it go on."""
    worker = psutil.Process(pid_of(stack, "worker"))
    with stopped([worker, *worker.children(recursive=True)]):
        time.sleep(FROZEN_SECONDS)


def freeze_worker_children(stack: Stack) -> None:
    """Stop the processes only: the dispatcher goes on, and others take over what they held."""
    with stopped(psutil.Process(pid_of(stack, "worker")).children(recursive=True)[:1]):
        time.sleep(FROZEN_SECONDS)


def freeze_valkey(stack: Stack) -> None:
    """Stop Valkey for ten seconds."""
    with stopped([psutil.Process(pid_of(stack, "valkey"))]):
        time.sleep(10)


def flush_valkey(stack: Stack) -> None:
    """Delete everything in Redis."""
    with redis.Redis.from_url(stack.servers["REDIS_URL"]) as client:
        client.flushall()


def delete_valkey(stack: Stack) -> None:
    """Kill Valkey and delete its files."""
    shutil.rmtree(stack.data_dir / "valkey" / "appendonlydir")
    kill("valkey")(stack)


@contextmanager
def stopped(processes: list[psutil.Process]) -> Iterator[None]:
    """Keep processes stopped while the block runs."""
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


HARMS: dict[str, Harm] = {
    "a process of the worker is killed": kill_worker_child,
    "the worker is killed": kill("worker"),
    "beat is killed": kill("beat"),
    "Flower is killed": kill("flower"),
    "the API is killed": kill("api"),
    "Valkey is killed": kill("valkey"),
    "Valkey is emptied": flush_valkey,
    "Valkey is killed and its files deleted": delete_valkey,
    "Valkey is frozen": freeze_valkey,
    "the database is killed": kill("mongo"),
    "the worker is frozen": freeze_worker,
    "a process of the worker is frozen": freeze_worker_children,
}
CUTS_SOCKETS = frozenset({"the API is killed"})
