"""A session that has ended leaves nothing behind, whatever was still under way."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, cast

import pytest

from analytics.identity import Principal
from analytics.settings import Settings
from realtime.session import Session
from realtime.viewer import Viewer


class Closing:
    """A line that can only be closed."""

    full = False

    def put(self, frame: object) -> None:
        raise AssertionError(frame)

    def close(self, closed: object) -> None:
        raise AssertionError(closed)


class Slow:
    """Verifies a token when it is told to."""

    def __init__(self, principal: Principal) -> None:
        self.go = asyncio.Event()
        self._principal = principal

    async def bearer(self, token: str) -> Principal:
        assert token
        await self.go.wait()
        return self._principal


@pytest.mark.parametrize("tokens", [1, 2, 5])
async def test_no_timer_outlives_a_session_whose_tokens_were_still_verified(tokens: int) -> None:
    principal = Principal("prof", "instructor", time.time() + 3_600)
    line, authenticator = cast("Any", Closing()), Slow(principal)
    viewer, ended = Viewer(line, principal), []
    session = Session(
        line,
        viewer,
        cast("Any", authenticator),
        Settings.from_environment(),
        lambda: ended.append(True),
    )
    message = json.dumps({"type": "auth", "token": "a token"})
    for _ in range(tokens):
        session.heard(message, len(message))
    await asyncio.sleep(0)
    session.gone()
    authenticator.go.set()
    for _ in range(20):
        await asyncio.sleep(0)
    assert ended == [True]
    assert session._expiry.cancelled()
