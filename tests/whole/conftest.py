"""A Valkey and Celery processes that only one test uses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.whole.beats import Clockwork


@pytest.fixture
def clockwork(tmp_path: Path) -> Iterator[Clockwork]:
    """Yield a Valkey of the test's own; what the test starts on it ends with it."""
    made = Clockwork(tmp_path)
    try:
        made.start_valkey()
        yield made
    finally:
        made.stop()
