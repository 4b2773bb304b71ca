"""Courses, workers, a dispatcher, a reconcile and viewers as one deterministic machine.

The rules under test are the product's own: the Lua scripts, `fold`, the publish script. What stands
between them (a broker, a database, processes) is a few lists here, and the schedule decides what
happens next: whose step it is, who crashes or stalls, what is lost, sent twice or overtaken, and
where the clocks jump.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, cast

from analytics.events import Entry, Part
from analytics.messages import Frame
from analytics.numbers import LessonSums
from analytics.stores.publish import Publisher
from analytics.subjects import Subject
from analytics.totals import CourseTotals, DirtyProgress, fold, next_version
from tasks.coalescer import LEASES, Coalescer, Lease
from tests.schedules.lua_store import LuaStore

START_MS = 1_700_000_000_000
WINDOW_MS = 100
COURSES = ("a", "b", "c")
STUDENTS = 3
HOUR_MS = 3_600_000
LESSON = "_l"


@dataclass
class Document:
    """One student's progress: what is uncounted, and the newest entry's number."""

    seq: int = 0
    uncounted: list[Entry] = field(default_factory=list)


@dataclass
class Course:
    """What MongoDB holds of a course, and what its viewer has seen."""

    documents: dict[str, Document] = field(default_factory=dict)
    totals: CourseTotals = field(default_factory=CourseTotals)
    accepted: LessonSums = field(default_factory=LessonSums)
    students: int = 0
    committed: list[int] = field(default_factory=list)
    shown: list[tuple[int, CourseTotals]] = field(default_factory=list)

    def is_owed(self) -> bool:
        return any(document.uncounted for document in self.documents.values())

    def see(self, totals: CourseTotals) -> None:
        """Show a state to the viewer, as the hub does: only if it is newer."""
        if not self.shown or totals.version > self.shown[-1][0]:
            self.shown.append((totals.version, totals))


@dataclass
class Task:
    """A refresh at work: its remaining steps, its lease while it renews it."""

    steps: Iterator[None]
    lease: Lease
    stalled_until: int = 0


class Machine:
    """One schedule; `seed` decides everything."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.store = LuaStore(START_MS)
        client = cast("Any", self.store)  # the scripts are all that is used of a client
        self.coalescer = Coalescer(client, WINDOW_MS)
        self.publisher = Publisher(client)
        self.courses = {name: Course() for name in COURSES}
        self.queue: list[Lease] = []
        self.tasks: list[Task] = []
        self.deliveries: list[tuple[str, CourseTotals]] = []
        self.worker_clock_off = 0
        self.redis_is_down = False
        self.renewed_at = START_MS

    # -- what happens --

    def event(self) -> None:
        """Accept an event: durable, then marked if Redis answers."""
        name = self.random.choice(COURSES)
        course = self.courses[name]
        user = f"u{self.random.randrange(STUDENTS)}"
        new = user not in course.documents
        document = course.documents.setdefault(user, Document())
        document.seq += 1
        part = Part(LESSON, watch_ms=self.random.randrange(1, 1_000))
        at = self.store.now_ms
        document.uncounted.append(Entry(document.seq, at, None, int(new), (part,)))
        course.accepted = course.accepted.plus(part)
        course.students += new
        if not self.redis_is_down:
            self._send(self.coalescer.mark(Subject(name)))

    def dispatch(self) -> None:
        """Lease what is due and send it."""
        if not self.redis_is_down:
            for lease in self.coalescer.take(8)[0]:
                self._send(lease)

    def reconcile(self) -> None:
        """Wake what is owed."""
        if self.redis_is_down:
            return
        for name, course in self.courses.items():
            if course.is_owed():
                self._send(self.coalescer.mark(Subject(name), counts=False))

    def check_versions(self) -> None:
        """Show viewers what is stored, as the hub's periodic check does."""
        for course in self.courses.values():
            if course.totals.version:
                course.see(course.totals)

    def receive(self) -> None:
        """Begin a task, any of the queue's: brokers and workers reorder."""
        if self.queue and len(self.tasks) < 4:
            lease = self.queue.pop(self.random.randrange(len(self.queue)))
            self.tasks.append(Task(self._refresh(lease), lease))

    def step(self, task: Task) -> None:
        """Let a task take its next step."""
        if self.store.now_ms < task.stalled_until:
            return
        try:
            next(task.steps)
        except StopIteration:
            self.tasks.remove(task)
        except ConnectionError:  # Redis is away: the task fails, its lease ends by itself
            self.tasks.remove(task)

    def deliver(self) -> None:
        """Let a publication arrive, any of those on their way."""
        if self.deliveries:
            name, totals = self.deliveries.pop(self.random.randrange(len(self.deliveries)))
            self.courses[name].see(totals)

    def pass_time(self, milliseconds: int) -> None:
        """Move the clock; living tasks renew their leases once a second."""
        self.store.now_ms += milliseconds
        if self.store.now_ms - self.renewed_at >= 1_000 or self.store.now_ms < self.renewed_at:
            self.renewed_at = self.store.now_ms
            for task in self.tasks:
                if self.store.now_ms >= task.stalled_until and not self.redis_is_down:
                    self.coalescer.renew(task.lease)

    def harm(self) -> None:
        """Do one harm."""
        kind = self.random.randrange(9)
        if kind == 0 and self.tasks:
            self.tasks.remove(self.random.choice(self.tasks))  # a process is killed
        elif kind == 1:
            self.tasks.clear()  # the whole worker is
        elif kind == 2 and self.tasks:
            until = self.store.now_ms + self.random.choice((500, 4_000, 20_000))
            self.random.choice(self.tasks).stalled_until = until
        elif kind == 3:
            self.store.flush()
        elif kind == 4:
            self.redis_is_down = not self.redis_is_down
        elif kind == 5 and self.queue:
            self.queue.append(self.random.choice(self.queue))  # delivered twice
        elif kind == 6 and self.queue:
            self.queue.pop(self.random.randrange(len(self.queue)))  # lost by the broker
        elif kind == 7:
            self.store.now_ms += self.random.choice((HOUR_MS, -HOUR_MS, 60_000, -60_000))
        elif kind == 8:
            self.worker_clock_off = self.random.choice((HOUR_MS, -HOUR_MS, 0))

    # -- the whole schedule --

    def run(self, steps: int) -> None:
        """Run a stretch of events and harm, then let the machine come to rest."""
        for _ in range(steps):
            choice = self.random.random()
            if choice < 0.25:
                self.event()
            elif choice < 0.35:
                self.dispatch()
            elif choice < 0.45:
                self.receive()
            elif choice < 0.75 and self.tasks:
                self.step(self.random.choice(self.tasks))
            elif choice < 0.82:
                self.deliver()
            elif choice < 0.85:
                self.reconcile()
            elif choice < 0.95:
                self.pass_time(self.random.choice((1, 20, 150, 1_000)))
            else:
                self.harm()
        self.redis_is_down = False

    def rest(self, longest_ms: int) -> int:
        """Let time pass without harm until nothing is owed; return how long it took.

        The clock counts from the end of the last stall: who sleeps cannot be waited for.
        """
        waited = 0
        for task in self.tasks:
            task.stalled_until = 0
        while waited <= longest_ms:
            if waited % 2_000 == 0:
                self.reconcile()
                self.check_versions()
            self.dispatch()
            self.receive()
            for task in list(self.tasks):
                self.step(task)
            self.deliver()
            if self._is_quiet():
                return waited
            self.pass_time(50)
            waited += 50
        return waited

    def _is_quiet(self) -> bool:
        owed = any(course.is_owed() for course in self.courses.values())
        behind = any(
            course.totals.version and course.shown[-1:] != [(course.totals.version, course.totals)]
            for course in self.courses.values()
        )
        return not (owed or behind or self.tasks or self.queue or self.store.has(LEASES))

    # -- a refresh, in the order of tasks.refresh --

    def _refresh(self, lease: Lease) -> Iterator[None]:
        marks = self._redis(lambda: self.coalescer.start(lease))
        if marks is None:
            return
        yield
        course = self.courses[lease.subject.course_id or ""]
        while True:
            totals = course.totals
            yield
            dirty = [
                DirtyProgress(user, user, alive=True, entries=tuple(document.uncounted))
                for user, document in course.documents.items()
                if document.uncounted
            ]
            yield
            folded = fold(totals, dirty, complete=True, limit=4)
            if not folded.counted:
                committed = totals
                break
            now = self.store.now_ms + self.worker_clock_off
            committed = replace(folded.totals, version=next_version(totals.version, now))
            if course.totals.version == totals.version:
                course.totals = committed
                course.committed.append(committed.version)
                break
        yield
        if committed.version:
            frame = Frame(committed.version, "{}")
            subject = lease.subject
            if self._redis(lambda: self.publisher.publish(subject, frame)):
                if self.random.random() < 0.9:  # the rest is lost on the way
                    self.deliveries.append((subject.course_id or "", committed))
                yield
        for user, seq in committed.pending.items():
            document = course.documents[user]
            document.uncounted = [entry for entry in document.uncounted if entry.seq > seq]
            yield
        delay = 0 if folded.more else None
        self._redis(lambda: self.coalescer.finish(lease, marks, delay_ms=delay))

    def _redis(self, work: Any) -> Any:
        if self.redis_is_down:
            raise ConnectionError
        return work()

    def _send(self, lease: Lease | None) -> None:
        if lease is not None:
            self.queue.append(lease)
