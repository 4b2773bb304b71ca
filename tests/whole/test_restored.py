"""A backup is restored, or the cache comes back with an older state: everybody sees what is stored.

Only one side goes back each time, while the programs run. What was acknowledged after the backup
is gone with the database; what remains must be what all are shown, under versions that still grow.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from pymongo import MongoClient
from websockets.sync.client import ClientConnection, connect

from analytics.subjects import CONTINUITY, Subject
from tasks.dispatcher import RECONCILE_MS
from tests.contract.conftest import Classroom
from tests.stack import Stack, eventually

Backup = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def restored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Yield an installation whose servers tests may put back; it ends exact."""
    running = Stack.start(tmp_path_factory.mktemp("restored"))
    yield running
    audited = running.run("audit")
    assert audited.returncode == 0, audited.stdout + audited.stderr
    assert running.stop() == 0


@pytest.fixture
def database(restored: Stack) -> Iterator[Any]:
    """Yield the installation's database."""
    with MongoClient[dict[str, Any]](restored.servers["MONGO_URL"]) as client:
        yield client["coursepulse"]


@pytest.fixture
def cache(restored: Stack) -> Iterator[redis.Redis]:
    """Yield the installation's cache."""
    with redis.Redis.from_url(restored.servers["REDIS_URL"], decode_responses=True) as client:
        yield client


def watch(room: Classroom, user: str) -> None:
    """Watch a minute."""
    body = {"watch_time": 60, "user_id": user}
    assert room.post("a", "watch-time", body).status_code == 202


def back_up(database: Any) -> Backup:
    """Copy everything that is stored."""
    return {name: list(database[name].find({})) for name in database.list_collection_names()}


def put_back(database: Any, backup: Backup) -> None:
    """Make the database hold what the backup holds, and nothing else."""
    for name in database.list_collection_names():
        database[name].delete_many({})
        if backup.get(name):
            database[name].insert_many(backup[name])


@contextmanager
def viewer(stack: Stack, path: str) -> Iterator[ClientConnection]:
    """Open a viewer."""
    headers = {"Authorization": f"Bearer {stack.token('admin', 'root')}"}
    with connect(f"{stack.socket_url}{path}", additional_headers=headers) as socket:
        yield socket


def shows(socket: ClientConnection, name: str, value: float, above: int = -1) -> int:
    """Read frames until a number is this; return the version, which must grow on the way."""
    shown, version = None, above
    while shown != value:
        frame: dict[str, Any] = json.loads(socket.recv(timeout=15))
        assert frame["version"] > version
        version = frame["version"]
        shown = (frame.get("analytics") or frame["data"])[name]
    return version


def agreed(cache: redis.Redis) -> str:
    """Wait until both sides have looked at each other; return their token."""
    return str(eventually(lambda: cache.get(CONTINUITY), what="a token in the cache"))


def test_after_a_restored_backup_everybody_is_shown_what_is_stored(
    restored: Stack, database: Any, cache: redis.Redis
) -> None:
    watched, unwatched = (
        Classroom.create(restored, "watched"),
        Classroom.create(restored, "unwatched"),
    )
    platform = restored.client("admin", "root")

    def active() -> int:
        number: int = platform.get("/analytics/platform/overview").json()["active_students"]
        return number

    for room in (watched, unwatched):
        watch(room, "early")
        room.reaches(students=1)
    eventually(lambda: active() == 1, what="the platform's numbers")
    agreed(cache)
    eventually(lambda: database["progress"].find_one({"dirty": {"$gt": ""}}) is None, what="rest")
    backup = back_up(database)
    before = active()
    course, instructor = "/realtime/course/watched", "/realtime/instructor/prof"
    with viewer(restored, course) as socket, viewer(restored, instructor) as overview:
        late = Classroom.create(restored, "created-after-the-backup")
        for room in (watched, unwatched, late):
            watch(room, "late")
        version = shows(socket, "students", 2)
        overall = shows(overview, "active_students", before + 1)
        unwatched.reaches(students=2)
        late.reaches(students=1)
        # The cache's token must be the newer one, as it is some time after a backup.
        token = int(agreed(cache))
        backup["continuity"][0]["at"] = token - 60_000
        put_back(database, backup)
        shows(socket, "students", 1, above=version)
        shows(overview, "active_students", before, above=overall)
    unwatched.reaches(students=1)
    answer = late.owner.get(f"/courses/{late.course_id}/analytics")
    assert answer.status_code == 404
    eventually(lambda: not cache.exists(Subject(late.course_id).frame_key), what="no frame of it")


