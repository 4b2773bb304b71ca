"""What coalescing saves: the product, the coalescer alone, and a task for each event beside them.

Three measurements of one run: events through the product's API (`through_api`), the same events
through the naive way (`naive`), and marks straight into the coalescer, far beyond what this
machine's API can accept (`marks`). The streams go to one course of 1,000 students, where there is
much to merge, and over 1,000 small courses, where there is hardly anything.
"""

from __future__ import annotations

from typing import Any

from bench.coalescing import marks, naive, report, through_api

LONGEST_MARKING_SECONDS = 6.0
Results = dict[str, Any]


def measure(seconds: float) -> Results:
    """Measure `seconds` of each stream of events, and of each stream of marks at most six."""
    product, documents = through_api.measure(seconds)
    peer = naive.measure(seconds, documents)
    marked = marks.measure(min(seconds, LONGEST_MARKING_SECONDS))
    found = {
        "product": product,
        "naive": peer,
        "ratios": report.ratios(product["rows"], peer["rows"]),
        "marks": marked,
    }
    report.show(found)
    marks.show(marked)
    return found
