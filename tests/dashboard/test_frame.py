"""The frame of a page: bar, list of pages and heading, before any script has come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser import DESK, JAPANESE, NIGHT, TELEPHONE, WIDE, Look, arrive, named
from tests.processes import ControlPlane, h2
from zpe_dashboard.words import Words

# Where all is that a frame shows, through all shadow roots: left, top and height, by what it is and says.
PLACES = """() => {
  const found = {}
  const look = root => {
    for (const node of root.querySelectorAll("*")) {
      if (node.shadowRoot) look(node.shadowRoot)
      const ours = "header, header svg, header a, nav a, nav a span, .out, h1"
      if (!node.matches(ours) || !node.checkVisibility()) continue
      const {left, top, height} = node.getBoundingClientRect()
      const name = node.matches("svg") ? "drawing" : `${node.localName} ${node.textContent.trim()}`
      ;(found[name] ??= []).push(left, top, height)
    }
  }
  look(document)
  return found
}"""

BOX = "node => { const {left, top, height} = node.getBoundingClientRect(); return [left, top, height] }"


class Held:
    """A page whose scripts and styles do not come until they are let through."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._held: list[Route] = []
        self._free = False
        page.route("**/static/**", self._take)

    def _take(self, route: Route) -> None:
        if self._free:
            route.continue_()
        else:
            self._held.append(route)

    def let_through(self) -> None:
        """Let them come, and wait until the content has taken the place of the frame."""
        self._free = True
        for route in self._held:
            route.continue_()
        arrive(self.page)


@contextmanager
def held(chromium: Browser, plane: ControlPlane, look: Look, place: str = "") -> Iterator[Held]:
    """Log in to a page without scripts."""
    page = look.page(chromium)
    page.goto(f"{plane.url}/dashboard/{place}")
    page.locator("#token").fill(plane.admin_token)
    waiting = Held(page)
    page.keyboard.press("Enter")
    page.locator("#frame h1:visible").wait_for()
    yield waiting
    page.context.close()


@pytest.mark.parametrize("look", [DESK, NIGHT, TELEPHONE, JAPANESE], ids=named)
def test_what_is_seen_before_any_script_has_come_stays_where_it_is(
    chromium: Browser, control_plane: ControlPlane, look: Look
) -> None:
    words = Words(look.language)
    with held(chromium, control_plane, look) as waiting:
        page = waiting.page
        expect(page.get_by_role("heading", level=1)).to_have_text(words("Overview"))
        expect(page.get_by_role("banner")).to_contain_text("ZPE")
        expect(page.get_by_role("status")).to_have_text(words("Loading …"))
        wide = look.size == WIDE
        expect(page.get_by_role("link", name=words("Dead letters"))).to_have_count(1 if wide else 0)
        violations = Axe().run(page).response["violations"]
        assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in violations] == []
        first: dict[str, Any] = page.evaluate(PLACES)
        background = page.locator("#frame").evaluate("node => getComputedStyle(node).backgroundColor")
        waiting.let_through()
        then = page.evaluate(PLACES)
        assert {name: then.get(name) for name in first} == {
            name: pytest.approx(place, abs=0.6) for name, place in first.items()
        }
        assert page.locator("main").evaluate("node => getComputedStyle(node).backgroundColor") == background
        expect(page.get_by_role("heading", level=1)).to_have_text(words("Overview"))


def test_the_frame_names_the_page_that_was_asked_for(chromium: Browser, control_plane: ControlPlane) -> None:
    with held(chromium, control_plane, DESK, "#/dlq?code=pw_crashed") as waiting:
        page = waiting.page
        heading, here = page.get_by_role("heading", level=1), page.locator("nav [aria-current=page]")
        expect(heading).to_have_text("Dead letters")
        expect(here).to_have_text("Dead letters")
        page.get_by_role("link", name="Workers").click()
        expect(heading).to_have_text("Workers")
        page.evaluate("location.hash = '#/job/0123abcd'")
        expect(heading).to_have_text("Job")
        expect(here).to_have_text("Jobs")
        page.evaluate("location.hash = '#/nowhere'")
        expect(heading).to_have_text("Overview")
        page.get_by_role("link", name="Tokens").click()
        waiting.let_through()
        expect(heading).to_have_text("Tokens")


def test_the_name_of_a_job_comes_to_where_the_frame_has_its_heading(
    chromium: Browser, control_plane: ControlPlane
) -> None:
    with control_plane.api() as api:
        reply = api.post("/calc/zpe/jobs", json={"content": h2(), "name": "hydrogen"})
    with held(chromium, control_plane, DESK, f"#/job/{reply.raise_for_status().json()['job_id']}") as waiting:
        heading = waiting.page.get_by_role("heading", level=1)
        expect(heading).to_have_text("Job")
        first = heading.evaluate(BOX)
        waiting.let_through()
        expect(heading).to_contain_text("hydrogen")
        assert heading.evaluate(BOX) == pytest.approx(first, abs=0.6)


def test_it_says_so_if_the_scripts_do_not_come(chromium: Browser, control_plane: ControlPlane) -> None:
    with held(chromium, control_plane, DESK) as waiting:
        waiting.page.unroute_all()
        waiting.page.route("**/static/**", lambda route: route.abort())
        waiting.page.reload()
        expect(waiting.page.get_by_role("status")).to_have_text(
            "The page could not be loaded. Please load it again."
        )
