"""Every page of the dashboard, judged by axe-core: names, roles, headings, contrast.

In both themes, on a desk and on a telephone, in both languages; of administrators, researchers and observers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser import DESK, JAPANESE, NARROW, NIGHT, TELEPHONE, Look, log_in, named
from tests.processes import ControlPlane, h2, wait_until
from zpe_dashboard.pages import listed
from zpe_dashboard.words import Words
from zpe_sdk import ZPEClient

TITLES = listed("admin")
# More than a page of jobs, more of all others than fit onto a screen.
JOBS = 28
OTHERS = 8


@pytest.fixture(scope="module")
def plane_settings() -> dict[str, object]:
    return {"ZPE_RETRY_MAX": 0}


@pytest.fixture(scope="module")
def ann(control_plane: ControlPlane) -> str:
    """The token of a researcher."""
    return control_plane.researcher_token("ann")


@pytest.fixture(scope="module")
def jobs(control_plane: ControlPlane, ann: str) -> dict[str, str]:
    """Jobs in several states, by id, with their names; and what else fills the pages."""
    control_plane.worker("lab-pc-3", ZPE_SLOTS=1)
    with ZPEClient(control_plane.url, ann) as client:
        done = client.submit(h2(), name="hydrogen", project="gases")
        dead = [
            client.submit(h2("mock: fail=pw_crashed times=always"), name=f"crashes, {n}")
            for n in range(OTHERS)
        ]
        # The worker does not take them.
        queued = [
            client.submit(
                h2(), name=f"a name that goes on and on, 水素分子のテスト計算 {n}", engine="espresso"
            )
            for n in range(JOBS)
        ]
        wait_until(
            lambda: {job.status().status for job in dead} | {done.status().status} == {"failed", "finished"}
        )
    for n in range(OTHERS):
        control_plane.register(name=f"node-{n}", meta={"host": f"node-{n}.cluster.example.org"})
        control_plane.researcher_token(f"person-{n}")
        control_plane.enroll_token()
    return {done.id: "hydrogen", dead[0].id: "crashes, 0", queued[0].id: "a name that goes on and on"}


class Tab:
    """Somebody's tab of the dashboard, and what axe-core finds wrong in it, a line for each element."""

    def __init__(self, page: Page, words: Words) -> None:
        self.page = page
        self.words = words
        self.found: list[str] = []

    def judge(self, where: str) -> None:
        """Have axe-core look at what is shown, and at what is folded away."""
        self.page.locator("details").evaluate_all("all => all.forEach(each => { each.open = true })")
        violations: list[dict[str, Any]] = Axe().run(self.page).response["violations"]
        self.found += [
            f"{where}: {rule['id']} ({rule['impact']}): {node['target']} {node['html'][:150]} "
            f"{[check['message'] for check in node['any'] + node['all'] + node['none']][:1]}"
            for rule in violations
            for node in rule["nodes"]
        ]

    def go(self, place: str, title: str) -> None:
        """Open a page, and wait for what is on it."""
        self.page.evaluate(f"location.hash = '#/{place}'")
        expect(self.page.locator("main h1")).to_contain_text(title)
        expect(self.page.get_by_text(self.words("Loading …"))).to_have_count(0)

    def press(self, name: str) -> None:
        """Press a button, by what it is called in English, maybe with what it is about behind a colon."""
        label, colon, about = name.partition(": ")
        self.page.get_by_role("button", name=self.words(label) + colon + about, exact=True).click()


@contextmanager
def visit(chromium: Browser, plane: ControlPlane, look: Look, token: str) -> Iterator[Tab]:
    """Log in, and tell at the end what was wrong anywhere."""
    page = look.page(chromium)
    tab = Tab(page, Words(look.language))
    log_in(page, plane.url, token)
    yield tab
    page.context.close()
    assert tab.found == []


@pytest.mark.parametrize("look", [DESK, NIGHT, TELEPHONE, JAPANESE], ids=named)
def test_axe_finds_nothing_wrong_on_any_page(
    chromium: Browser, control_plane: ControlPlane, jobs: dict[str, str], look: Look
) -> None:
    with visit(chromium, control_plane, look, control_plane.admin_token) as tab:
        for place, title in TITLES.items():
            tab.go(place, tab.words(title))
            tab.judge(place)
        for job, name in jobs.items():
            tab.go(f"job/{job}", name)
            tab.judge(name)


@pytest.mark.parametrize("look", [DESK, JAPANESE], ids=named)
def test_axe_finds_nothing_wrong_in_any_dialog_nor_at_the_door(
    chromium: Browser, control_plane: ControlPlane, jobs: dict[str, str], look: Look
) -> None:
    with visit(chromium, control_plane, look, control_plane.admin_token) as tab:
        page, w = tab.page, tab.words
        dialog = page.get_by_role("dialog")

        def judge(what: str, leave: str = "Back") -> None:
            # It fades in: until then its contrast is another.
            expect(page.locator(".MuiDialog-container")).to_have_css("opacity", "1")
            tab.judge(what)
            dialog.get_by_role("button", name=w(leave), exact=True).click()
            expect(dialog).to_have_count(0)

        page.get_by_role("switch", name=w("New jobs are accepted")).click()
        judge("stop submission")
        tab.go("tokens", w("Tokens"))
        tab.press("Make enroll token")
        judge("a new token", "Done")
        tab.press("Revoke: person-0")
        judge("revoke a token")
        tab.go("workers", w("Workers"))
        tab.press("Revoke: node-0")
        judge("revoke a worker")
        tab.go("researchers", w("Researchers"))
        tab.press("Change: ann")
        judge("change a researcher")
        tab.go("jobs?status=queued", w("Jobs"))
        tab.press("Cancel these jobs")
        judge("cancel jobs")
        tab.go("dlq", w("Dead letters"))
        page.get_by_role("checkbox", name="crashes, 0", exact=True).check()
        tab.press("Discard selected")
        judge("discard jobs")
        if look.size == NARROW:
            page.get_by_role("banner").get_by_role("button").first.click()
            page.get_by_role("navigation", name=w("Pages")).wait_for()
            tab.judge("the list of pages")
            page.keyboard.press("Escape")
        page.goto(f"{control_plane.url}/dashboard/login")
        page.locator("#token").fill("wrong")
        page.keyboard.press("Enter")
        page.get_by_role("alert").wait_for()
        tab.judge("login")


def test_axe_finds_nothing_wrong_where_researchers_and_observers_are(
    chromium: Browser, control_plane: ControlPlane, jobs: dict[str, str], ann: str
) -> None:
    done = next(iter(jobs))
    with visit(chromium, control_plane, NIGHT, ann) as tab:
        tab.go("jobs", "Jobs")
        tab.judge("her jobs")
        tab.go(f"job/{done}", "hydrogen")
        tab.judge("her result")
        tab.go("new", "New job")
        tab.page.get_by_label("A pw.x input").fill(h2())
        tab.press("Show what it would take")
        tab.page.get_by_role("img", name="The structure").wait_for()
        tab.judge("a plan")
    with control_plane.api() as api:
        reply = api.post("/calc/zpe/admin/tokens", json={"owner": "olga", "role": "observer"})
    with visit(chromium, control_plane, TELEPHONE, reply.raise_for_status().json()["token"]) as tab:
        for place in ("overview", "workers", "dlq", "researchers", "tokens"):
            tab.go(place, TITLES[place])
            tab.judge(f"{place} of an observer")
