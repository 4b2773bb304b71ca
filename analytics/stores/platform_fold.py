"""The platform's refresh: what each course and student counts for, kept as exact running totals.

A source (a course, a student) owes the platform when its mark stands; what is counted of it stands
in `platform_counted` (course) or `counted` (student), or newer in the totals' `pending`. The fold
reads the totals first, then the sources, and commits on the totals' version; `touch` tells a
source's changes apart, so that a mark is cleared only by the fold that saw the change.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from pymongo import DeleteOne, UpdateOne

from analytics.clock import now_ms, rfc3339
from analytics.ids import field_key, from_field_key
from analytics.messages import Frame, encode_frame
from analytics.numbers import platform_numbers
from analytics.stores.commit import commit_first, commit_next
from analytics.stores.mongo import Collections, Document
from analytics.stores.rating_fold import courses_owing_ratings, fold_ratings
from analytics.subjects import PLATFORM
from analytics.totals import next_version

SOURCES_PER_FOLD = 200
COMMIT_TRIES = 10
_ID = "platform"


@dataclass(frozen=True, slots=True)
class CourseShare:
    """What one course counts for."""

    category: str | None
    ratings_count: int
    ratings_sum: int

    def document(self) -> Document:
        """Return the share as it is stored."""
        return {
            "category": self.category,
            "ratings_count": self.ratings_count,
            "ratings_sum": self.ratings_sum,
        }

    @classmethod
    def from_document(cls, document: Document | None) -> CourseShare | None:
        """Read a stored share."""
        if document is None:
            return None
        return cls(document["category"], document["ratings_count"], document["ratings_sum"])

    @classmethod
    def of(cls, course: Document) -> CourseShare:
        """Return what a stored course counts for today."""
        return cls(course["category"], course["ratings"]["count"], course["ratings"]["sum"])


@dataclass(slots=True)
class PlatformTotals:
    """The platform's running totals; `ratings` maps n to [courses with n ratings, their sum]."""

    version: int = 0
    courses: int = 0
    students: int = 0
    ratings: dict[int, tuple[int, int]] = field(default_factory=dict)
    categories: dict[str, int] = field(default_factory=dict)
    pending_courses: dict[str, tuple[int, CourseShare]] = field(default_factory=dict)
    pending_students: dict[str, tuple[str, bool]] = field(default_factory=dict)
    latest_event_at: int | None = None
    request_id: str | None = None

    def add_course(self, share: CourseShare | None, sign: int) -> None:
        """Add (+1) or take back (−1) what a course counts for."""
        if share is None:
            return
        self.courses += sign
        if share.ratings_count:
            courses, total = self.ratings.get(share.ratings_count, (0, 0))
            changed = (courses + sign, total + sign * share.ratings_sum)
            self.ratings[share.ratings_count] = changed
            if changed == (0, 0):
                del self.ratings[share.ratings_count]
        if share.category is not None:
            count = self.categories.get(share.category, 0) + sign
            self.categories[share.category] = count
            if count == 0:
                del self.categories[share.category]

    def note(self, source: Document) -> None:
        """Remember the newest change in the numbers."""
        changed_at = source.get("changed_at")
        if changed_at is not None and changed_at >= (self.latest_event_at or 0):
            self.latest_event_at, self.request_id = changed_at, source.get("request_id")

    def document(self) -> Document:
        """Return the totals as they are stored, without `_id` and frame."""
        return {
            "version": self.version,
            "courses": self.courses,
            "students": self.students,
            "ratings": [[n, courses, total] for n, (courses, total) in self.ratings.items()],
            "categories": {field_key(name): count for name, count in self.categories.items()},
            "pending_courses": [
                [key, touch, share.document()]
                for key, (touch, share) in self.pending_courses.items()
            ],
            "pending_students": [
                [key, touch, active] for key, (touch, active) in self.pending_students.items()
            ],
            "latest_event_at": self.latest_event_at,
            "request_id": self.request_id,
        }

    @classmethod
    def from_document(cls, stored: Document | None) -> PlatformTotals:
        """Read stored totals; those of a platform that has none are zero."""
        if stored is None:
            return cls()
        shares = {
            key: (touch, CourseShare.from_document(share))
            for key, touch, share in stored["pending_courses"]
        }
        return cls(
            version=stored["version"],
            courses=stored["courses"],
            students=stored["students"],
            ratings={n: (courses, total) for n, courses, total in stored["ratings"]},
            categories={from_field_key(key): n for key, n in stored["categories"].items()},
            pending_courses={k: (t, share) for k, (t, share) in shares.items() if share},
            pending_students={key: (t, active) for key, t, active in stored["pending_students"]},
            latest_event_at=stored["latest_event_at"],
            request_id=stored["request_id"],
        )

    def numbers(self) -> dict[str, Any]:
        """Return the `data` object."""
        return platform_numbers(
            self.courses, self.students, self.ratings, self.categories, rfc3339(now_ms())
        )


@dataclass(frozen=True, slots=True)
class PlatformState:
    """What one refresh read: the totals first, then the sources that owe."""

    stored_version: int
    totals: PlatformTotals
    frame: Frame | None
    courses: list[Document]
    students: list[tuple[Document, bool]]
    outdo: int = 0
    """As in `course_fold.CourseState`."""

    @property
    def more(self) -> bool:
        """Say whether sources may have been left for the next refresh."""
        return SOURCES_PER_FOLD in {len(self.courses), len(self.students)}


