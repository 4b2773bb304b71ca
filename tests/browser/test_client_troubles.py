"""`coursepulse.js` in a real browser while something breaks between it and the real system."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

import pytest

from tests.browser.client_page import ANYTHING, NO_SOCKETS, Viewer
from tests.stack import Stack, eventually
from tests.whole.test_whole_path import pid_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page, WebSocketRoute

SOON_SILENT = """() => {
  const later = window.setTimeout;
  window.setTimeout = (call, wait) => later(call, wait === 120000 ? 200 : wait);
}"""  # two minutes without a frame pass quickly


@pytest.mark.parametrize("code", [1012, 4508, 3999])
def test_a_passing_trouble_is_waited_out(viewer: Viewer, code: int) -> None:
    opened: list[WebSocketRoute] = []

    def pass_on(route: WebSocketRoute) -> None:
        route.connect_to_server()
        opened.append(route)

    viewer.page.route_web_socket(ANYTHING, pass_on)
    viewer.page.reload()  # a route holds for documents loaded after it
    viewer.connect()
    viewer.live("websocket")
    opened[0].close(code=code)
    viewer.until("seen.states.length === 3")
    assert viewer.states() == ["live", "reconnecting", "live"]
    assert viewer.page.evaluate("seen.states[1].code") == code
    assert viewer.page.evaluate("seen.frames.length") == 1  # the same state is not told twice
    viewer.students()


def test_a_silent_socket_is_held_against_rest_and_a_deaf_one_replaced(viewer: Viewer) -> None:
    opened: list[WebSocketRoute] = []

    def socket(route: WebSocketRoute) -> None:
        opened.append(route)
        server = route.connect_to_server()
        if len(opened) == 1:
            heard: list[str | bytes] = []

            def only_the_first(message: str | bytes) -> None:
                if not heard:
                    route.send(message)
                heard.append(message)

            server.on_message(only_the_first)

    asked: list[int] = []
    viewer.page.on(
        "response",
        lambda answer: asked.append(answer.status) if "/analytics" in answer.url else None,
    )
    viewer.page.route_web_socket(ANYTHING, socket)
    viewer.page.reload()
    viewer.page.evaluate(SOON_SILENT)
    viewer.connect()
    viewer.live("websocket")
    eventually(lambda: (viewer.page.evaluate("0"), 304 in asked)[1], seconds=30, what="a question")
    assert viewer.states() == ["live"]
    viewer.students()
    assert len(opened) >= 2


def test_numbers_grow_stale_while_nothing_comes(viewer: Viewer) -> None:
    cut = False
    opened: list[WebSocketRoute] = []

    def socket(route: WebSocketRoute) -> None:
        if cut:
            route.close(code=3999)
        else:
            route.connect_to_server()
            opened.append(route)

    viewer.page.route_web_socket(ANYTHING, socket)
    viewer.page.reload()
    viewer.page.route(
        re.compile("/events|/analytics"), lambda route: route.abort() if cut else route.continue_()
    )
    viewer.connect(staleAfter=500)
    viewer.live("websocket")
    cut = True
    opened[0].close(code=3999)
    viewer.until("connection.state === 'stale'")
    assert viewer.states() == ["live", "reconnecting", "stale"]
    age = viewer.page.evaluate("connection.age")
    assert age > 400  # a timer may fire a little early
    cut = False
    viewer.until("connection.state === 'live'")
    viewer.students()


@pytest.fixture(scope="module")
def harmed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Yield an installation whose API tests may kill."""
    running = Stack.start(tmp_path_factory.mktemp("harmed"))
    yield running
    assert running.stop() == 0


@pytest.mark.parametrize("transport", ["websocket", "events"])
def test_a_killed_server_is_waited_for(page: Page, harmed: Stack, transport: str) -> None:
    viewer = Viewer(page, harmed, hurried=False)
    if transport == "events":
        page.evaluate(NO_SOCKETS)
    viewer.connect()
    viewer.live(transport)
    viewer.students()
    before = pid_of(harmed, "api")
    os.kill(before, signal.SIGKILL)
    viewer.until("seen.states.length > 1 && seen.states.at(-1).state === 'live'")
    assert "reconnecting" in viewer.states()
    assert pid_of(harmed, "api") != before
    viewer.students()
