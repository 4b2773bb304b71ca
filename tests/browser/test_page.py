"""The page at `/` in a real browser, against the real system."""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

if TYPE_CHECKING:
    from tests.stack import Stack

ROOT = Path(__file__).parents[2]
COURSE = "68a1e085f965e83b626e215e"
INSTRUCTOR = "689f3b634ccdaf5428b24d62"
COURSE_SOCKET = f"/realtime/course/{COURSE}"
INSTRUCTOR_SOCKET = f"/realtime/instructor/{INSTRUCTOR}"
NEW_STUDENTS = 5


class Visit:
    """One open page with what it did: its sockets and what its console complained about."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.sockets: list[str] = []
        self.complaints: list[str] = []
        page.on("websocket", lambda socket: self.sockets.append(socket.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "console",
            lambda message: (
                self.complaints.append(message.text) if message.type == "error" else None
            ),
        )

    def live(self) -> Visit:
        """Wait until both sockets show the present state."""
        for subject in ("course", "platform"):
            expect(self.page.locator(f"#{subject}-connection")).to_have_text("live")
        return self

    def number(self, name: str) -> float:
        text = self.page.locator(f'[data-number="{name}"]').inner_text()
        return float(text.replace(",", "").removesuffix("%"))


@pytest.fixture
def visit(page: Page, demo_stack: Stack) -> Visit:
    """Open the page of a system with demo data."""
    visit = Visit(page)
    page.goto(demo_stack.url)
    return visit.live()


def test_a_browser_at_127_0_0_1_is_sent_to_localhost(visit: Visit, demo_stack: Stack) -> None:
    assert visit.page.url == f"http://localhost:{urlsplit(demo_stack.url).port}/"


def test_the_page_signs_in_as_the_demo_instructor(visit: Visit) -> None:
    expect(visit.page.locator("#session")).to_have_text("Signed in as the demo instructor")


def test_the_usage_example_opens_both_sockets(visit: Visit) -> None:
    assert [urlsplit(url).path for url in visit.sockets] == [COURSE_SOCKET, INSTRUCTOR_SOCKET]
    assert {urlsplit(url).netloc for url in visit.sockets} == {urlsplit(visit.page.url).netloc}


def test_the_page_complains_about_nothing(visit: Visit) -> None:
    assert visit.complaints == []


def test_every_number_is_shown(visit: Visit) -> None:
    for node in visit.page.locator("[data-number]").all():
        expect(node).to_have_text(re.compile(r"^[\d,.]+( %)?$"))
    for name in ("course-version", "platform-version"):
        expect(visit.page.locator(f"#{name}")).to_have_text(re.compile(r"^\d+$"))
    expect(visit.page.locator("#categories li").first).to_have_text(re.compile(r".+: \d+"))


def test_an_event_posted_to_the_api_changes_the_number_on_the_page(
    visit: Visit, demo_stack: Stack
) -> None:
    before = visit.number("course.students")
    with demo_stack.client() as client:
        course = client.get(f"/courses/{COURSE}").raise_for_status().json()
        lesson = course["modules"][0]["lessons"][0]["lesson_id"]
        for _ in range(NEW_STUDENTS):  # more than the demo's own learners bring in that time
            client.post(
                f"/progress/lessons/{lesson}/complete",
                json={"course_id": COURSE, "user_id": f"browser-{uuid.uuid4().hex}"},
            ).raise_for_status()
    visit.page.wait_for_function(
        """least => Number(document.querySelector('[data-number="course.students"]')
               .textContent.replaceAll(',', '')) >= least""",
        arg=before + NEW_STUDENTS,
    )


def test_a_newer_window_takes_the_instructors_socket_and_the_older_one_says_so(
    visit: Visit, demo_stack: Stack
) -> None:
    newer = Visit(visit.page.context.new_page())
    newer.page.goto(demo_stack.url)
    newer.live()
    older = visit.page
    expect(older.locator("#platform-connection")).to_have_text("stopped: opened in a newer window")
    expect(older.locator("#course-connection")).to_have_text("live")
    older.locator("#platform-again").click()
    expect(older.locator("#platform-connection")).to_have_text("live")


@pytest.mark.parametrize("code", [1012, 4508])
def test_the_page_connects_again_after_a_passing_trouble(
    page: Page, demo_stack: Stack, code: int
) -> None:
    opened: list[WebSocketRoute] = []

    def pass_on(route: WebSocketRoute) -> None:
        route.connect_to_server()
        opened.append(route)

    page.route_web_socket(re.compile("/realtime/course/"), pass_on)
    page.goto(demo_stack.url)
    visit = Visit(page).live()
    opened[0].close(code=code)
    expect(page.locator("#course-connection")).to_have_text(re.compile("^reconnecting"))
    visit.live()
    assert len(opened) == 2


@pytest.mark.parametrize(("code", "words"), [(4403, "may not see"), (4404, "no such course")])
def test_the_page_does_not_insist_where_it_is_refused(
    page: Page, demo_stack: Stack, code: int, words: str
) -> None:
    page.route_web_socket(re.compile("/realtime/course/"), lambda route: route.close(code=code))
    page.goto(demo_stack.url)
    expect(page.locator("#course-connection")).to_have_text(re.compile(f"^stopped: .*{words}"))
    expect(page.locator("#course-again")).to_be_visible()


def test_the_page_fits_a_telephone(page: Page, demo_stack: Stack) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    page.goto(demo_stack.url)
    Visit(page).live()
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_without_demo_the_page_offers_no_sign_in(page: Page, stack: Stack) -> None:
    visit = Visit(page)
    page.goto(stack.url)
    expect(page.locator("#session")).to_contain_text("POST /session")
    expect(page.locator("#numbers")).to_be_hidden()
    expect(page.get_by_role("button")).to_have_count(0)
    assert visit.sockets == []


def test_the_page_runs_the_example_that_the_readme_shows() -> None:
    fenced = re.findall(r"```javascript\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert (ROOT / "dashboard" / "demo.js").read_text() in fenced
