"""`coursepulse retry`: let parked refreshes be tried again at once.

A refresh is parked after three failures in a row; by itself it is tried again after a minute, then
after two, four … up to an hour. After the mend nobody needs to wait for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymongo.errors import PyMongoError
from redis.exceptions import RedisError

from analytics.errors import Unavailable
from analytics.stores import redis as redis_store
from analytics.stores.mongo import Collections, connect
from analytics.stores.parking import Parking
from analytics.subjects import PLATFORM, Subject
from console.arguments import identifier
from tasks.coalescer import Coalescer

if TYPE_CHECKING:
    import argparse

    from analytics.settings import Settings

TIMEOUT_MS = 5_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say which: one course, the platform, or (without either) all."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--course", type=identifier, metavar="ID", help="this course only")
    which.add_argument("--platform", action="store_true", help="the platform only")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Unpark; return 1 where what was named is not parked."""
    try:
        with (
            connect(settings, timeout_ms=TIMEOUT_MS) as client,
            redis_store.connect(settings, broker=True) as broker,
        ):
            coalescer = Coalescer(broker, settings.refresh_window_ms)
            return _retry(args, Parking(Collections(client, settings)), coalescer)
    except (PyMongoError, RedisError) as error:
        message = f"{type(error).__name__}: {error}; is the product running?"
        raise Unavailable(message) from error


def _retry(args: argparse.Namespace, parking: Parking, coalescer: Coalescer) -> int:
    asked = PLATFORM if args.platform else (Subject(args.course) if args.course else None)
    failing = [each for each in parking.all() if asked in {None, each.subject}]
    if asked is not None and not failing:
        print(f"{asked.name}: its refresh does not fail; see coursepulse doctor")
        return 1
    for each in failing:
        parking.forget(each.subject)
        # The next reconcile finds what the subject is owed, and wakes it: within 2 s.
        coalescer.unpark(each.subject)
        print(f"{each.subject.name}: tried again; it failed {each.failures} times, {each.reason}")
    if not failing:
        print("nothing is parked")
    return 0
