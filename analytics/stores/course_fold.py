"""A course's refresh, step by step: read, fold, commit on one condition, then clean up.

Each step is a method so that a test can stop after it. Nothing is lost or counted twice wherever a
refresh stops, and however many run at once: the commit succeeds only on the version that was read,
and the clean-up removes only what a commit has counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from bson import ObjectId
from pymongo import UpdateOne

from analytics.clock import now_ms, rfc3339
from analytics.courses import lesson_ids
from analytics.events import Entry
from analytics.ids import from_field_key, new_id
from analytics.messages import Frame, encode_frame
from analytics.numbers import LessonSums, course_numbers
from analytics.stores.commit import commit_first, commit_next
from analytics.stores.mongo import Collections, Document
from analytics.subjects import Subject
from analytics.totals import CourseTotals, DirtyProgress, Fold, fold, next_version

DOCUMENTS_PER_FOLD = 500
DOCUMENTS_PER_PULL = 50  # an embedded server stops everybody else for as long as one command takes


@dataclass(frozen=True, slots=True)
class CourseState:
    """What one refresh read, in this order: the totals, the course, the dirty documents."""

    totals: CourseTotals
    frame: Frame | None
    course: Document
    dirty: list[DirtyProgress]
    complete: bool
    outdo: int = 0
    """A version that was seen and that the next one must exceed (`continuity.py`); 0: none."""


class CourseFold:
    """The refresh of one course."""

    def __init__(self, collections: Collections, course_id: str) -> None:
        self._c = collections
        self.course_id = course_id

    def read(self) -> CourseState | None:
        """Read the course's state; None where there is no such course."""
        stored = self._c.course_totals.find_one({"_id": self.course_id})
        totals = totals_from_document(stored)
        frame = None if stored is None else Frame(totals.version, stored["frame"])
        course = self._c.courses.find_one(
            {"_id": self.course_id},
            {"version": 1, "modules.lessons.lesson_id": 1, "owes_course": 1, "changed_at": 1,
             "request_id": 1},
        )  # fmt: skip
        if course is None:
            return None
        found = self._c.progress.find(
            {"dirty": self.course_id}, {"user_id": 1, "alive": 1, "uncounted": 1}
        ).limit(DOCUMENTS_PER_FOLD + 1)
        dirty = [dirty_from_document(document) for document in found]
        complete = len(dirty) <= DOCUMENTS_PER_FOLD
        outdo = 0 if stored is None else stored.get("outdo", 0)
        return CourseState(totals, frame, course, dirty[:DOCUMENTS_PER_FOLD], complete, outdo)

    def plan(self, state: CourseState, *, new_version: bool) -> Fold | None:
        """Return the fold to commit, None where the state would be the same."""
        folded = fold(state.totals, state.dirty, complete=state.complete)
        edited = state.course["version"] != state.totals.course_version
        wanted = new_version or bool(state.outdo)
        if not (folded.counted or wanted or (edited and self._shows(state))):
            return None
        totals = replace(
            folded.totals,
            version=next_version(max(state.totals.version, state.outdo), now_ms()),
            course_version=state.course["version"],
        )
        changed_at = state.course["changed_at"]
        if edited and state.totals.version and changed_at >= (totals.latest_event_at or 0):
            totals = replace(
                totals, latest_event_at=changed_at, request_id=state.course["request_id"]
            )
        return replace(folded, totals=totals)

    def commit(self, state: CourseState, planned: Fold) -> Frame | None:
        """Store totals and frame if the version is still the one read; None where it is not."""
        totals = planned.totals
        numbers = course_numbers(
            self.course_id,
            totals.students,
            {from_field_key(key): sums for key, sums in totals.sums.items()},
            lesson_ids(state.course),
            rfc3339(now_ms()),
        )
        frame = encode_frame(
            Subject(self.course_id),
            numbers,
            totals.version,
            totals.latest_event_at,
            totals.request_id,
        )
        fields = {
            "version": totals.version,
            "course_version": totals.course_version,
            "students": totals.students,
            "pending": totals.pending,
            "latest_event_at": totals.latest_event_at,
            "request_id": totals.request_id,
            "frame": frame.text,
        }
        stored, version = self._c.course_totals, state.totals.version
        if version == 0:
            lessons = {key: sums.document() for key, sums in totals.sums.items()}
            committed = commit_first(stored, self.course_id, {"lessons": lessons, **fields})
        else:
            fields |= {f"lessons.{key}": totals.sums[key].document() for key in planned.touched}
            committed = commit_next(stored, self.course_id, version, state.outdo, fields)
        return frame if committed else None

    def clean_up(self, state: CourseState, totals: CourseTotals) -> bool:
        """Pull what `totals` (committed) has counted; return whether the platform is owed."""
        for _ in self.cleaning(state, totals):
            pass
        return bool(_affected(state, totals))

    def cleaning(self, state: CourseState, totals: CourseTotals) -> Iterator[str]:
        """Take the clean-up's steps one by one, yielding the name of each when it is done.

        Students are marked for the platform and the enrolment count is stored before the pull, so
        that a crash in between repeats both.
        """
        affected = _affected(state, totals)
        if affected:
            self._mark_students(affected)
            yield "students marked"
            self._c.courses.update_one(
                {"_id": self.course_id, "enroll_version": {"$lt": totals.version}},
                {"$set": {"enroll_count": totals.students, "enroll_version": totals.version}},
            )
            yield "enrolment count stored"
        if any(document.document_id in totals.pending for document in state.dirty):
            self._pull(state.dirty, totals.pending)
            yield "counted entries pulled"
        if state.course.get("owes_course") and totals.course_version == state.course["version"]:
            self._c.courses.update_one(
                {"_id": self.course_id, "version": state.course["version"]},
                {"$unset": {"owes_course": ""}},
            )
            yield "edit's mark cleared"

    def _shows(self, state: CourseState) -> bool:
        """Say whether an edited course has a state to show at all."""
        return state.totals.version > 0 or bool(state.course.get("owes_course"))

    def _mark_students(self, affected: dict[str, tuple[Entry, ...]]) -> None:
        """Ask the platform's fold to look at these students again; harmless if repeated."""
        self._c.students.bulk_write(
            [
                UpdateOne(
                    {"_id": user_id},
                    {
                        "$set": {
                            # Never repeated, also where the document is deleted and made anew.
                            "touch": new_id(),
                            "dirty": 1,
                            "changed_at": entries[-1].at,
                            "request_id": entries[-1].request_id,
                        },
                    },
                    upsert=True,
                )
                for user_id, entries in affected.items()
            ],
            ordered=False,
        )

    def _pull(self, dirty: list[DirtyProgress], counted: dict[str, int]) -> None:
        """Take the counted entries out, a page of documents in one command.

        One command for many, each document by its own number: the database commits once.
        """
        documents = [each for each in dirty if each.document_id in counted]
        for start in range(0, len(documents), DOCUMENTS_PER_PULL):
            page = documents[start : start + DOCUMENTS_PER_PULL]
            keys = [ObjectId(each.document_id) for each in page]
            self._c.progress.update_many(
                {"_id": {"$in": keys}},
                _pull_pipeline(keys, [counted[each.document_id] for each in page]),
            )
            removed = [ObjectId(each.document_id) for each in page if not each.alive]
            if removed:
                self._c.progress.delete_many(
                    {"_id": {"$in": removed}, "alive": False, "uncounted": []}
                )


