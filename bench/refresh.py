"""The cost of a refresh after one new event, by the size of the course.

In a database of its own on the embedded server: one real event is stored and folded, the student's
document is copied for all others, the totals are recounted (`repair_course`), and then, in turn for
each size, a real event is stored and `refresh_course` with its clean-up is timed. Beside it: the
same numbers by one aggregation over the course. Then the plan and the time of each query that a
refresh or a reconcile makes, at the largest course, to catch scans that `explain` hides.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from typing import Any

from bson import ObjectId
from pymongo import MongoClient
from pymongo.errors import NetworkTimeout

from analytics.clock import now_ms
from analytics.events import Event, LessonCompleted, QuizAttempted, SecondsWatched
from analytics.settings import Settings
from analytics.stores.async_mongo import AsyncCollections
from analytics.stores.course_fold import CourseFold, refresh_course
from analytics.stores.courses import Courses
from analytics.stores.mongo import Collections, connect_patiently, ensure_indexes
from analytics.stores.owed import owed_subjects
from analytics.stores.progress import Progress, Request
from analytics.stores.recount import course_drift, repair_course
from bench import costs
from bench.aggregation import aggregate
from bench.installation import installation
from bench.scenario import course_body
from bench.tables import print_table

SIZES = (100, 10_000, 100_000)
REFRESHES = 30
AGGREGATIONS = 3
PROBES = 10
PAGE = 1_000
AGGREGATION_TIMEOUT_MS = 60_000
DATABASE = "bench_refresh"
Results = dict[str, Any]
Document = dict[str, Any]


def measure(sizes: tuple[int, ...] = SIZES) -> Results:
    """Measure courses of these sizes, all in one database."""
    with installation() as running:
        settings = running.settings.model_copy(update={"mongo_database": DATABASE})
        with connect_patiently(settings) as client:
            collections = Collections(client, settings)
            ensure_indexes(collections)
            found: Results = {"sizes": {}}
            for size in sizes:
                course = f"course-{size}"
                _make_course(settings, collections, course, size)
                found["sizes"][str(size)] = _measure(settings, collections, course)
            first, last = (found["sizes"][str(size)] for size in (sizes[0], sizes[-1]))
            found["largest_to_smallest"] = round(last["refresh_ms"] / first["refresh_ms"], 2)
            found["plans"] = _plans(settings, client, collections, f"course-{sizes[-1]}")
        # Last, because the embedded server goes on with a query whose client gave up.
        with connect_patiently(settings, AGGREGATION_TIMEOUT_MS) as client:
            for size in sizes:
                spent = _aggregation_ms(Collections(client, settings), f"course-{size}")
                found["sizes"][str(size)]["aggregation_ms"] = spent
    _print(found)
    return found


def _measure(settings: Settings, collections: Collections, course: str) -> Results:
    refreshes: list[float] = []
    parts: dict[str, list[float]] = {"read": [], "commit": [], "clean-up": []}
    client = collections.database.client
    operations: list[dict[str, costs.Counts]] = []
    for number in range(REFRESHES):
        _store(settings, course, f"student-{number}", "watch")
        before = costs.mongo_operations(client, DATABASE)
        began = time.perf_counter()
        outcome = refresh_course(collections, course)
        assert outcome is not None
        state, planned, _ = outcome
        assert planned is not None
        assert planned.counted == 1
        folded = time.perf_counter()
        CourseFold(collections, course).clean_up(state, planned.totals)
        ended = time.perf_counter()
        refreshes.append(ended - began)
        operations.append(costs.difference(costs.mongo_operations(client, DATABASE), before))
        parts["clean-up"].append(ended - folded)
        parts["commit"].append(folded - began)
        began = time.perf_counter()
        CourseFold(collections, course).read()
        parts["read"].append(time.perf_counter() - began)
    parts["commit"] = [
        max(0.0, both - read) for both, read in zip(parts["commit"], parts["read"], strict=True)
    ]
    assert course_drift(collections, course) == []
    last = {name: int(row["count"]) for name, row in operations[-1].items()}
    return {
        "mongo_commands": sum(last.values()),
        "mongo": last,
        "refresh_ms": round(1e3 * statistics.median(refreshes), 2),
        **{f"{part}_ms": round(1e3 * statistics.median(times), 2) for part, times in parts.items()},
    }


def _make_course(settings: Settings, collections: Collections, course: str, size: int) -> None:
    """Make a course whose students all did the same: two lessons, watch time, a quiz."""
    asyncio.run(_create(settings, course))
    for kind in ("complete", "watch", "quiz"):
        _store(settings, course, "student-0", kind)
    outcome = refresh_course(collections, course)
    assert outcome is not None
    state, planned, _ = outcome
    assert planned is not None
    CourseFold(collections, course).clean_up(state, planned.totals)
    template = collections.progress.find_one({"course_id": course, "user_id": "student-0"})
    assert template is not None
    assert "dirty" not in template
    for start in range(1, size, PAGE):
        collections.progress.insert_many(
            [
                {**template, "_id": ObjectId(), "user_id": f"student-{number}"}
                for number in range(start, min(size, start + PAGE))
            ],
            ordered=False,
        )
    assert repair_course(collections, course)
    refresh_course(collections, course, new_version=True)
    totals = collections.course_totals.find_one({"_id": course}, {"students": 1})
    assert totals is not None
    assert totals["students"] == size, totals


async def _create(settings: Settings, course: str) -> None:
    collections = AsyncCollections(settings)
    body = course_body(course)
    fields = {name: body[name] for name in ("title", "instructor_id", "category", "modules")}
    for module in fields["modules"]:
        for lesson in module["lessons"]:
            lesson["duration_minutes"] = 1
    await Courses(collections).create(course, fields, "bench")
    collections.close()


def _store(settings: Settings, course: str, student: str, kind: str) -> None:
    async def store() -> None:
        collections = AsyncCollections(settings)
        events: dict[str, Event] = {
            "complete": LessonCompleted("l0"),
            "watch": SecondsWatched("l1", 60_000),
            "quiz": QuizAttempted("l2", 7, 10),
        }
        event = events[kind]
        await Progress(collections).append(course, student, event, Request(now_ms(), "bench"))
        collections.close()

    asyncio.run(store())


def _aggregation_ms(collections: Collections, course: str) -> float | str:
    """Return the median of a few aggregations, or that one took too long to wait for."""
    times: list[float] = []
    try:
        while len(times) < AGGREGATIONS:
            times.append(_timed(lambda: aggregate(collections, course)))
    except NetworkTimeout:
        return f"more than {AGGREGATION_TIMEOUT_MS:,}"
    return round(1e3 * statistics.median(times), 1)


def _plans(
    settings: Settings, client: MongoClient[Document], collections: Collections, course: str
) -> list[Results]:
    """Return each query's plan and its median time while one event is owed."""
    _store(settings, course, "student-1", "watch")
    one = collections.progress.find_one({"course_id": course, "user_id": "student-2"}, {"_id": 1})
    assert one is not None
    queries: list[tuple[str, str, Document, int]] = [
        ("fold: dirty documents", "progress", {"dirty": course}, 501),
        ("fold: totals", "course_totals", {"_id": course}, 1),
        ("fold: course", "courses", {"_id": course}, 1),
        ("write: progress by key", "progress", {"course_id": course, "user_id": "student-2"}, 1),
        ("clean-up: progress by _id", "progress", {"_id": one["_id"]}, 1),
        ("owed: progress", "progress", {"dirty": {"$gt": ""}}, 500),
        ("owed: progress, one seen", "progress", {"dirty": {"$gt": course}}, 500),
        ("owed: courses", "courses", {"owes_course": 1}, 500),
        ("owed: platform's courses", "courses", {"owes_platform": 1}, 1),
        ("owed: students", "students", {"dirty": 1}, 1),
        ("owed: ratings", "ratings", {"dirty": {"$gt": ""}}, 1),
        ("removal: courses of a student", "progress", {"user_id": "student-2"}, 100),
    ]
    database = client[DATABASE]
    found = []
    for name, collection, query, limit in queries:

        def run(collection: str = collection, query: Document = query, limit: int = limit) -> None:
            list(database[collection].find(query).limit(limit))

        found.append(
            {
                "query": name,
                "plan": _plan(database[collection].find(query).limit(limit).explain()),
                "ms": round(1e3 * _median(run), 2),
            }
        )
    update = {"$inc": {"bench": 1}}
    by_key = {"course_id": course, "user_id": "student-2"}
    by_id = {"_id": one["_id"]}
    # Not explained: the embedded server scans the collection to explain an update, not to do it.
    for name, query in (("write: update by key", by_key), ("clean-up: update by _id", by_id)):

        def change(query: Document = query) -> None:
            collections.progress.update_one(query, update)

        found.append({"query": name, "plan": "", "ms": round(1e3 * _median(change), 2)})
    owed = _median(lambda: list(owed_subjects(collections)))
    found.append({"query": "reconcile: all probes", "plan": "", "ms": round(1e3 * owed, 2)})
    return found


