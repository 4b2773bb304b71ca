"""The whole path, real processes from the post to the frame, against the plain-Python model."""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import redis
from websockets.sync.client import connect

from analytics.settings import Settings
from analytics.stores.mongo import Collections
from analytics.stores.mongo import connect as connect_mongo
from tests.model import Model
from tests.stack import Stack, eventually, lessons

LESSONS = ("a", "b.c", "$d")
USERS = tuple(f"user-{number}" for number in range(8))
SEED = 20_261_123


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Yield an installation that holds nothing but what these tests make."""
    running = Stack.start(tmp_path_factory.mktemp("whole"))
    yield running
    assert running.stop() == 0


class Play:
    """A seeded stream of learners' and editors' doings, told to the product and to the model."""

    def __init__(self, stack: Stack, seed: int) -> None:
        self.random = random.Random(seed)
        self.stack = stack
        self.client = stack.client()
        self.model = Model()
        self.courses = [f"course-{secrets.token_hex(4)}.{n}" for n in range(4)]
        for number, course in enumerate(self.courses):
            category = ("Data", "Backend")[number % 2]
            body = {
                "course_id": course,
                "title": "A course",
                "instructor_id": f"prof-{number % 2}",
                "category": category,
                "modules": lessons(*LESSONS),
            }
            self.accepted(self.client.post("/courses", json=body), 201)
            self.model.create_course(course, lessons(*LESSONS), category)

    @staticmethod
    def accepted(answer: httpx.Response, *statuses: int) -> None:
        assert answer.status_code in statuses, answer.text

    def crowd(self, events: int) -> None:
        """Post events by several clients at once; every tenth is sent twice under its key."""
        plans = [self._event(number) for number in range(events)]
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(self._post, plans))

    def edits(self) -> None:
        """Edit modules, remove a student, rate."""
        course, user = self.random.choice(self.courses), self.random.choice(USERS)
        kept = [lesson for lesson in LESSONS if self.random.random() < 0.7]
        self.accepted(self.client.put(f"/courses/{course}", json={"modules": lessons(*kept)}), 200)
        self.model.put_modules(course, lessons(*kept))
        self.accepted(
            self.client.put(f"/courses/{course}", json={"modules": lessons(*LESSONS)}), 200
        )
        self.model.put_modules(course, lessons(*LESSONS))
        self.accepted(self.client.delete(f"/courses/{course}/enrollments/{user}"), 204)
        self.model.remove(course, user)
        stars = self.random.randint(1, 5)
        rating = {"rating": stars, "user_id": user}
        self.accepted(self.client.put(f"/courses/{course}/rating", json=rating), 200)
        self.model.rate(course, user, stars)

    def _event(self, number: int) -> tuple[str, str, dict[str, Any], str | None]:
        course, user = self.random.choice(self.courses), self.random.choice(USERS)
        lesson = self.random.choice(LESSONS)
        body: dict[str, Any] = {"course_id": course, "user_id": user}
        kind = self.random.choice(("complete", "watch", "segments", "quiz"))
        action = {"complete": "complete", "quiz": "quiz-attempts"}.get(kind, "watch-time")
        if kind == "watch":
            body["watch_time"] = self.random.randint(0, 900_000) / 1000
            self.model.watch(course, user, lesson, body["watch_time"])
        elif kind == "segments":
            start = self.random.randint(0, 500_000) / 1000
            body["segments"] = [[start, start + self.random.randint(0, 90)]]
            self.model.segments(course, user, lesson, body["segments"])
        elif kind == "quiz":
            body |= {"score": self.random.randint(0, 7), "max_score": 7}
            self.model.quiz(course, user, lesson, body["score"], 7)
        else:
            self.model.complete(course, user, lesson)
        key = f"key-{number}-{secrets.token_hex(4)}" if number % 10 == 0 else None
        return lesson, action, body, key

    def _post(self, plan: tuple[str, str, dict[str, Any], str | None]) -> None:
        lesson, action, body, key = plan
        path = f"/progress/lessons/{lesson}/{action}"
        headers = {} if key is None else {"Idempotency-Key": key}
        for _ in range(1 if key is None else 2):
            while True:
                answer = self.client.post(path, json=body, headers=headers)
                if answer.status_code != 503:
                    break
            self.accepted(answer, 202)

    def ends_exact(self) -> None:
        """Every viewer reaches the model's numbers, and the audit finds no drift."""
        admin = self.stack.token("admin", "root")
        for course in self.courses:
            path = f"/realtime/course/{course}"
            self._reaches(path, admin, "analytics", self.model.analytics(course))
        self._reaches("/realtime/instructor/prof-0", admin, "data", self.model.overview())
        audited = self.stack.run("audit")
        assert audited.returncode == 0, audited.stdout + audited.stderr

    def _reaches(self, path: str, token: str, name: str, expected: dict[str, Any]) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        with connect(self.stack.socket_url + path, additional_headers=headers) as socket:
            shown: dict[str, Any] = {}
            while shown != expected:
                shown = json.loads(socket.recv(timeout=20))[name]
                del shown["generated_at"]


