"""The tables of product and peer beside each other; a ratio above 1 is in the product's favour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.coalescing.courses import LARGE_STUDENTS, SMALL_STUDENTS
from bench.coalescing.naive import PATIENCE_SECONDS
from bench.coalescing.through_api import CORE
from bench.tables import print_table

Results = dict[str, Any]


def ratios(product: Sequence[Results], peer: Sequence[Results]) -> list[Results]:
    """Return, load by load, what the peer needs of each thing for one of the product's.

    `computations`: refreshes or tasks an event; `*_p99`: of the delays; CPU is of the parts that
    both have, `cpu_net` without what an idle system spends.
    """
    return [
        {
            "load": ours["load"],
            "computations": _ratio(
                (theirs["tasks"] + theirs["backlog"]) / theirs["events"],
                ours["refreshes"] / ours["events"],
            ),
            "cpu": _ratio(theirs["cpu_core_parts"], ours["cpu_core_parts"]),
            "cpu_net": _ratio(theirs["cpu_core_parts_net"], ours["cpu_core_parts_net"]),
            "queue_delay_p99": _ratio(
                theirs["queue_delay_ms"]["p99"], ours["queue_delay_ms"]["p99"]
            ),
            "publication_p99": _ratio(
                theirs["event_to_publication_ms"]["p99"], ours["event_to_publication_ms"]["p99"]
            ),
            "ack_p99": _ratio(theirs["ack_ms"]["p99"], ours["ack_ms"]["p99"]),
        }
        for ours, theirs in zip(product, peer, strict=True)
    ]


def show(found: Results) -> None:
    """Print product, peer and ratios."""
    product, peer = found["product"]["rows"], found["naive"]["rows"]
    print(
        f"\nOne course has {LARGE_STUDENTS:,} students, each of the many {SMALL_STUDENTS}; times "
        "are in ms.\nQueue delay, product: of a refresh (mean duration: beside it), since its "
        "oldest unanswered mark,\nthe window included, interpolated in the coalescer's buckets; "
        "naive: of a task, since it was enqueued,\nat least so much for those waiting."
    )
    print_table(
        "Product: events to refreshes",
        ["", "events", "marks", "refreshes", "events/refresh", "refresh", "queue p50", "p99",
         "published p50", "p99", "max", "quiet course", "ack p99", "refused", "not exact"],
        [
            [row["load"], row["events"], row["marks"], row["refreshes"],
             row["events_per_refresh"], row["refresh_ms"], row["queue_delay_ms"]["p50"],
             row["queue_delay_ms"]["p99"], *_published(row), _quiet(row), row["ack_ms"]["p99"],
             row["refused"], row["courses_not_exact"]]
            for row in product
        ],
    )  # fmt: skip
    print(f"\n  audit exit {found['product']['audit_exit']}: {found['product']['audit']}")
    print_table(
        f"Naive: a task an event (stopped {PATIENCE_SECONDS:g} s after the last event)",
        ["", "events", "tasks", "task p50", "queue p50", "p99", "backlog", "published p50", "p99",
         "max", "quiet course", "ack p99", "refused"],
        [
            [row["load"], row["events"], row["tasks"], row["task_ms"]["p50"],
             row["queue_delay_ms"]["p50"], row["queue_delay_ms"]["p99"],
             f"{row['backlog_at_end_of_sending']} → {row['backlog']}", *_published(row),
             _quiet(row), row["ack_ms"]["p99"], row["refused"]]
            for row in peer
        ],
    )  # fmt: skip
    parts = list(found["product"]["idle_cores"])
    print_table(
        "CPU seconds per 1,000 events: product by part; then the parts both have "
        f"({', '.join(CORE)}), all and without what idling costs",
        ["", *parts, "all", "product", "naive", "product net", "naive net"],
        [
            [ours["load"], *(ours["cpu_by_part"][part] for part in parts), ours["cpu_all_parts"],
             ours["cpu_core_parts"], theirs["cpu_core_parts"], ours["cpu_core_parts_net"],
             theirs["cpu_core_parts_net"]]
            for ours, theirs in zip(product, peer, strict=True)
        ],
    )  # fmt: skip
    print_table(
        "Naive ÷ product",
        ["", "computations", "CPU", "CPU net", "queue p99", "published p99", "ack p99"],
        [list(row.values()) for row in found["ratios"]],
    )


def _published(row: Results) -> list[float]:
    return [row["event_to_publication_ms"][name] for name in ("p50", "p99", "max")]


def _quiet(row: Results) -> object:
    quiet = row["quiet_course_ms"]
    return f"> {1e3 * PATIENCE_SECONDS:,.0f}" if quiet is None else quiet


def _ratio(theirs: float, ours: float) -> float | None:
    return round(theirs / ours, 2) if ours else None
