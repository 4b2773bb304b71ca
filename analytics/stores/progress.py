"""The write path: one atomic, durable update of the student's progress document per event.

The same update changes the progress *and* appends to `uncounted` what the course's totals still
have to gain, so an acknowledged event can be neither lost nor half done. The filter is exactly the
unique key; every condition stands inside the pipeline (a condition beside the key would cost the
embedded server a scan).

    {_id, course_id, user_id, alive, seq, dirty?, last_accessed,
     lessons: {key: {completed_at?, plain_ms?, spans?, watch_ms}},
     attempts: [{lesson_id, key, score, max_score, units, max_units, at}],
     uncounted: [entry…], keys: [{key, body, event}…]}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pymongo import UpdateOne
from pymongo.errors import OperationFailure

from analytics.errors import Conflict, Invalid, Unavailable
from analytics.events import (
    SCORE_UNIT,
    Enrolled,
    Event,
    LessonCompleted,
    QuizAttempted,
    SecondsWatched,
    SpansWatched,
    union,
)
from analytics.ids import digest, field_key, new_id
from analytics.numbers import to_units
from analytics.stores.async_mongo import AsyncCollections
from analytics.stores.group_commit import GroupCommit, Written

UNCOUNTED_LIMIT = 10_000
KEYS_REMEMBERED = 200
UPSERT_TRIES = 8
_DUPLICATE_KEY = 11000
_TOO_LARGE = frozenset({10334, 17419, 17420, 17280})

Expression = Any


@dataclass(frozen=True, slots=True)
class Accepted:
    """A durable event. `created`: it made the student known to the course."""

    event_id: str
    changed: bool
    created: bool


@dataclass(frozen=True, slots=True)
class Request:
    """What accompanies an event: when (ms since 1970), under which ids and key."""

    at: int
    request_id: str
    idempotency_key: str | None = None
    body_digest: str = ""


class Progress:
    """Appends events and reads a student's own progress."""

    def __init__(self, collections: AsyncCollections) -> None:
        self._progress = collections.progress
        self._writes = GroupCommit(collections.progress)
        # An enrolment's answer says whether it changed something: it travels alone.
        self._enrolments = GroupCommit(collections.progress, batch=1)

    async def append(
        self, course_id: str, user_id: str, event: Event, request: Request
    ) -> Accepted:
        """Store the event; when this returns it is durable.

        Raises `Conflict` (key used for other content), `Unavailable` (too much uncounted).
        """
        event_id = new_id()
        pipeline = append_pipeline(event, request, event_id)
        writes = self._enrolments if isinstance(event, Enrolled) else self._writes
        written = await self._update(writes, course_id, user_id, pipeline, upsert=True)
        if written.changed:
            return Accepted(event_id, changed=True, created=written.created)
        return await self._explain_unchanged(
            course_id, user_id, event_id, request, certain=written.changed is not None
        )

    async def remembered(self, course_id: str, user_id: str, request: Request) -> str | None:
        """Return the event that the request's key stands for; raise `Conflict` as `append` does."""
        if request.idempotency_key is None:
            return None
        document = await self._progress.find_one(
            {"course_id": course_id, "user_id": user_id}, {"keys": 1}
        )
        return None if document is None else _remembered_event(document, request)

    async def remove(self, course_id: str, user_id: str, request: Request) -> None:
        """Take the student out of the course; absent students are no error."""
        pipeline = removal_pipeline(request)
        await self._update(self._writes, course_id, user_id, pipeline, upsert=False)

    async def courses_of(self, user_id: str) -> list[str]:
        """Return the courses that hold a progress document of the student."""
        cursor = self._progress.find({"user_id": user_id}, {"course_id": 1})
        return [document["course_id"] async for document in cursor]

    async def read(self, course_id: str, user_id: str) -> dict[str, Any] | None:
        """Return the student's progress document without its bookkeeping, None without one."""
        document: dict[str, Any] | None = await self._progress.find_one(
            {"course_id": course_id, "user_id": user_id}, {"uncounted": 0, "keys": 0}
        )
        return document if document is not None and document["alive"] else None

    async def _update(
        self,
        writes: GroupCommit,
        course_id: str,
        user_id: str,
        pipeline: list[Any],
        *,
        upsert: bool,
    ) -> Written:
        key = {"course_id": course_id, "user_id": user_id}
        operation = UpdateOne(key, pipeline, upsert=upsert)
        for _ in range(UPSERT_TRIES):
            written = await writes.update(operation)
            if written.error is None:
                return written
            if written.error in _TOO_LARGE:
                raise Invalid("The student's progress in this course has reached its largest size.")
            if written.error != _DUPLICATE_KEY:
                message = f"a progress update failed with code {written.error}"
                raise OperationFailure(message, written.error)
            # Two first events of a new student raced: the document is there now, so the very same
            # update applies. It never means that this event was stored.
        raise Unavailable("The student's progress is changing too fast; repeat the request.")

    async def _explain_unchanged(
        self, course_id: str, user_id: str, event_id: str, request: Request, *, certain: bool
    ) -> Accepted:
        """Tell why the document did not change, or (not `certain`) whether it did.

        An event with a key is found by it. One without is found among the uncounted, or was
        counted already, or added nothing; the course is marked in any case, which harms nobody.
        """
        document = await self._progress.find_one(
            {"course_id": course_id, "user_id": user_id}, {"keys": 1, "uncounted": 1}
        )
        if document is None:
            # Removed and cleaned up since: what was asked changed nothing then.
            raise Unavailable("The student was just removed from the course; repeat the request.")
        remembered = _remembered_event(document, request)
        if remembered is not None:
            return Accepted(remembered, changed=remembered == event_id, created=False)
        uncounted = document.get("uncounted", ())
        if any(entry["event"] == event_id for entry in uncounted):
            return Accepted(event_id, changed=True, created=False)
        if len(uncounted) >= UNCOUNTED_LIMIT:
            raise Unavailable("Too many events of this student wait to be counted.", retry_after=2)
        return Accepted(event_id, changed=not certain, created=False)


