"""Queue delays from the coalescer's own buckets: from a subject's first mark to its refresh."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.coalescer import DELAY_BOUNDS_MS


@dataclass(frozen=True, slots=True)
class Delays:
    """How many refreshes waited at most so many ms, bucket by bucket, the last one unbounded."""

    counts: tuple[int, ...]
    total_ms: int

    @classmethod
    def between(cls, before: dict[str, int], after: dict[str, int]) -> Delays:
        """Return what two readings of the statistics have between them."""

        def more(field: str) -> int:
            return after.get(field, 0) - before.get(field, 0)

        names = (*map(str, DELAY_BOUNDS_MS), "inf")
        return cls(tuple(more(f"delay:{name}") for name in names), more("delay_ms"))

    def percentile(self, share: float) -> float:
        """Return ms, interpolated within the bucket; the last bucket counts as its lower bound."""
        wanted = share * sum(self.counts)
        low, passed = 0.0, 0
        for count, bound in zip(self.counts, DELAY_BOUNDS_MS, strict=False):
            if count and passed + count >= wanted:
                return low + (bound - low) * (wanted - passed) / count
            low, passed = float(bound), passed + count
        return low if sum(self.counts) else 0.0

    def milliseconds(self) -> dict[str, float]:
        """Return what is shown."""
        number = sum(self.counts)
        return {
            "p50": round(self.percentile(0.5), 1),
            "p99": round(self.percentile(0.99), 1),
            "mean": round(self.total_ms / number, 1) if number else 0.0,
        }
