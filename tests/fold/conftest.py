"""The world of fold tests."""

from __future__ import annotations

import pytest

from analytics.settings import Settings
from analytics.stores.mongo import Collections
from tests.fold.world import World


@pytest.fixture
def world(settings: Settings, collections: Collections) -> World:
    return World(settings, collections)
