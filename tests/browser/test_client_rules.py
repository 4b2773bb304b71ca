"""What `coursepulse.js` decides, as plain functions: pauses, close codes, levels, event text."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Any

import pytest

from analytics.identity import issue_token

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.stack import Stack

LOST = 1006


class Rules:
    """The module's exports."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def __call__(self, expression: str, argument: Any = None) -> Any:
        return self.page.evaluate(
            "async ([expression, argument]) => {"
            "  const rules = await import('/static/coursepulse.js');"
            "  return Function('rules', 'argument', `return ${expression}`)(rules, argument);"
            "}",
            [expression, argument],
        )


@pytest.fixture
def rules(page: Page, stack: Stack) -> Rules:
    page.goto(f"{stack.url}/health/live")
    return Rules(page)


def test_back_off_doubles_up_to_half_a_minute_and_is_spread(rules: Rules) -> None:
    longest = rules("[0, 1, 2, 3, 10, 2000].map(n => rules.backOff(n, () => 1))")
    assert longest == [1_000, 2_000, 4_000, 8_000, 30_000, 30_000]
    assert rules("[0, 5].map(n => rules.backOff(n, () => 0))") == [100, 100]
    assert len(set(rules("Array.from({length: 20}, () => rules.backOff(8))"))) == 20


@pytest.mark.parametrize("code", [1009, 4403, 4404, 4409])
def test_what_cannot_mend_itself_stops(rules: Rules, code: int) -> None:
    assert rules("rules.ruleAfter(argument)", code) == {"stop": True}


@pytest.mark.parametrize(
    ("code", "least", "most"),
    [(1012, 0, 5_000), (4508, 0, 5_000), (4429, 60_000, 90_000), (4401, 0, 1_000)],
)
def test_a_close_code_has_its_pause(rules: Rules, code: int, least: int, most: int) -> None:
    pauses = rules("[0, 1].map(random => rules.ruleAfter(argument).pause(9, () => random))", code)
    assert pauses == [least, most]


def test_only_4401_asks_for_a_new_token(rules: Rules) -> None:
    codes = [1000, LOST, 1009, 1012, 4401, 4403, 4404, 4409, 4429, 4508]
    assert rules("argument.filter(code => rules.ruleAfter(code).renew)", codes) == [4401]


def test_a_fresh_token_is_due_half_a_minute_before_the_end(rules: Rules) -> None:
    def token(expires: float) -> str:
        return issue_token("s" * 32, sub="ü/?~", role="admin", ttl=expires - time.time())

    now = int(time.time())
    shown = [token(now + ttl) for ttl in (600, 20, -9, 1e9)]
    due = rules(
        "argument[0].map(token => rules.renewalIn(token, argument[1]))", [shown, now * 1000]
    )
    assert due == [pytest.approx(570_000, abs=1_500), 30_000, 30_000, 86_400_000]
    nonsense = ["", "a.b.c", "x", f"a.{base64.urlsafe_b64encode(b'{}').decode()}.c"]
    assert rules("argument.map(token => rules.renewalIn(token))", nonsense) == [None] * 4


def levels(rules: Rules, *outcomes: dict[str, Any]) -> list[int]:
    """Return the levels tried, the first included."""
    tried: list[int] = rules(
        """argument.reduce(([ladder, ...before], outcome) => {
             const next = rules.nextLevel(ladder, outcome);
             return [next, ladder, ...before];
           }, [rules.TOP]).reverse().map(ladder => ladder.level)""",
        list(outcomes),
    )
    return tried


FAILED = {"worked": False, "code": LOST}
WORKED = {"worked": True, "code": LOST}


def test_failures_lead_down_and_round_again(rules: Rules) -> None:
    assert levels(rules, *[FAILED] * 7) == [0, 0, 0, 1, 1, 2, 0, 0]


def test_after_a_lower_level_worked_those_above_get_one_try_each(rules: Rules) -> None:
    assert levels(rules, *[FAILED] * 5, WORKED, FAILED, FAILED) == [0, 0, 0, 1, 1, 2, 0, 1, 2]


def test_a_socket_that_worked_is_tried_three_times_again(rules: Rules) -> None:
    assert levels(rules, WORKED, FAILED, FAILED, FAILED) == [0, 0, 0, 0, 1]


def test_a_close_code_of_the_server_is_no_reason_to_go_down(rules: Rules) -> None:
    restarting = {"worked": False, "code": 1012}
    assert levels(rules, *[restarting] * 9) == [0] * 10


@pytest.mark.parametrize(
    ("pieces", "data"),
    [
        (["id: 1\ndata: {}\n\n"], ["{}"]),
        (["da", "ta: a", "\n", "\ndata:b\n\n"], ["a", "b"]),
        (["data: a\r", "\n\r\ndata: b\r\n\r\n"], ["a", "b"]),
        (["data: a\ndata: b\n\n"], ["a\nb"]),
        ([": a comment\n\nretry: 5\n\n"], []),
        (["data: unfinished"], []),
        (["data:  two spaces\n\n"], [" two spaces"]),
    ],
)
def test_an_event_stream_is_read_in_any_pieces(
    rules: Rules, pieces: list[str], data: list[str]
) -> None:
    read = rules(
        """(() => {
             const data = [];
             const read = rules.eventReader((text) => data.push(text));
             argument.forEach(read);
             return data;
           })()""",
        pieces,
    )
    assert read == data


@pytest.mark.parametrize(
    ("options", "socket", "polling"),
    [
        (
            {"course": "a/b c"},
            "wss://school.example/realtime/course/a%2Fb%20c",
            "https://school.example/courses/a%2Fb%20c/analytics",
        ),
        (
            {"instructor": "ines", "server": "http://pulse.example/live/"},
            "ws://pulse.example/live/realtime/instructor/ines",
            "http://pulse.example/live/analytics/platform/overview",
        ),
        (
            {"url": "ws://localhost:8000/realtime/course/x"},
            "ws://localhost:8000/realtime/course/x",
            "http://localhost:8000/courses/x/analytics",
        ),
    ],
)
def test_addresses_follow_from_what_is_named(
    rules: Rules, options: dict[str, str], socket: str, polling: str
) -> None:
    found = rules("rules.addresses(argument, 'https://school.example/page')", options)
    assert (found["websocket"], found["polling"]) == (socket, polling)
    assert found["events"] == socket.replace("ws", "http", 1) + "/events"
