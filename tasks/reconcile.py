"""Reconcile: find from MongoDB alone what is owed, and see that it is refreshed."""

from __future__ import annotations

from analytics.stores.mongo import Collections
from analytics.stores.owed import owed_subjects
from analytics.stores.parking import Parking
from tasks.app import RECONCILE, app
from tasks.coalescer import Coalescer
from tasks.failures import release_healed
from tasks.process import clients
from tasks.sending import send_refresh


@app.task(name=RECONCILE)
def reconcile() -> str:
    """Enqueue the subjects whose durable state is ahead of what was published."""
    process = clients()
    return f"woke {reconcile_now(process.collections, process.coalescer)} subjects"


def reconcile_now(collections: Collections, coalescer: Coalescer) -> int:
    """Wake every subject that is owed and that nobody is at; return how many are owed."""
    release_healed(Parking(collections), coalescer)
    owed = 0
    for subject in owed_subjects(collections):
        owed += 1
        lease = coalescer.mark(subject, counts=False)
        if lease is not None:
            send_refresh(lease)
    return owed
