"""`coursepulse watch`: a course's or the platform's frames in the terminal, one line each.

It comes back by itself after whatever passes; what does not pass ends it with a message and an
exit code of its own (`EXITS`).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from datetime import datetime
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import connect

from analytics.errors import CoursepulseError
from analytics.identity import issue_token
from console.arguments import identifier
from console.instance import api_url, signing_secret
from realtime.closing import CloseCode

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from analytics.settings import Settings

VARIABLE = "COURSEPULSE_TOKEN"
TOKEN_LIFETIME = 3_600.0
OPEN_SECONDS = 10.0
CLOSE_SECONDS = 1.0
LONGEST_PAUSE = 30.0
RENEW = CloseCode.UNAUTHENTICATED
EXITS = {
    CloseCode.TOO_BIG: (1, "a message from here was too big"),
    CloseCode.UNAUTHENTICATED: (3, "the token is not valid or has expired; get a new one"),
    CloseCode.FORBIDDEN: (4, "this token may not see these numbers"),
    CloseCode.NO_SUCH_COURSE: (5, "there is no such course"),
    CloseCode.REPLACED: (6, "replaced by a newer connection of the same instructor"),
}
"""Exit code and message of what does not pass by itself."""

PAUSES: dict[int, tuple[float, float, str]] = {
    CloseCode.RESTART: (0, 5, "the server restarts"),
    CloseCode.TOO_MANY: (60, 90, "too many messages or connections"),
    CloseCode.TOO_SLOW: (0, 5, "this terminal was too slow"),
    CloseCode.UNAUTHENTICATED: (0, 1, "the token has expired"),
}
"""Seconds, at random between the two, so that a crowd does not return at once; and why."""


class Ended(Exception):  # an outcome, not an error
    """The server does not want this watcher; `code` is the exit code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what to watch, and how to show it."""
    subject = parser.add_mutually_exclusive_group(required=True)
    subject.add_argument("--course", type=identifier, metavar="ID", help="one course's numbers")
    subject.add_argument(
        "--instructor", type=identifier, metavar="ID", help="the platform's, as this one sees it"
    )
    parser.add_argument("--json", action="store_true", help="print the frames as they come")
    parser.add_argument("--token", help=f"or {VARIABLE}; without: an admin's, of the own secret")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Print frames until Ctrl-C or until the server refuses for good."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        for text in watch(address(settings, args), Tokens(settings, given_token(args))):
            print(text if args.json else line(json.loads(text), time.time()), flush=True)
    except Ended as ended:
        print(f"coursepulse: {ended}", file=sys.stderr)
        return ended.code
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:  # whoever read has enough: `coursepulse watch --json … | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def address(settings: Settings, args: argparse.Namespace) -> str:
    """Return the WebSocket's address."""
    kind, name = ("instructor", args.instructor) if args.course is None else ("course", args.course)
    base = "ws" + api_url(settings).removeprefix("http")
    return f"{base}/realtime/{kind}/{quote(name, safe='')}"


def given_token(args: argparse.Namespace) -> str | None:
    """Return the token of the command line or of the environment; refuse what is no token."""
    token: str | None = args.token or os.environ.get(VARIABLE, "").strip() or None
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        message = f"--token and {VARIABLE} take a JWT, as coursepulse token prints it"
        raise CoursepulseError(message)
    return token


class Tokens:
    """The token to come with: the one given, or again and again one of the own secret."""

    def __init__(self, settings: Settings, given: str | None) -> None:
        self._settings = settings
        self._given = given
        # An admin has a place of its own beside the instructor; each terminal has its own, too.
        self._sub = f"console-{os.getpid()}"
        self.renewable = given is None

    def get(self) -> str:
        """Return a token."""
        if self._given is not None:
            return self._given
        secret = signing_secret(self._settings)
        return issue_token(secret, sub=self._sub, role="admin", ttl=TOKEN_LIFETIME)


def watch(url: str, tokens: Tokens) -> Iterator[str]:
    """Yield each newer frame's text, whatever connection brings it; raise `Ended`."""
    random = Random()  # noqa: S311  # spreads reconnects, keeps no secret
    newest, failures, renewed = -1, 0, False
    while True:
        code, reason = 0, ""
        try:
            headers = {"Authorization": f"Bearer {tokens.get()}"}
            with connect(
                url,
                additional_headers=headers,
                open_timeout=OPEN_SECONDS,
                close_timeout=CLOSE_SECONDS,
                compression=None,
                max_size=None,
                proxy=None,  # a proxy of the environment has no business on this machine
            ) as socket:
                while True:
                    text = str(socket.recv())
                    failures, renewed = 0, False
                    version = json.loads(text)["version"]
                    if version > newest:
                        newest = version
                        yield text
        except ConnectionClosed as closed:
            code, reason = _told(closed)
        except InvalidStatus as refused:
            status = refused.response.status_code
            if status in range(400, 500):
                raise Ended(1, f"{url} answers {status}; is it coursepulse?") from refused
            reason = f"the server answers {status}"
        except (OSError, EOFError, InvalidHandshake) as error:
            reason = f"{url} cannot be reached ({error or type(error).__name__})"
        may_renew = code == RENEW and tokens.renewable and not renewed
        if code in EXITS and not may_renew:
            exit_code, message = EXITS[CloseCode(code)]
            raise Ended(exit_code, f"{message} ({code} {reason})".replace(" )", ")"))
        renewed = renewed or may_renew
        seconds, why = pause(code, failures, random)
        failures += 1
        print(f"coursepulse: {why or reason}; again in {seconds:.1f} s", file=sys.stderr)
        time.sleep(seconds)


def _told(closed: ConnectionClosed) -> tuple[int, str]:
    """Return the server's close code and reason; 0 where it sent none."""
    if closed.rcvd is None:
        return 0, "the connection was lost"
    return closed.rcvd.code, closed.rcvd.reason or "the connection was closed"


def pause(code: int, failures: int, random: Random) -> tuple[float, str]:
    """Return the seconds before the next attempt and why, in words; "" where only others know."""
    if code in PAUSES:
        least, most, why = PAUSES[code]
        return random.uniform(least, most), why
    return random.uniform(0.1, min(2.0**failures, LONGEST_PAUSE)), ""


def line(frame: dict[str, Any], now: float) -> str:
    """Return one readable line; `now` is in seconds since 1970."""
    numbers = frame.get("analytics") or frame["data"]
    generated_at = datetime.fromisoformat(numbers["generated_at"])
    if "course_id" in frame:
        shown = [
            f"students {numbers['students']}",
            f"completion {numbers['avg_completion']:.2f} %",
            f"watched {numbers['total_watch_time_minutes']:.2f} min",
            f"quiz {numbers['avg_quiz_score']:.2f} %",
        ]
    else:
        categories = [f"{item['_id']} {item['count']}" for item in numbers["popular_categories"]]
        shown = [
            f"courses {numbers['total_courses']}",
            f"students {numbers['active_students']}",
            f"rating {numbers['avg_rating']:.2f}",
            f"categories {', '.join(categories) or '-'}",
        ]
    parts = [
        f"version {frame['version']}",
        *shown,
        f"age {duration(now - generated_at.timestamp())}",
    ]
    # A name may hold what a terminal would obey.
    return "".join(letter if letter.isprintable() else "?" for letter in "  ".join(parts))


def duration(seconds: float) -> str:
    """Write a time span in its largest unit; a clock that is behind counts as no time at all."""
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{max(seconds, 0.0):.1f} s"
