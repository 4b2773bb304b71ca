"""The figures of `fanout`: what is kept of a measurement, the ratios, the tables."""

from __future__ import annotations

from typing import Any

from bench.fanout.ways import CENTRIFUGE, NAIVE_JSON, OURS
from bench.tables import milliseconds, percentile, print_table

Results = dict[str, Any]


def row_of(found: Results) -> Results:
    """Return the figures of one way at one number of viewers."""
    deliveries = max(1, found["deliveries"])
    connected = max(1, found["connected"])
    return {
        "connected": found["connected"],
        "deliveries": found["deliveries"],
        "missing": found["missing"],
        "cpu_us_per_delivery": round(1e6 * found["cpu"]["server"] / deliveries, 2),
        "valkey_us_per_delivery": round(1e6 * found["cpu"]["valkey"] / deliveries, 2),
        "deliveries_per_second": round(found["deliveries"] / found["message_seconds"]),
        "last_viewer_ms": milliseconds(found["last_viewer"]),
        "kib_per_viewer": round(found["memory_per_viewer"] / 1024, 1),
        "accept_cpu_ms": round(1e3 * found["accept_cpu"] / connected, 3),
        "connect_seconds": round(found["connect_seconds"], 2),
    }


def stopped_row_of(found: Results) -> Results:
    """Return the others' delays while all read and while one does not."""
    before, with_one = found["delays"], found["delays_with_stopped"]
    return {
        "all_reading_ms": milliseconds(before),
        "one_stopped_ms": milliseconds(with_one),
        "p99_ratio": round(percentile(with_one, 0.99) / percentile(before, 0.99), 3),
        "missing": found["missing"],
        "skipped_by_the_stopped": found["stopped_skipped"],
        "close_codes_of_the_stopped": found["stopped_codes"],
    }


def crowd_row_of(found: Results) -> Results:
    """Return what a crowd did to those already there, and how long it took to serve it."""
    return {
        "alone_ms": milliseconds(found["last_viewer"]),
        "with_crowd_ms": milliseconds(found["last_viewer_with_crowd"]),
        "messages": len(found["last_viewer_with_crowd"]),
        "missing": found["missing"],
        "served": found["crowd"]["served"],
        "seconds": found["crowd"]["seconds"],
    }


def ratios(rows: list[Results], in_python: set[str]) -> list[Results]:
    """Return, by number of viewers, how the hub stands beside the others."""
    found = []
    for viewers in dict.fromkeys(row["viewers"] for row in rows):
        by_way = {row["way"]: row for row in rows if row["viewers"] == viewers}
        ours = by_way[OURS]
        cpu = {
            name: round(row["cpu_us_per_delivery"] / ours["cpu_us_per_delivery"], 2)
            for name, row in by_way.items()
        }
        leanest = min(in_python & by_way.keys(), key=lambda name: by_way[name]["kib_per_viewer"])
        found.append(
            {
                "viewers": viewers,
                "cpu_of_others_over_ours": cpu,
                "naive_over_ours": cpu[NAIVE_JSON],
                "ours_over_centrifuge": round(1 / cpu[CENTRIFUGE], 2)
                if CENTRIFUGE in cpu
                else None,
                "least_memory_in_python": leanest,
            }
        )
    return found


def show_size(viewers: int, rows: list[Results]) -> None:
    """Print the ways at one number of viewers."""
    print_table(
        f"fan-out to {viewers:,} viewers of one course, one message at a time",
        ("way", "CPU µs/delivery", "Valkey's", "deliveries/s", "last viewer p50 ms", "p99",
         "KiB/viewer", "accept CPU ms", "connected", "missing"),
        [
            (row["way"], row["cpu_us_per_delivery"], row["valkey_us_per_delivery"],
             f"{row['deliveries_per_second']:,}", row["last_viewer_ms"]["p50"],
             row["last_viewer_ms"]["p99"], row["kib_per_viewer"], row["accept_cpu_ms"],
             row["connected"], row["missing"])
            for row in rows
        ],
    )  # fmt: skip


def show_stopped(viewers: int, row: Results) -> None:
    """Print what one stopped reader does to the others."""
    print_table(
        f"one of {viewers:,} viewers stops reading ({row['way']}): the others' delay",
        ("", "p50 ms", "p99 ms", "max ms"),
        [
            (name, *(row[key][part] for part in ("p50", "p99", "max")))
            for name, key in (("all read", "all_reading_ms"), ("one does not", "one_stopped_ms"))
        ],
    )
    skipped = _listed(row["skipped_by_the_stopped"])
    print(
        f"p99 ratio {row['p99_ratio']}; the others missed {row['missing']}; skipped by the stopped"
    )
    print(
        f"ones: {skipped} messages; their close codes: {_listed(row['close_codes_of_the_stopped'])}"
    )


def show_crowds(present: int, crowd: int, rows: list[Results]) -> None:
    """Print what a crowd does to those already there."""
    print_table(
        f"{crowd:,} viewers come at once: the last of {present} present ones has a message after",
        ("way", "alone p50 ms", "meanwhile p50", "p99", "max", "messages", "missing",
         "of the crowd served", "after s"),
        [
            (row["way"], row["alone_ms"]["p50"], row["with_crowd_ms"]["p50"],
             row["with_crowd_ms"]["p99"], row["with_crowd_ms"]["max"], row["messages"],
             row["missing"], f"{row['served']:,}", row["seconds"])
            for row in rows
        ],
    )  # fmt: skip


def show_ratios(rows: list[Results], left_out: dict[str, str]) -> None:
    """Print the hub beside the others, and who is not there."""
    others = [name for name in rows[0]["cpu_of_others_over_ours"] if name != OURS] if rows else []
    print_table(
        "CPU per delivery over the hub's",
        ("viewers", *others),
        [
            (f"{row['viewers']:,}", *(row["cpu_of_others_over_ours"].get(name) for name in others))
            for row in rows
        ],
    )
    for name, why in left_out.items():
        print(f"left out: {name}: {why}")


def _listed(values: list[Any]) -> str:
    return ", ".join(str(value) for value in values)
