"""Hubs of the package's own, so that limits can be small and hubs can be killed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.conftest import Classroom, room
from tests.hubs import HubProcess
from tests.stack import Stack

__all__ = ["Classroom", "room"]  # a course of the test's own, as the contract's tests have it


@pytest.fixture
def hub(stack: Stack) -> Iterator[HubProcess]:
    """Yield a hub with small limits that ends with the test."""
    started = HubProcess.start(
        stack,
        SOCKETS_PER_USER="2",
        SOCKETS_PER_PROCESS="6",
        SOCKET_STALL_SECONDS="1",
        SOCKET_HANDSHAKE_SECONDS="1",
        SOCKET_PING_SECONDS="1",
    )
    yield started
    started.stop()


@pytest.fixture(params=["its own protocol", "plain ASGI"])
def hubs(request: pytest.FixtureRequest, stack: Stack) -> Iterator[list[HubProcess]]:
    """Yield two hubs of one kind; they share users and instructors with the API's."""
    started = [HubProcess.start(stack, request.param, SOCKETS_PER_USER="2") for _ in range(2)]
    yield started
    for each in started:
        each.stop()