def _pull_pipeline(keys: list[ObjectId], counted: list[int]) -> list[dict[str, Any]]:
    """Return the update that keeps what is newer than the document's number in `counted`."""
    position = {"$indexOfArray": [{"$literal": keys}, "$_id"]}
    newest = {"$arrayElemAt": [{"$literal": counted}, position]}
    left = {
        "$filter": {
            "input": "$uncounted",
            "as": "entry",
            "cond": {"$gt": ["$$entry.seq", "$$newest"]},
        }
    }
    return [
        {"$set": {"uncounted": {"$let": {"vars": {"newest": newest}, "in": left}}}},
        {"$set": {"dirty": {"$cond": [{"$eq": ["$uncounted", []]}, "$$REMOVE", "$dirty"]}}},
    ]


def _affected(state: CourseState, totals: CourseTotals) -> dict[str, tuple[Entry, ...]]:
    """Return, by student, the documents whose counted entries made a student come or go."""
    return {
        document.user_id: document.entries
        for document in state.dirty
        if any(
            entry.students and entry.seq <= totals.pending.get(document.document_id, 0)
            for entry in document.entries
        )
    }


COMMIT_TRIES = 10


def refresh_course(
    collections: Collections, course_id: str, *, new_version: bool = False
) -> tuple[CourseState, Fold | None, Frame | None] | None:
    """Read, fold and commit, again where another worker was quicker.

    Returns the state read, the fold (None: nothing had changed) and the frame that is stored now
    (None: nothing was ever computed); None where there is no such course. The caller publishes the
    frame first and calls `clean_up` then.
    """
    step = CourseFold(collections, course_id)
    for _ in range(COMMIT_TRIES):
        state = step.read()
        if state is None:
            return None
        planned = step.plan(state, new_version=new_version)
        if planned is None:
            return state, None, state.frame
        frame = step.commit(state, planned)
        if frame is not None:
            return state, planned, frame
    message = f"the totals of {course_id!r} moved on {COMMIT_TRIES} times; the next refresh folds"
    raise RuntimeError(message)


def totals_from_document(stored: Document | None) -> CourseTotals:
    """Return the stored totals, or those of a course that has none."""
    if stored is None:
        return CourseTotals()
    lessons: dict[str, dict[str, Any]] = stored["lessons"]
    return CourseTotals(
        version=stored["version"],
        course_version=stored["course_version"],
        students=stored["students"],
        sums={key: LessonSums.from_document(sums) for key, sums in lessons.items()},
        pending=stored["pending"],
        latest_event_at=stored["latest_event_at"],
        request_id=stored["request_id"],
    )


def dirty_from_document(document: Document) -> DirtyProgress:
    """Return a dirty progress document, its entries oldest first."""
    entries = tuple(Entry.from_document(entry) for entry in document["uncounted"])
    return DirtyProgress(str(document["_id"]), document["user_id"], document["alive"], entries)
