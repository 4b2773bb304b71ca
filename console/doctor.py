"""`coursepulse doctor`: every dependency in one line each, what is wrong and the mend.

Never a traceback, and never longer than `LIMIT` for one check; all of them run at once.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from importlib import import_module
from typing import TYPE_CHECKING

import pymongo
import redis
from pymongo.errors import PyMongoError
from pymongo.write_concern import WriteConcern

from analytics.errors import CoursepulseError
from analytics.stores.mongo import Collections, connect
from analytics.stores.parking import Parking
from console import preflight, readiness
from console.instance import api_url, flower_url
from console.programs import child_environment

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from analytics.settings import Settings

LIMIT = 3.0  # seconds for a check before it counts as hanging
SHORT = 1.5  # seconds for one exchange with a server
SHORT_MS = 1500
START = "start it with make run, and see its log in DATA_DIR/logs"


class Wrong(Exception):  # a finding, not an error of the program
    """What a check found wrong, and the mend."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take none: the environment and the running instance say what to look at."""
    parser.epilog = "Exit code 1 where something is wrong."


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print one line for each check; return 1 where something is wrong."""
    del args
    if settings.redis_url is not None or settings.celery_broker_url is not None:
        os.environ.update(child_environment(settings))  # Celery's settings are read from there
        import_module("tasks.app")  # once, here: it must not cost a check its time
    results = [_Result(name, check, settings) for name, check in CHECKS.items()]
    for result in results:
        result.show()
    return int(any(result.wrong for result in results))


def _python(_settings: Settings) -> str:
    preflight.check_python()
    return ".".join(map(str, sys.version_info[:3]))


def _settings(settings: Settings) -> str:
    # They were read before any check ran; what is left is what only a start would refuse.
    if settings.mongo_url is None or settings.redis_url is None:
        raise Wrong("nothing runs in DATA_DIR and MONGO_URL or REDIS_URL is not set; make run")
    return "read"


def _data_dir(settings: Settings) -> str:
    path = settings.data_dir.resolve()
    try:
        with tempfile.TemporaryFile(dir=path):
            return str(path)
    except OSError as error:
        reason = error.strerror or "not writable"
        message = f"{path}: {reason}; make it, or choose another: DATA_DIR=.data"
        raise Wrong(message) from None


def _mongo(settings: Settings) -> str:
    client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(
        settings.require_mongo_url(),
        serverSelectionTimeoutMS=SHORT_MS,
        connectTimeoutMS=SHORT_MS,
        socketTimeoutMS=SHORT_MS,
    )
    try:
        majority = WriteConcern(w="majority", j=True, wtimeout=SHORT_MS)
        probes = client[settings.mongo_database].get_collection("doctor", write_concern=majority)
        probes.update_one({"_id": os.getpid()}, {"$set": {"probe": True}}, upsert=True)
        probes.delete_one({"_id": os.getpid()})
        version = client.server_info()["version"]
    except PyMongoError as error:
        message = f"{_first_line(error)}; check MONGO_URL, or {START}"
        raise Wrong(message) from None
    finally:
        client.close()
    return f"{version}, writes with majority"


def _redis(settings: Settings) -> str:
    return _redis_at(settings.require_redis_url(), "REDIS_URL", broker=False)


def _broker(settings: Settings) -> str:
    return _redis_at(settings.broker_url, "CELERY_BROKER_URL or REDIS_URL", broker=True)


def _redis_at(url: str, variable: str, *, broker: bool) -> str:
    if not url.startswith(("redis://", "rediss://", "unix://")):
        return "behind Sentinel: the worker's answer tells"
    try:
        with redis.Redis.from_url(
            url, socket_timeout=SHORT, socket_connect_timeout=SHORT
        ) as client:
            memory = client.info("memory")
            version = client.info("server")["redis_version"]
    except (redis.RedisError, ValueError) as error:
        message = f"{_first_line(error)}; check {variable}, or {START}"
        raise Wrong(message) from None
    policy = memory.get("maxmemory_policy", "unknown")
    if broker and policy != "noeviction":
        raise Wrong(
            f"maxmemory-policy is {policy}, so tasks can vanish;"
            " CONFIG SET maxmemory-policy noeviction"
        )
    return f"{version}, maxmemory-policy {policy}"


def _api(settings: Settings) -> str:
    if not readiness.api_answers(settings):
        message = f"{api_url(settings)}/health/ready does not answer 200; {START}"
        raise Wrong(message)
    return f"ready at {api_url(settings)}"


def _worker(_settings: Settings) -> str:
    if not readiness.any_worker_answers():
        message = f"none answers Celery's ping; celery -A tasks worker, or {START}"
        raise Wrong(message)
    return "answers Celery's ping"


def _flower(settings: Settings) -> str:
    if not readiness.flower_answers(settings):
        message = f"{flower_url(settings)} does not answer; {START}"
        raise Wrong(message)
    return f"answers at {flower_url(settings)}"


def _refreshes(settings: Settings) -> str:
    with connect(settings, timeout_ms=SHORT_MS) as client:
        failing = Parking(Collections(client, settings)).all()
    if failing:
        worst = max(failing, key=lambda each: each.failures)
        message = (
            f"{len(failing)} fail; {worst.subject.name} {worst.failures} times"
            f"{', parked' if worst.is_parked else ''}: {worst.reason}; then coursepulse retry"
        )
        raise Wrong(message)
    return "none fails"


def _beat(settings: Settings) -> str:
    if not readiness.beat_holds_lock(settings):
        message = f"nobody holds the schedule's lock; celery -A tasks beat, or {START}"
        raise Wrong(message)
    return "holds the schedule's lock"


CHECKS: dict[str, Callable[[Settings], str]] = {
    "python": _python,
    "settings": _settings,
    "data-dir": _data_dir,
    "mongodb": _mongo,
    "redis": _redis,
    "broker": _broker,
    "api": _api,
    "worker": _worker,
    "refreshes": _refreshes,
    "flower": _flower,
    "beat": _beat,
}


class _Result:
    """One check in a thread of its own, so that a hanging one costs `LIMIT` and no more."""

    def __init__(self, name: str, check: Callable[[Settings], str], settings: Settings) -> None:
        self._name = name
        self._text = f"no answer within {LIMIT:.0f} s; {START}"
        self.wrong = True
        self._thread = threading.Thread(target=self._run, args=(check, settings), daemon=True)
        self._thread.start()

    def show(self) -> None:
        self._thread.join(LIMIT)
        print(f"{'wrong' if self.wrong else 'ok':<6}{self._name}: {self._text}")

    def _run(self, check: Callable[[Settings], str], settings: Settings) -> None:
        try:
            text, wrong = check(settings), False
        except (Wrong, CoursepulseError) as finding:
            text, wrong = _first_line(finding), True
        except Exception as error:  # noqa: BLE001  # a check that breaks is a finding, too
            text, wrong = f"{type(error).__name__}: {_first_line(error)}; {START}", True
        self._text, self.wrong = text, wrong


def _first_line(error: Exception) -> str:
    # Drivers append their whole view of the servers to the first sentence.
    return (str(error).splitlines() or [type(error).__name__])[0].split(", Timeout:")[0][:300]
