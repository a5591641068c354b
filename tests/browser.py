"""A real browser for tests, benchmarks and screenshots."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from tests.processes import PATIENCE
from zpe_dashboard.words import Language

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
]
WIDE: ViewportSize = {"width": 1280, "height": 900}
NARROW: ViewportSize = {"width": 390, "height": 844}


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run the system's Chromium, without a window, for the ``with`` block."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        yield browser
        browser.close()


class Look(NamedTuple):
    """What a browser is like."""

    scheme: Literal["light", "dark"]
    size: ViewportSize
    language: Language

    def page(self, chromium: Browser) -> Page:
        """Open a page in such a browser, with a context of its own."""
        context = chromium.new_context(
            viewport=self.size,
            color_scheme=self.scheme,
            locale={"en": "en-GB", "ja": "ja-JP"}[self.language],
            reduced_motion="reduce",
        )
        page = context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        return page


DESK, NIGHT = Look("light", WIDE, "en"), Look("dark", WIDE, "en")
TELEPHONE, JAPANESE = Look("light", NARROW, "en"), Look("dark", NARROW, "ja")


def named(look: Look) -> str:
    """Return what a look is called among the names of tests."""
    return f"{look.scheme}, {look.size['width']} px, {look.language}"


def log_in(page: Page, url: str, token: str, place: str = "") -> None:
    """Go to a place in the dashboard, through the door, and wait until it is there."""
    page.goto(f"{url}/dashboard/{place}")
    page.locator("#token").fill(token)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/dashboard/(#.*)?$"))
    arrive(page)


def arrive(page: Page) -> None:
    """Wait until the content has taken the place of the frame."""
    page.locator("#frame").wait_for(state="detached")
