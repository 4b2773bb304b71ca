"""Group commit: updates that arrive while others are on their way go out together.

A lone update is sent at once. Under load one command carries many, and the database syncs its
journal once for them; each caller still waits until its own update is durable. Few commands at a
time keep a busy database from being slowed by its clients' number.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

BATCH = 64
IN_FLIGHT = 2


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one update.

    `error` is the code of its own write error. `changed` is None where the group's counts do not
    tell whether it was this update that changed nothing.
    """

    created: bool = False
    changed: bool | None = True
    error: int | None = None


@dataclass(frozen=True, slots=True)
class _Waiting:
    operation: UpdateOne
    result: asyncio.Future[Written]


class GroupCommit:
    """Collects the updates of one collection; one per process."""

    def __init__(self, collection: Any, *, batch: int = BATCH) -> None:
        self._collection = collection
        self._batch = batch
        self._waiting: list[_Waiting] = []
        self._flights: set[asyncio.Task[None]] = set()

    async def update(self, operation: UpdateOne) -> Written:
        """Carry out the update; when this returns it is durable. Raises what the driver raises."""
        waiting = _Waiting(operation, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._depart()
        return await waiting.result

    def _depart(self) -> None:
        while self._waiting and len(self._flights) < IN_FLIGHT:
            group, self._waiting = self._waiting[: self._batch], self._waiting[self._batch :]
            flight = asyncio.create_task(self._fly(group))
            self._flights.add(flight)
            flight.add_done_callback(self._landed)

    def _landed(self, flight: asyncio.Task[None]) -> None:
        self._flights.discard(flight)
        self._depart()

    async def _fly(self, group: list[_Waiting]) -> None:
        operations = [waiting.operation for waiting in group]
        errors: dict[int, int] = {}
        try:
            result = (await self._collection.bulk_write(operations, ordered=False)).bulk_api_result
        except BulkWriteError as error:
            result = error.details
            if result["writeConcernErrors"]:
                self._fail(group, error)
                return
            errors = {item["index"]: item["code"] for item in result["writeErrors"]}
        except Exception as error:  # noqa: BLE001  # whatever it is, each caller raises it
            # Who waits behind a database that is away must not wait for a deadline of its own.
            behind, self._waiting = self._waiting, []
            self._fail(group + behind, error)
            return
        created = {item["index"] for item in result["upserted"]}
        known = result["nModified"] + len(created) + len(errors) == len(group)
        only_one = len(group) == 1
        for index, waiting in enumerate(group):
            if waiting.result.done():  # its caller went away
                continue
            changed = True if known else (False if only_one else None)
            waiting.result.set_result(
                Written(
                    created=index in created,
                    changed=True if index in created else changed,
                    error=errors.get(index),
                )
            )

    @staticmethod
    def _fail(group: list[_Waiting], error: Exception) -> None:
        for waiting in group:
            if not waiting.result.done():
                waiting.result.set_exception(error)
