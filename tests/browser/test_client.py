"""`coursepulse.js` in a real browser, against the real system and with what breaks in between."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Page, WebSocketRoute

from tests.stack import Stack, eventually, lessons
from tests.whole.test_whole_path import pid_of

if TYPE_CHECKING:
    from collections.abc import Iterator

DEADLINE_MS = 60_000
ANYTHING = "**/*"
NO_SOCKETS = """() => {
  window.WebSocket = class { constructor() { throw new Error('blocked'); } };
}"""
NO_PATIENCE = "Math.random = () => 0;"  # every pause is its shortest
SOON_SILENT = """() => {
  const later = window.setTimeout;
  window.setTimeout = (call, wait) => later(call, wait === 120000 ? 200 : wait);
}"""  # two minutes without a frame pass quickly
SOON_DUE = """() => {
  const later = window.setTimeout;
  window.setTimeout = (call, wait) => later(call, wait > 500000 && wait < 600000 ? 200 : wait);
}"""  # nearly ten minutes pass quickly
CONNECT = """async ({ tokens, ...options }) => {
  const { connect } = await import('/static/coursepulse.js');
  window.seen = { frames: [], states: [], tokens: 0 };
  const token = async () => tokens[Math.min(window.seen.tokens++, tokens.length - 1)];
  window.connection = connect({
    ...options,
    ...(tokens && { token }),
    onFrame: (frame) => window.seen.frames.push(frame),
    onState: (state) => window.seen.states.push(state),
  });
}"""


class Viewer:
    """A page that uses the library for one course."""

    def __init__(self, page: Page, stack: Stack, *, hurried: bool = True) -> None:
        self.page, self.stack = page, stack
        self.instructor = f"prof-{secrets.token_hex(4)}"
        self.course = f"course-{secrets.token_hex(4)}"
        body = {
            "course_id": self.course,
            "title": "A course",
            "instructor_id": self.instructor,
            "modules": lessons("a"),
        }
        stack.client().post("/courses", json=body).raise_for_status()
        if hurried:
            page.add_init_script(NO_PATIENCE)
        # Any document of this origin will do; this one runs nothing of its own.
        page.goto(f"http://localhost:{stack.port}/health/live")

    def token(self, ttl: float = 600) -> str:
        return self.stack.token("instructor", self.instructor, ttl)

    def connect(self, **options: Any) -> None:
        subject = {} if {"instructor", "url"} & set(options) else {"course": self.course}
        self.page.evaluate(CONNECT, subject | {"tokens": [self.token()]} | options)

    def until(self, condition: str, argument: Any = None) -> None:
        self.page.wait_for_function(condition, arg=argument, timeout=DEADLINE_MS)

    def live(self, transport: str) -> None:
        self.until(
            """transport => seen.states.at(-1)?.state === 'live'
                && seen.states.at(-1).transport === transport && seen.frames.length > 0""",
            transport,
        )

    def offline(self) -> dict[str, Any]:
        self.until("connection.state === 'offline'")
        last: dict[str, Any] = self.page.evaluate("seen.states.at(-1)")
        return last

    def students(self) -> None:
        """Let a new student act and wait until that is on the page."""
        shown = self.page.evaluate("seen.frames.at(-1)?.analytics.students ?? 0")
        body = {"course_id": self.course, "user_id": secrets.token_hex(4)}
        service = self.stack.client()
        service.post("/progress/lessons/a/complete", json=body).raise_for_status()
        self.until("least => seen.frames.at(-1)?.analytics.students > least", shown)
        self.only_forward()

    def only_forward(self) -> None:
        versions = self.page.evaluate("seen.frames.map(frame => frame.version)")
        assert versions == sorted(set(versions))

    def states(self) -> list[str]:
        found: list[str] = self.page.evaluate("seen.states.map(state => state.state)")
        return found


@pytest.fixture
def viewer(page: Page, stack: Stack) -> Viewer:
    return Viewer(page, stack)


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
    assert viewer.page.evaluate("seen.frames[0].data.total_courses") >= 1


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


def test_an_older_version_is_dropped(viewer: Viewer) -> None:
    def play(route: WebSocketRoute) -> None:
        for version in (5, 7, 6, 7, 3, 8):
            route.send(f'{{"version": {version}}}')

    viewer.page.route_web_socket(ANYTHING, play)
    viewer.page.reload()
    viewer.connect()
    viewer.until("connection.version === 8")
    assert viewer.page.evaluate("seen.frames.map(frame => frame.version)") == [5, 7, 8]


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
