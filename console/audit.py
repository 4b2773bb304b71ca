"""`coursepulse audit`: the running totals against a full recompute, page by page.

Exit 1 and a table where they differ, or where a course changed too fast to tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymongo.errors import PyMongoError

from analytics.errors import Unavailable
from analytics.stores.mongo import Collections, connect_patiently
from analytics.stores.recount import (
    Drift,
    course_drift,
    platform_drift,
    repair_course,
    repair_platform,
)

if TYPE_CHECKING:
    import argparse

    from analytics.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the subcommand takes."""
    parser.add_argument(
        "--repair", action="store_true", help="put the recompute in the place of what drifted"
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Audit every course and the platform; return 1 where anything differs."""
    try:
        with connect_patiently(settings) as client:
            return _audit(Collections(client, settings), repair=args.repair)
    except PyMongoError as error:
        message = f"the database does not answer ({type(error).__name__}); is the product running?"
        raise Unavailable(message) from error


def _audit(collections: Collections, *, repair: bool) -> int:
    drifts: list[Drift] = []
    restless: list[str] = []
    courses = [course["_id"] for course in collections.courses.find({}, {"_id": 1})]
    for course_id in courses:
        found = course_drift(collections, course_id)
        if found is None:
            restless.append(course_id)
        elif found:
            drifts += found
            if repair and not repair_course(collections, course_id):
                restless.append(course_id)
    found = platform_drift(collections)
    if found is None:
        restless.append("platform")
    elif found:
        drifts += found
        if repair and not repair_platform(collections):
            restless.append("platform")
    for row in _table(drifts):
        print(row)
    for name in restless:
        print(f"{name}: changed all the while, try again when it is quieter")
    unequal = f"{len(drifts)} numbers drifted" + (" and were repaired" if drifts and repair else "")
    print(f"{len(courses)} courses and the platform compared, {unequal}")
    return 1 if drifts or restless else 0


def _table(drifts: list[Drift]) -> list[str]:
    if not drifts:
        return []
    rows = [("subject", "number", "running", "recomputed")]
    rows += [(d.subject, d.number, str(d.running), str(d.recomputed)) for d in drifts]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
