"""A page that uses `coursepulse.js`, and what it saw."""

from __future__ import annotations

import secrets
from typing import Any

from playwright.sync_api import Page

from tests.stack import Stack, lessons

DEADLINE_MS = 60_000
ANYTHING = "**/*"
NO_SOCKETS = """() => {
  window.WebSocket = class { constructor() { throw new Error('blocked'); } };
}"""
NO_PATIENCE = "Math.random = () => 0;"  # every pause is its shortest
CONNECT = """async ({ tokens, ...options }) => {
  const { connect } = await import('/static/coursepulse.js');
  const seen = { frames: [], states: [], tokens: 0 };
  window.seen = seen;  // the newest connection's; an older one goes on writing into its own
  const token = async () => tokens[Math.min(seen.tokens++, tokens.length - 1)];
  window.connection = connect({
    ...options,
    ...(tokens && { token }),
    onFrame: (frame) => seen.frames.push(frame),
    onState: (state) => seen.states.push(state),
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