def pid_of(stack: Stack, name: str) -> int:
    """Return the process of one part."""
    path = stack.data_dir / f"run/{name}.pid"
    # It is empty for a moment while it is written.
    return int(eventually(lambda: path.read_text().split(), what=path.name)[0])


def test_all_kinds_of_doings_by_many_at_once_end_exact(own_stack: Stack) -> None:
    play = Play(own_stack, SEED)
    for _ in range(5):
        play.crowd(60)
        play.edits()
    play.ends_exact()
    assert "raised unexpected" not in (own_stack.data_dir / "logs/worker.log").read_text()


def test_every_key_in_redis_is_the_products_own(own_stack: Stack) -> None:
    with redis.Redis.from_url(own_stack.servers["REDIS_URL"], decode_responses=True) as client:
        keys = list(client.scan_iter(count=1000))
    assert keys
    assert [key for key in keys if not key.startswith("coursepulse:")] == []


def test_the_schedule_is_in_redis(own_stack: Stack) -> None:
    with redis.Redis.from_url(own_stack.servers["REDIS_URL"], decode_responses=True) as client:
        keys = list(client.scan_iter("coursepulse:redbeat:*"))
    assert {"platform-every-5-minutes", "audit-every-hour"} <= {k.rpartition(":")[2] for k in keys}


def test_flower_shows_readable_tasks_and_their_results(own_stack: Stack) -> None:
    url = f"http://127.0.0.1:{own_stack.flower_port}/api/tasks"

    client = own_stack.client()
    course = client.get("/courses").json()["items"][0]["_id"]
    event = {"course_id": course, "user_id": "seen", "watch_time": 1}

    def finished() -> list[dict[str, Any]]:
        # Flower shows what it hears: a refresh from before it listened is not there.
        client.post(f"/progress/lessons/{LESSONS[0]}/watch-time", json=event)
        tasks = httpx.get(url, params={"taskname": "tasks.refresh_course"}).json().values()
        return [task for task in tasks if task["state"] == "SUCCESS"]

    task = eventually(finished, seconds=30, what="a finished refresh in Flower")[0]
    assert "course-" in task["args"]
    assert "version" in task["result"]


def test_the_audit_reports_and_repairs_a_drift(own_stack: Stack) -> None:
    # Exact, and by the end of it at rest: a refresh on its way would write over the damage.
    assert own_stack.run("audit").returncode == 0
    urls = own_stack.servers
    settings = Settings.model_validate({"mongo_url": urls["MONGO_URL"]})
    with connect_mongo(settings) as client:
        totals = Collections(client, settings).course_totals
        damaged = totals.find_one({})
        assert damaged is not None
        totals.update_one({"_id": damaged["_id"]}, {"$inc": {"students": 7}})
    found = own_stack.run("audit")
    assert found.returncode == 1
    assert damaged["_id"] in found.stdout
    assert "students" in found.stdout
    assert own_stack.run("audit", "--repair").returncode == 1
    again = own_stack.run("audit")
    assert again.returncode == 0, again.stdout
