"""Viewers that all come at once, in a process of their own beside the load's.

`python -m bench.fanout.crowd` reads a `Plan` as JSON from stdin, says that it begins, connects all
viewers without a pause, and says when each has a message, or that it gave up.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import uvloop

from bench.fanout.plan import Plan
from bench.fanout.viewer import Board, Viewer, open_viewer
from realtime.assembly import raise_file_limit

PATIENCE_SECONDS = 30.0
LOOK_SECONDS = 0.02


async def come(plan: Plan) -> dict[str, float | int]:
    """Connect `plan.crowd` viewers; return how many got a message, after how many seconds."""
    board, began = Board(), time.perf_counter()
    first = plan.viewers  # the tokens before it are used
    coming = [
        asyncio.create_task(open_viewer(plan, board, first + number))
        for number in range(plan.crowd)
    ]
    served, seconds = 0, 0.0
    while served < plan.crowd and seconds < PATIENCE_SECONDS:
        await asyncio.sleep(LOOK_SECONDS)
        seconds = time.perf_counter() - began
        viewers: list[Viewer] = [
            task.result() for task in coming if task.done() and task.exception() is None
        ]
        served = sum(viewer.received > 0 for viewer in viewers)
    for task in coming:
        task.cancel()
    await asyncio.gather(*coming, return_exceptions=True)  # those refused are not served
    return {"served": served, "seconds": round(seconds, 2)}


def main() -> None:
    """Run the plan of stdin."""
    raise_file_limit()
    plan = Plan.from_json(json.load(sys.stdin))
    print("begins", flush=True)
    print(json.dumps(uvloop.run(come(plan))), flush=True)


if __name__ == "__main__":
    main()
