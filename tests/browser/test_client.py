"""`coursepulse.js` in a real browser, against the real system: its ways, its tokens, its ends."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.browser.client_page import ANYTHING, NO_SOCKETS, Viewer
from tests.stack import eventually

if TYPE_CHECKING:
    from playwright.sync_api import WebSocketRoute

SOON_DUE = """() => {
  const later = window.setTimeout;
  window.setTimeout = (call, wait) => later(call, wait > 500000 && wait < 600000 ? 200 : wait);
}"""  # nearly ten minutes pass quickly


def test_a_socket_brings_each_newer_state(viewer: Viewer) -> None:
    viewer.connect()
    viewer.live("websocket")
    viewer.students()
    viewer.students()
    assert viewer.states() == ["live"]
    assert viewer.page.evaluate("connection.version === seen.frames.at(-1).version")
    assert viewer.page.evaluate("connection.age >= 0 && seen.states[0].age >= 0")


def test_the_platforms_numbers_come_by_the_instructors_id(viewer: Viewer) -> None:
    viewer.connect(instructor=viewer.instructor)
    viewer.live("websocket")
    viewer.until("seen.frames.at(-1).data.total_courses >= 1")


def test_a_whole_address_will_do(viewer: Viewer) -> None:
    viewer.connect(url=f"ws://localhost:{viewer.stack.port}/realtime/course/{viewer.course}")
    viewer.live("websocket")
    viewer.students()


def test_a_session_will_do_instead_of_a_token(viewer: Viewer) -> None:
    viewer.page.evaluate(
        "token => fetch('/session', {method: 'POST', headers: {Authorization: `Bearer ${token}`}})",
        viewer.token(),
    )
    viewer.connect(tokens=None)
    viewer.live("websocket")
    viewer.students()


def test_without_sockets_events_bring_the_states(viewer: Viewer) -> None:
    viewer.page.evaluate(NO_SOCKETS)
    viewer.connect()
    viewer.live("events")
    viewer.students()
    viewer.students()
    assert viewer.page.evaluate("seen.frames.at(-1).request_id !== null")


def test_without_sockets_and_events_polling_brings_the_states(viewer: Viewer) -> None:
    viewer.page.evaluate(NO_SOCKETS)
    viewer.page.route("**/events", lambda route: route.abort())
    answers: list[int] = []
    viewer.page.on(
        "response",
        lambda answer: answers.append(answer.status) if "/analytics" in answer.url else None,
    )
    viewer.connect()
    viewer.live("polling")
    viewer.students()
    viewer.until("connection.age < 3000")
    eventually(
        lambda: (viewer.page.evaluate("0"), 304 in answers)[1],
        seconds=30,
        what="a poll that finds nothing new",
    )
    viewer.only_forward()


def test_a_session_is_enough_for_events(viewer: Viewer) -> None:
    viewer.page.evaluate(
        "token => fetch('/session', {method: 'POST', headers: {Authorization: `Bearer ${token}`}})",
        viewer.token(),
    )
    viewer.page.evaluate(NO_SOCKETS)
    viewer.connect(tokens=None)
    viewer.live("events")


def test_an_expired_token_is_replaced_once_it_is_refused(viewer: Viewer) -> None:
    viewer.connect(tokens=[viewer.token(ttl=2), viewer.token()])
    viewer.live("websocket")
    viewer.until("seen.tokens === 2")
    viewer.live("websocket")
    viewer.students()
    assert "offline" not in viewer.states()


def test_a_fresh_token_in_time_extends_the_connection(viewer: Viewer) -> None:
    sent: list[str] = []
    viewer.page.on(
        "websocket", lambda socket: socket.on("framesent", lambda text: sent.append(str(text)))
    )
    viewer.page.evaluate(SOON_DUE)
    tokens = [viewer.token(ttl=600), viewer.token(ttl=3_000)]
    viewer.connect(tokens=tokens)
    viewer.live("websocket")
    viewer.until("seen.tokens >= 2")
    viewer.students()
    assert [json.loads(text)["token"] for text in sent] == tokens
    assert viewer.states() == ["live"]


@pytest.mark.parametrize("sockets", [True, False])
def test_a_second_refusal_of_the_token_is_the_end(viewer: Viewer, sockets: bool) -> None:  # noqa: FBT001
    if not sockets:
        viewer.page.evaluate(NO_SOCKETS)
    viewer.connect(tokens=["a.b.c", "still.no.good"])
    assert viewer.offline()["code"] == 4401
    assert viewer.page.evaluate("seen.tokens") == 2
    assert viewer.page.evaluate("seen.frames.length") == 0


def test_without_token_and_session_there_is_nothing_to_try_again(viewer: Viewer) -> None:
    viewer.connect(tokens=None)
    assert viewer.offline()["code"] == 4401


@pytest.mark.parametrize("sockets", [True, False])
def test_who_may_not_see_the_numbers_is_not_insistent(viewer: Viewer, sockets: bool) -> None:  # noqa: FBT001
    if not sockets:
        viewer.page.evaluate(NO_SOCKETS)
    viewer.connect(tokens=[viewer.stack.token("instructor", "stranger")])
    last = viewer.offline()
    assert (last["code"], last["age"]) == (4403, None)
    viewer.connect(course="absent", tokens=[viewer.token()])
    assert viewer.offline()["code"] == 4404


def test_an_older_connection_of_an_instructor_gives_way(viewer: Viewer) -> None:
    viewer.connect(instructor=viewer.instructor)
    viewer.live("websocket")
    viewer.page.evaluate("window.older = connection")
    viewer.connect(instructor=viewer.instructor)
    viewer.live("websocket")
    viewer.until("older.state === 'offline'")
    assert viewer.page.evaluate("connection.state") == "live"


def test_an_older_version_is_dropped(viewer: Viewer) -> None:
    def play(route: WebSocketRoute) -> None:
        for version in (5, 7, 6, 7, 3, 8):
            route.send(f'{{"version": {version}}}')

    viewer.page.route_web_socket(ANYTHING, play)
    viewer.page.reload()
    viewer.connect()
    viewer.until("connection.version === 8")
    assert viewer.page.evaluate("seen.frames.map(frame => frame.version)") == [5, 7, 8]


def test_closing_is_the_end(viewer: Viewer) -> None:
    viewer.connect()
    viewer.live("websocket")
    viewer.page.evaluate("connection.close()")
    assert viewer.offline()["reason"] == "closed by the page"
    viewer.page.evaluate("connection.close()")
    assert viewer.states() == ["live", "offline"]


def test_a_page_that_closes_at_a_frame_hears_nothing_more(viewer: Viewer) -> None:
    def play(route: WebSocketRoute) -> None:
        for version in (1, 2, 3):
            route.send(f'{{"version": {version}}}')

    viewer.page.route_web_socket(ANYTHING, play)
    viewer.page.reload()
    viewer.page.evaluate(
        """async () => {
          const { connect } = await import('/static/coursepulse.js');
          window.heard = [];
          window.connection = connect({
            course: 'any',
            onFrame: ({ version }) => { heard.push(version); connection.close(); },
            onState: ({ state }) => heard.push(state),
          });
        }"""
    )
    viewer.until("connection.state === 'offline'")
    assert viewer.page.evaluate("heard") == [1, "offline"]


def test_a_mistake_of_the_page_does_not_end_the_connection(viewer: Viewer) -> None:
    mistakes: list[str] = []
    viewer.page.on("pageerror", lambda error: mistakes.append(error.message))
    viewer.connect()
    viewer.live("websocket")
    viewer.page.evaluate("() => { seen.frames.push = () => { throw new Error('a mistake'); }; }")
    service, body = viewer.stack.client(), {"course_id": viewer.course, "user_id": "ann"}
    service.post("/progress/lessons/a/complete", json=body).raise_for_status()
    viewer.until("connection.version > seen.frames[0].version")
    assert viewer.page.evaluate("connection.state") == "live"
    assert mistakes == ["a mistake"]


@pytest.mark.parametrize("options", ["{}", "{course: 'a', instructor: 'b'}", "{url: '/other'}"])
def test_what_names_no_subject_is_refused_at_once(viewer: Viewer, options: str) -> None:
    refused = viewer.page.evaluate(
        f"""async () => {{
          const {{ connect }} = await import('/static/coursepulse.js');
          try {{ connect({options}); }} catch (error) {{ return error.name; }}
        }}"""
    )
    assert refused == "TypeError"