def _plan(explained: Document) -> str:
    """Return the winning plan's stages, the outermost first."""
    stages = []
    stage = explained.get("queryPlanner", {}).get("winningPlan")
    while stage:
        index = stage.get("indexName")
        stages.append(stage["stage"] + (f"({index})" if index else ""))
        stage = stage.get("inputStage")
    return " < ".join(stages)


def _median(work: Callable[[], object]) -> float:
    return statistics.median(_timed(work) for _ in range(PROBES))


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _print(found: Results) -> None:
    columns = ("refresh_ms", "read_ms", "commit_ms", "clean-up_ms", "aggregation_ms")
    print_table(
        "A refresh after one event, ms (median)",
        ["students", *(column.removesuffix("_ms") for column in columns)],
        [
            [f"{int(size):,}", *(result[column] for column in columns)]
            for size, result in found["sizes"].items()
        ],
    )
    counted = next(iter(found["sizes"].values()))["mongo"]
    print(
        "\n  MongoDB commands of one refresh: " + ", ".join(f"{n} {k}" for k, n in counted.items())
    )
    print(f"  largest to smallest: {found['largest_to_smallest']}")
    print_table(
        "Queries at the largest course",
        ["query", "plan", "ms"],
        [[row["query"], row["plan"], row["ms"]] for row in found["plans"]],
    )