def _remembered_event(document: dict[str, Any], request: Request) -> str | None:
    if request.idempotency_key is None:
        return None
    fingerprint = digest(request.idempotency_key)
    for remembered in document.get("keys", ()):
        if remembered["key"] == fingerprint:
            if remembered["body"] != request.body_digest:
                raise Conflict("This Idempotency-Key was used for other content; take a new key.")
            event: str = remembered["event"]
            return event
    return None


def append_pipeline(event: Event, request: Request, event_id: str) -> list[dict[str, Any]]:
    """Return the update that stores `event`; it changes nothing where the event adds nothing."""
    change, gains, part = _effect(event, request.at)
    unknown = {"$ne": ["$alive", True]}
    entry = {
        "seq": _next_seq(),
        "event": event_id,
        "at": request.at,
        "request_id": _literal(request.request_id),
        "students": {"$cond": [unknown, 1, 0]},
        "parts": part,
    }
    changed = {
        "alive": True,
        "seq": _next_seq(),
        "dirty": "$course_id",
        "last_accessed": request.at,
        "uncounted": _appended("$uncounted", entry),
        **change,
    }
    room = {"$lt": [{"$size": _or_empty("$uncounted")}, UNCOUNTED_LIMIT]}
    happens: Expression = room if gains is True else {"$and": [room, {"$or": [unknown, gains]}]}
    outcome: Expression = {"$cond": [happens, changed, {}]}
    merged: Expression = {"$mergeObjects": ["$$ROOT", outcome]}
    if request.idempotency_key is not None:
        fingerprint = digest(request.idempotency_key)
        remembered = {"key": fingerprint, "body": request.body_digest, "event": event_id}
        # Not "$keys.key": the embedded server does not look into arrays by a path.
        known = {"$map": {"input": _or_empty("$keys"), "as": "known", "in": "$$known.key"}}
        keys = {"$slice": [_appended("$keys", remembered), -KEYS_REMEMBERED]}
        merged = {
            "$cond": [
                {"$or": [{"$in": [fingerprint, known]}, {"$not": [room]}]},
                "$$ROOT",
                {"$mergeObjects": ["$$ROOT", outcome, {"keys": keys}]},
            ]
        }
    return [{"$replaceWith": merged}]


def removal_pipeline(request: Request) -> list[dict[str, Any]]:
    """Return the update that empties the document and appends what the totals have to give back.

    The entry holds the negated sums themselves, so that an event which enrols the student again
    right after finds a blank document. The refresh that counted it deletes the blank document.
    """
    lessons = {
        "$map": {
            "input": {"$objectToArray": {"$ifNull": ["$lessons", {}]}},
            "as": "lesson",
            "in": [
                "$$lesson.k",
                {"$cond": [{"$gt": ["$$lesson.v.completed_at", None]}, -1, 0]},
                {"$multiply": [{"$ifNull": ["$$lesson.v.watch_ms", 0]}, -1]},
                0,
                0,
                0,
            ],
        }
    }
    attempts = {
        "$map": {
            "input": _or_empty("$attempts"),
            "as": "attempt",
            "in": [
                "$$attempt.key",
                0,
                0,
                {"$multiply": ["$$attempt.units", -1]},
                -1,
                "$$attempt.max_units",
            ],
        }
    }
    entry = {
        "seq": _next_seq(),
        "event": new_id(),
        "at": request.at,
        "request_id": _literal(request.request_id),
        "students": -1,
        "parts": {"$concatArrays": [lessons, attempts]},
    }
    blank = {
        "alive": False,
        "seq": _next_seq(),
        "dirty": "$course_id",
        "last_accessed": None,
        "lessons": {"$literal": {}},
        "attempts": [],
        "keys": [],
        "uncounted": _appended("$uncounted", entry),
    }
    return [
        {
            "$replaceWith": {
                "$cond": [
                    {"$eq": ["$alive", True]},
                    {"$mergeObjects": ["$$ROOT", blank]},
                    "$$ROOT",
                ]
            }
        }
    ]


