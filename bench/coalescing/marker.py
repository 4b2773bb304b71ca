"""Marks at a wanted rate, straight into the coalescer, as `tasks/enqueue.py` sends them.

A turn sends all marks that have become due in one round trip, and the next turn begins when its
answers are there. Unlike the API's turns it does not merge marks of the same subject: every mark
reaches the script. The requests are ready-made bytes, for the marker shares the machine's cores
with the server that it loads.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import hiredis

from analytics.settings import Settings
from analytics.stores import redis as redis_store
from analytics.subjects import Subject
from tasks.coalescer import script, subject_keys

PAUSE_SECONDS = 0.002
LARGEST_TURN = 500
READ_BYTES = 65_536


@dataclass(slots=True)
class Marked:
    """What was sent; times are `time.monotonic()`, in seconds."""

    sent: dict[str, list[float]] = field(default_factory=dict)
    """When each mark of a subject was sent, in the order in which the server counted them."""
    marks: int = 0
    turns: int = 0
    leases: int = 0
    seconds: float = 0.0
    """From the first mark's time to the last one's answer."""
    lateness: list[float] = field(default_factory=list)
    """How much later than planned the oldest mark of each turn was sent."""
    cpu_seconds: float = 0.0


async def mark_all(
    settings: Settings,
    subjects: Sequence[Subject],
    rate: float,
    hand_over: Callable[[str, str], None],
) -> Marked:
    """Mark the subjects in this order, at `rate` marks a second.

    `hand_over` gets the name and the fence of each subject that a mark leased.
    """
    with redis_store.connect(settings) as client:
        sha = str(client.script_load(script("mark", settings.refresh_window_ms)))
    requests = {subject: _request(sha, subject) for subject in set(subjects)}
    marked = Marked({subject.name: [] for subject in requests})
    address = urlsplit(settings.require_redis_url())
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    answers = hiredis.Reader(encoding="utf-8")
    began, cpu = time.monotonic(), time.process_time()
    while marked.marks < len(subjects):
        now = time.monotonic()
        due = min(len(subjects), int((now - began) * rate) + 1, marked.marks + LARGEST_TURN)
        turn = subjects[marked.marks : due]
        if not turn:
            await asyncio.sleep(PAUSE_SECONDS)
            continue
        marked.lateness.append(now - began - marked.marks / rate)
        writer.write(b"".join([requests[subject] for subject in turn]))
        for subject in turn:
            marked.sent[subject.name].append(now)
        for subject, fence in zip(turn, await _read(reader, answers, len(turn)), strict=True):
            if fence:
                marked.leases += 1
                hand_over(subject.name, fence)
        marked.marks, marked.turns = due, marked.turns + 1
    marked.seconds = time.monotonic() - began
    marked.cpu_seconds = time.process_time() - cpu
    writer.close()
    await writer.wait_closed()
    return marked


async def _read(reader: asyncio.StreamReader, answers: hiredis.Reader, count: int) -> list[str]:
    """Return the answers of `count` marks; raise the first error among them."""
    found: list[str] = []
    while len(found) < count:
        answer = answers.gets()
        if answer is False:  # not whole yet; the script never answers false
            answers.feed(await reader.read(READ_BYTES))
            continue
        if isinstance(answer, Exception):
            raise answer
        found.append(str(answer))
    return found


def _request(sha: str, subject: Subject) -> bytes:
    keys = subject_keys(subject)
    words = ["EVALSHA", sha, str(len(keys)), *keys, subject.name, "1"]
    encoded = [word.encode() for word in words]
    parts = [b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded]
    return b"*%d\r\n" % len(parts) + b"".join(parts)
