"""The step on which exactness rests: totals replace the ones they were computed from, or nothing.

Optimistic concurrency by version: of two refreshes that read the same totals one commits, the other
starts again. A mark `outdo` (`continuity.py`) that grew since the read refuses as well, or it would
be taken away unheeded; one that came since stays, for the next refresh.
"""

from __future__ import annotations

from typing import Any

from pymongo.errors import DuplicateKeyError

from analytics.stores.mongo import Document


def commit_first(collection: Any, key: str, document: Document) -> bool:
    """Store a subject's first totals; False where there are some already."""
    try:
        collection.insert_one({"_id": key, **document})
    except DuplicateKeyError:
        return False
    return True


def commit_next(collection: Any, key: str, version: int, outdo: int, fields: Document) -> bool:
    """Set fields of the totals that were read at this version and mark; False where they moved."""
    unmoved: Document = {"_id": key, "version": version}
    update: Document = {"$set": fields}
    if outdo:
        unmoved["outdo"] = outdo
        update["$unset"] = {"outdo": ""}
    return bool(collection.update_one(unmoved, update).matched_count)
