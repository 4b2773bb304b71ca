"""MongoDB for the workers and the console: one synchronous client, safe defaults set in code.

Write concern majority and journaled, reads from the primary with read concern majority, whatever
the URL says: what is acknowledged survives, and a read never sees what could be rolled back.
"""

from __future__ import annotations

from typing import Any

from pymongo import MongoClient, ReadPreference, WriteConcern
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import (
    ConnectionFailure,
    ExecutionTimeout,
    PyMongoError,
    WaitQueueTimeoutError,
    WTimeoutError,
)
from pymongo.read_concern import ReadConcern

from analytics.settings import Settings
from analytics.subjects import Subject

Document = dict[str, Any]
DATABASE_OPTIONS: dict[str, Any] = {
    "write_concern": WriteConcern("majority", j=True),
    "read_concern": ReadConcern("majority"),
    "read_preference": ReadPreference.PRIMARY,
}


def connect(settings: Settings, *, timeout_ms: int = 10_000) -> MongoClient[Document]:
    """Return a client; it connects on first use. Each operation ends within `timeout_ms`."""
    return MongoClient(
        settings.require_mongo_url(),
        appname="coursepulse",
        timeoutMS=timeout_ms,
        serverSelectionTimeoutMS=min(timeout_ms, 1_000),
        connectTimeoutMS=min(timeout_ms, 1_000),
        maxPoolSize=8,
        tz_aware=True,
    )


def connect_patiently(settings: Settings, timeout_ms: int = 300_000) -> MongoClient[Document]:
    """Return a client for reads of a whole course, which connects on first use.

    `connect`'s takes a second's silence for an outage, cancels what is under way and, where it was
    a read, begins it again: on an embedded server, which answers nobody else meanwhile, a long one
    would never end.
    """
    return MongoClient(
        settings.require_mongo_url(),
        appname="coursepulse",
        timeoutMS=timeout_ms,
        serverSelectionTimeoutMS=1_000,
        connectTimeoutMS=timeout_ms,
        retryReads=False,
        maxPoolSize=2,
        tz_aware=True,
        connect=False,
    )


class Collections:
    """The product's collections under their names.

    * `courses`: one document a course; `progress`: one a student in a course; `ratings`: one a
      student and course; `students`: the ledger of who is counted as active;
    * `course_totals`, `platform_totals`: what was counted, and the newest frame;
    * `continuity`: one document, the token that the cache holds too (`continuity.py`);
    * `failing`: subjects whose refreshes fail (`parking.py`);
    * `sessions`: browser sessions by the fingerprint of their cookie.
    """

    def __init__(self, client: MongoClient[Document], settings: Settings) -> None:
        self.database: Database[Document] = client.get_database(
            settings.mongo_database, **DATABASE_OPTIONS
        )
        self.courses: Collection[Document] = self.database["courses"]
        self.progress: Collection[Document] = self.database["progress"]
        self.ratings: Collection[Document] = self.database["ratings"]
        self.students: Collection[Document] = self.database["students"]
        self.course_totals: Collection[Document] = self.database["course_totals"]
        self.platform_totals: Collection[Document] = self.database["platform_totals"]
        self.continuity: Collection[Document] = self.database["continuity"]
        self.failing: Collection[Document] = self.database["failing"]
        self.sessions: Collection[Document] = self.database["sessions"]

    def totals_of(self, subject: Subject) -> tuple[Collection[Document], str]:
        """Return the collection and the id of a subject's totals."""
        if subject.course_id is None:
            return self.platform_totals, "platform"
        return self.course_totals, subject.course_id


def ensure_indexes(collections: Collections) -> None:
    """Create what the queries rely on; existing indexes are left as they are.

    `dirty` and `owes_*` are sparse: they index only what is owed, so that an idle platform's
    reconcile reads nothing. Each is one field asked by equality (`docs/architecture.md`).
    """
    collections.progress.create_index([("course_id", 1), ("user_id", 1)], unique=True)
    collections.progress.create_index("user_id")
    collections.progress.create_index("dirty", sparse=True)
    collections.ratings.create_index([("course_id", 1), ("user_id", 1)], unique=True)
    collections.ratings.create_index("user_id")
    collections.ratings.create_index("dirty", sparse=True)
    collections.students.create_index("dirty", sparse=True)
    collections.course_totals.create_index("outdo", sparse=True)
    collections.courses.create_index("owes_course", sparse=True)
    collections.courses.create_index("owes_platform", sparse=True)
    collections.courses.create_index("instructor_id")
    collections.sessions.create_index("expires_at", expireAfterSeconds=0)
    collections.sessions.create_index("sub")


def prepare_database(settings: Settings) -> None:
    """Create the indexes; idempotent. Blocks: the API calls it in a thread at its start."""
    with connect(settings, timeout_ms=60_000) as client:
        ensure_indexes(Collections(client, settings))


def is_outage(error: PyMongoError) -> bool:
    """Say whether the database is away or too slow, as opposed to a mistake of ours."""
    return (
        error.timeout
        or isinstance(
            error, ConnectionFailure | ExecutionTimeout | WTimeoutError | WaitQueueTimeoutError
        )
        or error.has_error_label("RetryableWriteError")
    )
