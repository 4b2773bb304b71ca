"""A real browser, and a page of it that nobody has used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.client_page import Viewer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.stack import Stack

DEADLINE_MS = 15_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start Chromium: the system's where there is one, else Playwright's own."""
    system = Path("/usr/bin/chromium")
    # Closed with the module: while Playwright runs, its event loop hides this thread's from others.
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=system if system.exists() else None,
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        )
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    context.set_default_timeout(DEADLINE_MS)
    expect.set_options(timeout=DEADLINE_MS)
    yield context.new_page()
    context.close()


@pytest.fixture
def viewer(page: Page, stack: Stack) -> Viewer:
    return Viewer(page, stack)
