"""Refreshes that fail again and again: counted, parked with their reason, tried again more rarely.

One document a failing subject, none for the others, in MongoDB so that a restart forgets nothing:

    {_id: subject's name, failures, reason, version, first_at, last_at, until}

times in ms since 1970. The count is of failures in a row: totals whose version is above the one
noted at the last failure tell of a success in between.
"""

from __future__ import annotations

from dataclasses import dataclass

from analytics.clock import now_ms
from analytics.stores.mongo import Collections, Document
from analytics.subjects import Subject

TRIES = 3
SHORTEST_MS = 60_000
LONGEST_MS = 3_600_000
_REASON_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Failing:
    """A subject whose last refreshes failed; it is parked until `until` (0: tried at once)."""

    subject: Subject
    failures: int
    reason: str
    version: int
    first_at: int
    last_at: int
    until: int

    @property
    def is_parked(self) -> bool:
        """Say whether it failed so often that it waits; nothing but a success ends that."""
        return self.failures >= TRIES

    @property
    def pause_ms(self) -> int:
        """How long it stays parked from now."""
        return max(0, min(self.until - now_ms(), LONGEST_MS))


class Parking:
    """Keeps the failing subjects."""

    def __init__(self, collections: Collections) -> None:
        self._c = collections

    def failed(self, subject: Subject, reason: str) -> Failing:
        """Count a failure and return what it comes to."""
        now = now_ms()
        stored = self._c.failing.find_one({"_id": subject.name})
        before = None if stored is None else _failing(stored)
        if before is not None and self._succeeded_since(before):
            before = None
        failures = 1 if before is None else before.failures + 1
        until = now + back_off_ms(failures) if failures >= TRIES else 0
        fields = {
            "failures": failures,
            "reason": reason[:_REASON_LENGTH],
            "version": self._version(subject),
            "first_at": now if before is None else before.first_at,
            "last_at": now,
            "until": until,
        }
        # Two workers that fail at once may count one failure: it is counted the next time.
        self._c.failing.update_one({"_id": subject.name}, {"$set": fields}, upsert=True)
        return _failing({"_id": subject.name, **fields})

    def all(self) -> list[Failing]:
        """Return the failing subjects, parked or not."""
        return [_failing(document) for document in self._c.failing.find({})]

    def forget(self, subject: Subject) -> bool:
        """Forget a subject's failures; say whether there were any."""
        return self._c.failing.delete_one({"_id": subject.name}).deleted_count > 0

    def forget_healed(self) -> list[Subject]:
        """Forget those that succeeded since; return them."""
        healed = [each.subject for each in self.all() if self._succeeded_since(each)]
        for subject in healed:
            self.forget(subject)
        return healed

    def _succeeded_since(self, failing: Failing) -> bool:
        return self._version(failing.subject) > failing.version

    def _version(self, subject: Subject) -> int:
        collection, key = self._c.totals_of(subject)
        totals = collection.find_one({"_id": key}, {"version": 1})
        return 0 if totals is None else int(totals.get("version", 0))


def back_off_ms(failures: int) -> int:
    """Return the pause after so many failures in a row: a minute, doubled each time to an hour."""
    doublings = min(failures - TRIES, 10)
    return min(SHORTEST_MS << doublings, LONGEST_MS)


def _failing(document: Document) -> Failing:
    return Failing(
        Subject.parse(document["_id"]),
        int(document["failures"]),
        str(document["reason"]),
        int(document["version"]),
        int(document["first_at"]),
        int(document["last_at"]),
        int(document["until"]),
    )
