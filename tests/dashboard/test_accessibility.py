"""Every page of the dashboard in both themes, judged by axe-core: names, roles, headings, contrast."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.dashboard.test_browser import log_in
from tests.processes import PATIENCE, ControlPlane, h2, wait_until
from zpe_sdk import ZPEClient

TITLES = {
    "overview": "Overview",
    "jobs": "Jobs",
    "new": "New job",
    "workers": "Workers",
    "leases": "Leases",
    "dlq": "Dead letters",
    "researchers": "Researchers",
    "tokens": "Tokens",
    "audit": "Audit trail",
}


@pytest.fixture(scope="module")
def plane_settings() -> dict[str, object]:
    return {"ZPE_RETRY_MAX": 0}


@pytest.fixture(scope="module")
def jobs(control_plane: ControlPlane) -> dict[str, str]:
    """Jobs in several states, by id, with their names; and what else fills the pages."""
    control_plane.researcher_token("ann")
    control_plane.worker("lab-pc-3", ZPE_SLOTS=1)
    with ZPEClient(control_plane.url, control_plane.admin_token) as client:
        done = client.submit(h2(), name="hydrogen", project="gases")
        failed = client.submit(h2("mock: fail=pw_crashed times=always"), name="crashes")
        wait_until(lambda: done.status().status == "finished" and failed.status().status == "failed")
        queued = client.submit(h2(), name="waits", requires={"tags": ["nowhere"]}, calc_mode="new")
    return {done.id: "hydrogen", failed.id: "crashes", queued.id: "waits"}


def violations(page: Page, where: str) -> list[str]:
    """Return what axe-core finds, a line for each element."""
    found: list[dict[str, Any]] = Axe().run(page).response["violations"]
    return [
        f"{where}: {rule['id']} ({rule['impact']}): {node['target']} {node['html'][:150]} "
        f"{[check['message'] for check in node['any'] + node['all'] + node['none']][:1]}"
        for rule in found
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_wrong_on_any_page(
    chromium: Browser, control_plane: ControlPlane, jobs: dict[str, str], scheme: Any
) -> None:
    context = chromium.new_context(
        viewport={"width": 1280, "height": 900}, locale="en-GB", color_scheme=scheme
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE * 1000)
    page.goto(f"{control_plane.url}/dashboard/")
    page.locator("#token").wait_for()
    found = violations(page, "login")
    log_in(page, control_plane.url, control_plane.admin_token)
    expect(page.locator("main h1").first).to_be_visible()
    for place, title in {**TITLES, **{f"job/{job}": name for job, name in jobs.items()}}.items():
        page.evaluate(f"location.hash = '#/{place}'")
        expect(page.locator("main h1")).to_contain_text(title)
        expect(page.get_by_text("Loading …")).to_have_count(0)
        found += violations(page, place)
    context.close()
    assert found == []