def _effect(event: Event, at: int) -> tuple[dict[str, Expression], Expression, Expression]:
    """Return the fields the event changes, whether it adds anything, and its entry's parts."""
    if isinstance(event, Enrolled):
        return {}, False, []
    key = field_key(event.lesson_id)
    lesson = f"$lessons.{key}"
    match event:
        case LessonCompleted():
            first = {"$lte": [f"{lesson}.completed_at", None]}
            completed_at = {"$ifNull": [f"{lesson}.completed_at", at]}
            gained = {"$cond": [first, 1, 0]}
            return _lesson(key, {"completed_at": completed_at}), first, [[key, gained, 0, 0, 0, 0]]
        case SecondsWatched(milliseconds=milliseconds):
            plain = {"$add": [{"$ifNull": [f"{lesson}.plain_ms", 0]}, milliseconds]}
            total = {"$add": [{"$ifNull": [f"{lesson}.watch_ms", 0]}, milliseconds]}
            change = _lesson(key, {"plain_ms": plain, "watch_ms": total})
            return change, milliseconds > 0, [[key, 0, milliseconds, 0, 0, 0]]
        case SpansWatched(spans=spans):
            before = _or_empty(f"{lesson}.spans")
            after = _merged_spans(before, spans)
            gained = {"$subtract": [_length(after), _length(before)]}
            total = {"$add": [{"$ifNull": [f"{lesson}.watch_ms", 0]}, gained]}
            change = _lesson(key, {"spans": after, "watch_ms": total})
            return change, {"$gt": [gained, 0]}, [[key, 0, gained, 0, 0, 0]]
        case QuizAttempted():
            units = to_units(event.score, SCORE_UNIT)
            max_units = to_units(event.max_score, SCORE_UNIT)
            attempt = {
                "lesson_id": _literal(event.lesson_id),
                "key": key,
                "score": event.score,
                "max_score": event.max_score,
                "units": units,
                "max_units": max_units,
                "at": at,
            }
            return (
                {"attempts": _appended("$attempts", attempt)},
                True,
                [[key, 0, 0, units, 1, max_units]],
            )


def _lesson(key: str, fields: dict[str, Expression]) -> dict[str, Expression]:
    merged = {"$mergeObjects": [f"$lessons.{key}", fields]}
    return {"lessons": {"$mergeObjects": ["$lessons", {key: merged}]}}


def _merged_spans(stored: Expression, spans: tuple[tuple[int, int], ...]) -> Expression:
    """Merge sorted spans in one pass: each joins the open one or, beyond its end, closes it.

    Not by comparing each new span with each stored one: a hundred would stop the embedded server.
    """
    added = [list(span) for span in union(spans)]
    if not added:
        return stored
    both = {"$concatArrays": [stored, {"$literal": added}]}
    in_order = {"$sortArray": {"input": both, "sortBy": 1}}
    start, end = {"$arrayElemAt": ["$$this", 0]}, {"$arrayElemAt": ["$$this", 1]}
    open_start = {"$arrayElemAt": ["$$value.open", 0]}
    open_end = {"$arrayElemAt": ["$$value.open", 1]}
    joined = {"done": "$$value.done", "open": [open_start, {"$max": [open_end, end]}]}
    closed = {"done": _appended("$$value.done", "$$value.open"), "open": "$$this"}
    step = {"$cond": [{"$lte": [start, open_end]}, joined, closed]}
    first = {"done": [], "open": {"$arrayElemAt": ["$$spans", 0]}}
    merged = {"$reduce": {"input": "$$spans", "initialValue": first, "in": step}}
    every = {"$concatArrays": ["$$merged.done", ["$$merged.open"]]}
    return {
        "$let": {
            "vars": {"spans": in_order},
            "in": {"$let": {"vars": {"merged": merged}, "in": every}},
        }
    }


def _length(spans: Expression) -> Expression:
    lengths = {"$subtract": [{"$arrayElemAt": ["$$s", 1]}, {"$arrayElemAt": ["$$s", 0]}]}
    return {"$sum": {"$map": {"input": spans, "as": "s", "in": lengths}}}


def _next_seq() -> Expression:
    return {"$add": [{"$ifNull": ["$seq", 0]}, 1]}


def _or_empty(path: str) -> Expression:
    return {"$ifNull": [path, []]}


def _appended(path: str, element: Expression) -> Expression:
    return {"$concatArrays": [_or_empty(path), [element]]}


def _literal(text: str) -> Expression:
    """Keep free text from being read as a field path.

    Only where it could be: the database checks each node of an expression at each update.
    """
    return {"$literal": text} if text.startswith("$") else text
