"""Fixtures that several folders share: whole installations and databases of their own."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Iterator

import pytest
import redis
from pymongo import MongoClient

from analytics.settings import Settings
from analytics.stores.mongo import Collections, Document, connect, ensure_indexes
from tests.dialing import Door
from tests.hubs import HubProcess
from tests.stack import Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One installation without demo data for all tests; each test makes its own courses."""
    running = Stack.start(tmp_path_factory.mktemp("stack"))
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="session")
def demo_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One installation with `DEMO=on`."""
    running = Stack.start(tmp_path_factory.mktemp("demo"), demo=True)
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="session")
def plain_hub(stack: Stack) -> Iterator[HubProcess]:
    """One hub on its own whose server offers nothing but ASGI."""
    hub = HubProcess.start(stack, "plain ASGI")
    yield hub
    assert hub.stop() == -signal.SIGTERM


@pytest.fixture(params=["the API's hub", "a hub on plain ASGI"])
def door(request: pytest.FixtureRequest, stack: Stack) -> Door:
    """Where sockets are opened; all rules hold at each."""
    if request.param == "the API's hub":
        return stack
    hub: HubProcess = request.getfixturevalue("plain_hub")
    return hub


@pytest.fixture
def settings(stack: Stack) -> Settings:
    """Return settings for the real servers with a database of the test's own."""
    return Settings.model_validate(
        {
            "mongo_url": stack.servers["MONGO_URL"],
            "redis_url": stack.servers["REDIS_URL"].rstrip("/") + "/9",
            "mongo_database": f"test_{secrets.token_hex(6)}",
            "jwt_secret": stack.secret,
        }
    )


@pytest.fixture
def mongo(settings: Settings) -> Iterator[MongoClient[Document]]:
    """Yield a client whose test database is dropped afterwards."""
    with connect(settings) as client:
        yield client
        client.drop_database(settings.mongo_database)


@pytest.fixture
def collections(mongo: MongoClient[Document], settings: Settings) -> Collections:
    """Empty collections with their indexes."""
    made = Collections(mongo, settings)
    ensure_indexes(made)
    return made


@pytest.fixture
def valkey(settings: Settings) -> Iterator[redis.Redis]:
    """Yield a client of an empty Redis database."""
    with redis.Redis.from_url(settings.require_redis_url(), decode_responses=True) as client:
        client.flushdb()
        yield client
        client.flushdb()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `make chaos` ask for more, and a failure be repeated by its seed."""
    group = parser.getgroup("chaos")
    group.addoption("--schedules", type=int, default=500, help="how many schedules are run")
    group.addoption("--first-seed", type=int, default=1, help="the first schedule's seed")
    group.addoption("--rate", type=float, default=20.0, help="events a second under harm")
    group.addoption("--rounds", type=int, default=1, help="how often each harm is done")
