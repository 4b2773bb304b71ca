"""The page at `/asyncapi` in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.stack import Stack


def test_the_page_shows_the_whole_document(page: Page, stack: Stack) -> None:
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda message: complaints.append(message.text) if message.type == "error" else None,
    )
    page.goto(f"{stack.url}/asyncapi")
    expect(page.locator("#state")).to_contain_text("AsyncAPI 3.0.0")
    text = page.locator("#document").inner_text()
    document = httpx.get(f"{stack.url}/asyncapi.json").json()
    for channel in document["channels"].values():
        assert channel["address"] in text
    for name, schema in document["components"]["schemas"].items():
        assert name in text
        for field in schema["properties"]:
            assert field in text
    for item in document["x-close-codes"]:
        assert f"{item['code']}\t{item['meaning']}\t{item['client']}" in text
    assert "undefined" not in text
    assert "[object" not in text
    assert complaints == []


def test_a_message_is_a_click_away(page: Page, stack: Stack) -> None:
    page.goto(f"{stack.url}/asyncapi")
    page.get_by_role("link", name="PlatformFrame").first.click()
    assert page.url.endswith("#schema-PlatformFrame")
    expect(page.locator("#schema-PlatformFrame")).to_be_in_viewport()


def test_the_page_fits_a_telephone(page: Page, stack: Stack) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    page.goto(f"{stack.url}/asyncapi")
    expect(page.locator("#document")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