def test_a_viewer_outlives_a_restored_backup_and_a_lost_cache_together(
    restored: Stack, database: Any, cache: redis.Redis
) -> None:
    """Nothing but the hub knows then what its viewers have been shown."""
    room = Classroom.create(restored, "both")
    watch(room, "early")
    room.reaches(students=1)
    agreed(cache)
    eventually(lambda: database["progress"].find_one({"dirty": {"$gt": ""}}) is None, what="rest")
    stored = database["course_totals"].find_one({"_id": "both"})
    progress = list(database["progress"].find({"course_id": "both"}))
    with viewer(restored, "/realtime/course/both") as socket:
        watch(room, "late")
        version = shows(socket, "students", 2)
        eventually(
            lambda: database["progress"].find_one({"dirty": {"$gt": ""}}) is None, what="rest"
        )
        database["progress"].delete_many({"course_id": "both"})
        database["progress"].insert_many(progress)
        database["course_totals"].replace_one({"_id": "both"}, stored)
        cache.delete(Subject("both").frame_key)
        shows(socket, "students", 1, above=version)
    database["students"].update_one({"_id": "late"}, {"$set": {"dirty": 1, "touch": "again"}})


@pytest.mark.parametrize("trace", ["its token is older", "it is another run"])
def test_a_cache_that_came_back_older_is_brought_up_to_date(
    restored: Stack, database: Any, cache: redis.Redis, trace: str
) -> None:
    room = Classroom.create(restored, f"cached, {trace}")
    watch(room, "one")
    room.reaches(students=1)
    key = Subject(room.course_id).frame_key
    older: Any = cache.hgetall(key)
    token = int(agreed(cache))
    watch(room, "two")
    room.reaches(students=2)
    eventually(lambda: database["progress"].find_one({"dirty": {"$gt": ""}}) is None, what="rest")
    newer = cache.hget(key, "version")
    # In this order: what was put back is there before anybody looks.
    cache.hset(key, mapping=older)
    if trace == "its token is older":
        cache.set(CONTINUITY, token - 60_000)
    else:
        database["continuity"].update_one({"_id": "cache"}, {"$set": {"run": "another"}})
    eventually(lambda: cache.hget(key, "version") == newer, what="the newer frame")
    room.reaches(students=2)


def test_two_sides_that_agree_cause_nothing(restored: Stack, database: Any) -> None:
    room = Classroom.create(restored, "quiet")
    watch(room, "one")
    room.reaches(students=1)
    eventually(lambda: database["progress"].find_one({"dirty": {"$gt": ""}}) is None, what="rest")
    log = restored.data_dir / "logs/worker.log"
    totals, compared = database["course_totals"].find_one({"_id": "quiet"}), "are compared"
    before = log.read_text().count(compared)
    time.sleep(2.5 * RECONCILE_MS / 1_000)  # they are looked at twice at least
    assert database["course_totals"].find_one({"_id": "quiet"}) == totals
    assert log.read_text().count(compared) == before > 0


def test_rubbish_in_the_place_of_the_token_stops_nothing(
    restored: Stack, cache: redis.Redis
) -> None:
    room = Classroom.create(restored, "rubbish")
    agreed(cache)
    cache.set(CONTINUITY, "rubbish")
    eventually(lambda: agreed(cache) != "rubbish", what="a token again")
    watch(room, "student")
    room.reaches(students=1)
