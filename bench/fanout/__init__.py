"""What a message to many viewers costs: the hub, the loops teams write first, and its peers.

One message a time to 100, 1,000 and 5,000 viewers of one course; each way gets a process of its
own, fresh, beside a fresh Valkey, and the viewers are in another. Then one viewer of 1,000 stops
reading, and the others' delays are compared with those before; and a crowd of 5,000 comes at once
where 200 are already.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import asdict
from typing import Any

from analytics.identity import issue_token
from analytics.settings import Settings
from analytics.stores.async_mongo import AsyncCollections
from analytics.stores.courses import Courses
from bench.fanout import report
from bench.fanout.plan import Plan
from bench.fanout.ways import COURSE, Way, all_ways
from bench.servers import servers
from realtime.assembly import raise_file_limit

SIZES = (100, 1_000, 5_000)
DELIVERIES = 100_000
MESSAGES = (20, 600)  # at least and at most of a measurement
VIEWERS_PER_TOKEN = 10  # as many sockets as one user may have
TOKENS = 1_000
STOPPED_AMONG = 1_000
STOPPED_MESSAGES = 200
STOPS = 3
PRESENT = 200
CROWD = 5_000
CROWD_MESSAGES = 100
Results = dict[str, Any]


def measure(sizes: tuple[int, ...] = SIZES) -> Results:
    """Measure all ways that can run here, one after another at each size."""
    raise_file_limit()  # the servers inherit it
    lacking = {way.name: way.why_missing() for way in all_ways()}
    ways = [way for way in all_ways() if lacking[way.name] is None]
    rows = []
    for viewers in sizes:
        messages = max(MESSAGES[0], min(MESSAGES[1], DELIVERIES // viewers))
        for way in ways:
            found = _run(way, viewers, messages)
            rows.append({"way": way.name, "viewers": viewers, **report.row_of(found)})
        report.show_size(viewers, [row for row in rows if row["viewers"] == viewers])
    # Ours alone: elsewhere megabytes of small messages go out before a connection is full.
    found = _run(ways[0], STOPPED_AMONG, STOPPED_MESSAGES, STOPS)
    stopped = {"way": ways[0].name, **report.stopped_row_of(found)}
    report.show_stopped(STOPPED_AMONG, stopped)
    crowds = []
    for way in ways:
        found = _run(way, PRESENT, CROWD_MESSAGES, crowd=CROWD)
        crowds.append({"way": way.name, **report.crowd_row_of(found)})
    report.show_crowds(PRESENT, CROWD, crowds)
    ratios = report.ratios(rows, {way.name for way in ways if way.in_python})
    left_out = {name: why for name, why in lacking.items() if why is not None}
    report.show_ratios(ratios, left_out)
    return {
        "rows": rows,
        "ratios": ratios,
        "one_stopped": stopped,
        "crowds": crowds,
        "left_out": left_out,
    }


def _run(way: Way, viewers: int, messages: int, stops: int = 0, crowd: int = 0) -> Results:
    with servers("mongo", "valkey", more=lambda settings: [way.program(settings)]) as running:
        settings = running.settings
        asyncio.run(_add_course(settings))
        plan = Plan(
            port=settings.port,
            path=way.path,
            headers=_headers(settings, viewers + crowd),
            hello=way.hello,
            publisher=way.publisher(settings),
            viewers=viewers,
            messages=messages,
            processes={name: running.processes[name].pid for name in ("server", "valkey")},
            stops=stops,
            crowd=crowd,
        )
        done = subprocess.run(
            [sys.executable, "-m", "bench.fanout.audience"],
            input=json.dumps(asdict(plan)),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    found: Results = json.loads(done.stdout)
    if found["connected"] < viewers:
        print(f"{way.name}: {found['connected']} of {viewers} let in; {found['refusal']}")
    return found


async def _add_course(settings: Settings) -> None:
    """Store the course that our hub's viewers look at."""
    collections = AsyncCollections(settings)
    fields = {"title": "Fan-out", "instructor_id": "instructor", "modules": []}
    await Courses(collections).create(COURSE, fields, "bench")
    collections.close()


def _headers(settings: Settings, viewers: int) -> tuple[str, ...]:
    """Return the tokens; the other ways look at none."""
    secret = settings.require_jwt_secret()
    users = min(TOKENS, viewers // VIEWERS_PER_TOKEN + 1)
    tokens = [
        issue_token(secret, sub=f"admin-{number}", role="admin", ttl=86_400)
        for number in range(users)
    ]
    return tuple(f"Authorization: Bearer {token}" for token in tokens)
