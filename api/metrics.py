"""What Prometheus scrapes: this process's own counts, and the queue's as Redis and MongoDB have it.

Every API process counts its own requests; the queue's numbers are the same whichever is asked.
Latencies are histograms in seconds, so that percentiles can be added up over processes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from pymongo.errors import PyMongoError
from redis.exceptions import RedisError

from api.lifespan import Services
from tasks.enqueue import Depth, delay_buckets

DEADLINE_SECONDS = 0.5
BUCKETS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """The registry of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Histogram(
            "coursepulse_http_request_seconds",
            "Time from a request to the beginning of its answer, by route.",
            ["method", "route", "status"],
            buckets=BUCKETS,
            registry=self.registry,
        )

    def request_served(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request; `route` is its template, never a path with ids."""
        self._requests.labels(method, route, str(status)).observe(seconds)

    async def exposition(self, services: Services) -> bytes:
        """Return all metrics in Prometheus' text format; a server that is away is a metric too."""
        depth, failing = await asyncio.gather(_depth(services), _failing(services))
        shared = CollectorRegistry()
        shared.register(_Shared(services, depth, failing))
        return generate_latest(self.registry) + generate_latest(shared)


class _Shared(Collector):
    """The numbers read for one scrape."""

    def __init__(
        self, services: Services, depth: Depth | None, failing: tuple[int, int] | None
    ) -> None:
        self._services = services
        self._depth = depth
        self._failing = failing

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        up = GaugeMetricFamily("coursepulse_up", "1 where the dependency answers.", labels=["part"])
        up.add_metric(["redis"], float(self._depth is not None))
        up.add_metric(["mongodb"], float(self._failing is not None))
        yield up
        viewers = GaugeMetricFamily(
            "coursepulse_viewers",
            "Open WebSockets and event streams of this process.",
            labels=["subject"],
        )
        for kind, number in self._services.hub.viewers().items():
            viewers.add_metric([kind], number)
        yield viewers
        yield GaugeMetricFamily(
            "coursepulse_breaker_open",
            "1 while marks are left to the reconcile because Redis does not answer.",
            float(self._services.queue.is_broken),
        )
        if self._failing is not None:
            failing, parked = self._failing
            gauge = GaugeMetricFamily(
                "coursepulse_failing_subjects", "Subjects whose refresh fails.", labels=["state"]
            )
            gauge.add_metric(["tried again"], failing - parked)
            gauge.add_metric(["parked"], parked)
            yield gauge
        if self._depth is not None:
            yield from _queue(self._depth)


def _queue(depth: Depth) -> Iterator[Metric]:
    subjects = GaugeMetricFamily(
        "coursepulse_refresh_subjects", "Subjects by what they wait for.", labels=["state"]
    )
    for state in ("scheduled", "due", "cold", "leased", "queued", "parked"):
        subjects.add_metric([state], getattr(depth, state))
    yield subjects
    oldest = GaugeMetricFamily(
        "coursepulse_refresh_oldest_seconds", "Age of each lane's longest wait.", labels=["lane"]
    )
    oldest.add_metric(["due"], depth.oldest_due_ms / 1e3)
    oldest.add_metric(["cold"], depth.oldest_cold_ms / 1e3)
    yield oldest
    counted = depth.statistics
    for name, field, told in (
        ("coursepulse_refreshes", "refreshes", "Refreshes finished."),
        ("coursepulse_refresh_failures", "failures", "Refreshes that raised."),
        ("coursepulse_marks", "marks", "Marks that refreshes answered: many share one."),
    ):
        yield CounterMetricFamily(name, told, counted.get(field, 0))
    yield CounterMetricFamily(
        "coursepulse_refresh_duration_seconds",
        "Time spent in refreshes, all workers.",
        counted.get("refresh_ms", 0) / 1e3,
    )
    yield HistogramMetricFamily(
        "coursepulse_refresh_delay_seconds",
        "From a subject's first unanswered mark to the start of its refresh.",
        buckets=delay_buckets(counted),
        sum_value=counted.get("delay_ms", 0) / 1e3,
    )


async def _depth(services: Services) -> Depth | None:
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await services.queue.depth()
    except (RedisError, OSError, TimeoutError):  # told by coursepulse_up
        return None


async def _failing(services: Services) -> tuple[int, int] | None:
    """Return how many subjects fail and how many of them are parked."""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await services.collections.count_failing()
    except (PyMongoError, TimeoutError):  # told by coursepulse_up
        return None
