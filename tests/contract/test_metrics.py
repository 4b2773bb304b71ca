"""`/metrics`: what Prometheus reads, and who may."""

from __future__ import annotations

from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.contract.conftest import Classroom
from tests.stack import Stack, eventually


def scrape(stack: Stack, **options: Any) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = httpx.get(f"{stack.url}/metrics", **options)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(found: dict[Any, float], name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def test_requests_are_counted_by_route_and_status(room: Classroom) -> None:
    labels = {
        "method": "POST",
        "route": "/progress/lessons/{lesson_id}/watch-time",
        "status": "202",
    }
    name = "coursepulse_http_request_seconds_count"
    before = scrape(room.stack).get((name, frozenset(labels.items())), 0)
    for _ in range(3):
        assert room.post("a", "watch-time", {"watch_time": 1}).status_code == 202
    found = scrape(room.stack)
    assert value(found, name, **labels) == before + 3
    assert not [key for key in found if room.course_id in str(key)], "ids are no labels"


def test_the_queue_s_counts_grow_with_the_events(room: Classroom) -> None:
    before = scrape(room.stack)
    assert room.post("a", "watch-time", {"watch_time": 60}).status_code == 202
    room.reaches(total_watch_time_minutes=1.0)

    def grown() -> bool:
        found = scrape(room.stack)
        names = ["refreshes_total", "marks_total", "refresh_delay_seconds_count"]
        counters = [f"coursepulse_{name}" for name in names]
        return all(value(found, name) > value(before, name) for name in counters)

    eventually(grown, what="the counts")
    found = scrape(room.stack)
    assert value(found, "coursepulse_up", part="redis") == 1
    assert value(found, "coursepulse_up", part="mongodb") == 1
    assert value(found, "coursepulse_breaker_open") == 0
    assert value(found, "coursepulse_failing_subjects", state="parked") == 0
    total = value(found, "coursepulse_refresh_delay_seconds_count")
    assert value(found, "coursepulse_refresh_delay_seconds_bucket", le="+Inf") == total


def test_only_this_machine_reads_them_without_a_token(stack: Stack) -> None:
    proxied = {"X-Forwarded-For": "203.0.113.7"}
    assert httpx.get(f"{stack.url}/metrics", headers=proxied).status_code == 401
    student = {"Authorization": f"Bearer {stack.token('student', 's')}"}
    assert httpx.get(f"{stack.url}/metrics", headers=proxied | student).status_code == 403
    admin = {"Authorization": f"Bearer {stack.token('admin', 'root')}"}
    assert scrape(stack, headers=proxied | admin)