class PlatformFold:
    """The refresh of the platform's numbers, a method a step."""

    def __init__(self, collections: Collections) -> None:
        self._c = collections

    def read(self) -> PlatformState:
        """Read totals, owing courses, marked students, and the truth about those students."""
        stored = self._c.platform_totals.find_one({"_id": _ID})
        totals = PlatformTotals.from_document(stored)
        frame = None if stored is None else Frame(totals.version, stored["frame"])
        courses = self._c.courses.find(
            {"owes_platform": 1},
            {"category": 1, "ratings": 1, "platform_touch": 1, "platform_counted": 1,
             "changed_at": 1, "request_id": 1},
        ).limit(SOURCES_PER_FOLD)  # fmt: skip
        marked = self._c.students.find({"dirty": 1}).limit(SOURCES_PER_FOLD)
        students = [(student, self.is_active(student["_id"])) for student in marked]
        outdo = 0 if stored is None else stored.get("outdo", 0)
        return PlatformState(totals.version, totals, frame, list(courses), students, outdo)

    def is_active(self, user_id: str) -> bool:
        """Say whether the student has a progress document in any course now."""
        found = self._c.progress.find({"user_id": user_id}, {"alive": 1})
        return any(document["alive"] for document in found)

    def plan(self, state: PlatformState, *, new_version: bool) -> PlatformTotals | None:
        """Return the totals to commit, None where nothing changed."""
        if not (state.courses or state.students or new_version or state.outdo):
            return None
        totals = replace(
            state.totals,
            ratings=dict(state.totals.ratings),
            categories=dict(state.totals.categories),
            pending_courses=dict(state.totals.pending_courses) if state.more else {},
            pending_students=dict(state.totals.pending_students) if state.more else {},
        )
        for course in state.courses:
            before = course.get("platform_counted")
            known = state.totals.pending_courses.get(course["_id"])
            counted = CourseShare.from_document(before) if known is None else known[1]
            share = CourseShare.of(course)
            totals.add_course(counted, -1)
            totals.add_course(share, +1)
            totals.pending_courses[course["_id"]] = (course["platform_touch"], share)
            totals.note(course)
        for student, active in state.students:
            known_student = state.totals.pending_students.get(student["_id"])
            was = student.get("counted", False) if known_student is None else known_student[1]
            totals.students += int(active) - int(was)
            totals.pending_students[student["_id"]] = (student["touch"], active)
            totals.note(student)
        totals.version = next_version(max(state.stored_version, state.outdo), now_ms())
        return totals

    def commit(self, state: PlatformState, totals: PlatformTotals) -> Frame | None:
        """Store totals and frame if the version is still the one read; None where it is not."""
        frame = encode_frame(
            PLATFORM, totals.numbers(), totals.version, totals.latest_event_at, totals.request_id
        )
        fields = totals.document() | {"frame": frame.text}
        stored, version = self._c.platform_totals, state.stored_version
        if version == 0:
            committed = commit_first(stored, _ID, fields)
        else:
            committed = commit_next(stored, _ID, version, state.outdo, fields)
        return frame if committed else None

    def clean_up(self, state: PlatformState, totals: PlatformTotals) -> None:
        """Note in each source what is counted of it, and clear the marks that were seen."""
        courses = []
        for course in state.courses:
            touch, share = totals.pending_courses[course["_id"]]
            unchanged = {"$eq": ["$platform_touch", touch]}
            counted = {"$cond": [unchanged, {"$literal": share.document()}, "$platform_counted"]}
            mark = {"$cond": [unchanged, "$$REMOVE", "$owes_platform"]}
            settled = [{"$set": {"platform_counted": counted, "owes_platform": mark}}]
            courses.append(UpdateOne({"_id": course["_id"]}, settled))
        if courses:
            self._c.courses.bulk_write(courses, ordered=False)
        students: list[UpdateOne | DeleteOne] = []
        for student, active in state.students:
            seen = totals.pending_students[student["_id"]][0]
            unchanged = {"$eq": ["$touch", seen]}
            counted = {"$cond": [unchanged, active, "$counted"]}
            mark = {"$cond": [unchanged, "$$REMOVE", "$dirty"]}
            settled = [{"$set": {"counted": counted, "dirty": mark}}]
            students.append(UpdateOne({"_id": student["_id"]}, settled))
            if not active:  # nobody's any more: the person's last trace here goes
                students.append(DeleteOne({"_id": student["_id"], "touch": seen}))
        if students:
            self._c.students.bulk_write(students, ordered=True)


def refresh_platform(
    collections: Collections, *, new_version: bool = False
) -> tuple[PlatformState, PlatformTotals | None, Frame | None]:
    """Fold ratings, then read, fold and commit the platform; see `course_fold.refresh_course`."""
    for course_id in courses_owing_ratings(collections):
        for _ in range(COMMIT_TRIES):
            if fold_ratings(collections, course_id):
                break
    step = PlatformFold(collections)
    for _ in range(COMMIT_TRIES):
        state = step.read()
        planned = step.plan(state, new_version=new_version)
        if planned is None:
            return state, None, state.frame
        frame = step.commit(state, planned)
        if frame is not None:
            return state, planned, frame
    message = f"the platform's totals moved on {COMMIT_TRIES} times; the next refresh folds"
    raise RuntimeError(message)
