"""What `bench.fanout.audience` is told to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Plan:
    """What the load is. `stops` are the rounds in which one viewer stops reading."""

    port: int
    path: str
    headers: tuple[str, ...]
    """A header line for each viewer in turn."""
    hello: tuple[str, ...]
    publisher: tuple[str, ...]
    viewers: int
    messages: int
    processes: dict[str, int]
    """The process ids whose costs are asked for, by name."""
    stops: int = 0
    crowd: int = 0
    """So many more viewers come at once, while messages go out."""

    @classmethod
    def from_json(cls, given: dict[str, Any]) -> Self:
        """Return the plan that `asdict` and JSON were made of."""
        tuples = {name: tuple(given[name]) for name in ("headers", "hello", "publisher")}
        return cls(**given | tuples)
