"""What a first visit of the dashboard takes: ``python -m benchmarks.visit``.

Chromium, with nothing in its cache, logs in to a control plane of its own. Of the page behind the login are
told: requests, bytes as they went over the line, how long it took from the login until the first content was
painted (the browser's own ``PerformancePaintTiming``), and until what is asked of the control plane was seen;
then the same of the page loaded anew. At last the memory of the control plane with many sessions open.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from playwright.sync_api import Browser, BrowserContext, Page

from tests.browser import chromium
from tests.processes import ControlPlane, h2, wait_until

SECONDS = 60
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
# A number of the overview is there; a job of the list is.
SEEN = {"administrator": "main .tiles dd:not(:has-text('…'))", "researcher": "main tbody tr"}


class Visit(NamedTuple):
    """What one visit took; seconds are of the browser's clock, from the navigation on."""

    requests: int
    kilobytes: float
    seconds_to_paint: float
    seconds_to_see: float


class Line:
    """What went over the line to a page."""

    def __init__(self, page: Page) -> None:
        self.sizes: list[float] = []
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        session.on("Network.loadingFinished", self._note)

    def _note(self, event: dict[str, Any]) -> None:
        if event["encodedDataLength"]:  # of what comes from the cache, nothing
            self.sizes.append(event["encodedDataLength"])


def timed(page: Page, line: Line, seen: str) -> Visit:
    """Wait until a page has what it is for, and tell what that took."""
    page.locator(seen).first.wait_for()
    now, painted = page.evaluate(f"[performance.now(), {PAINTED}]")
    return Visit(len(line.sizes), sum(line.sizes) / 1000, painted / 1000, now / 1000)


def enter(browser: Browser, plane: ControlPlane, token: str) -> tuple[BrowserContext, Page]:
    """Come to the login page, and type the token."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
    page = context.new_page()
    page.set_default_timeout(SECONDS * 1000)
    page.goto(f"{plane.url}/dashboard/")
    page.locator("#token").fill(token)
    return context, page


def visits(browser: Browser, plane: ControlPlane, who: str, token: str) -> dict[str, Visit]:
    """Return what a first visit and a second one took."""
    context, page = enter(browser, plane, token)
    line = Line(page)
    page.keyboard.press("Enter")
    found = {f"{who}, first visit": timed(page, line, SEEN[who])}
    line.sizes.clear()
    page.reload()
    found[f"{who}, loaded anew"] = timed(page, line, SEEN[who])
    context.close()
    return found


def megabytes(plane: ControlPlane) -> float:
    """Return the resident memory of the process that serves the dashboard."""
    assert plane.process is not None
    return psutil.Process(plane.process.pid).memory_info().rss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sessions", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        plane = ControlPlane(Path(folder))
        plane.start()
        try:
            plane.worker()
            ada = plane.researcher_token("ada")
            with plane.api(ada) as api:
                job = api.post("/calc/zpe/jobs", json={"content": h2()}).raise_for_status().json()["job_id"]
                wait_until(lambda: api.get(f"/calc/zpe/jobs/{job}").json()["status"] == "finished")
            memory = {"before any visit": megabytes(plane)}
            load = os.getloadavg()[0]
            found = visits(browser, plane, "administrator", plane.admin_token)
            cold = {"the server's first visit of all": found.pop("administrator, first visit")}
            for who, token in {"administrator": plane.admin_token, "researcher": ada}.items():
                found |= visits(browser, plane, who, token)
            memory["after the visits"] = megabytes(plane)
            for _ in range(options.sessions):
                _, page = enter(browser, plane, plane.admin_token)
                page.keyboard.press("Enter")
                page.locator(SEEN["administrator"]).first.wait_for()
            memory[f"with {options.sessions} sessions open"] = megabytes(plane)
        finally:
            plane.stop()
    print(f"{os.cpu_count()} cores, load average {load:.1f} at the beginning\n")
    print("| | requests | kB | first paint / s | seen / s |\n| --- | ---: | ---: | ---: | ---: |")
    for name, visit in (cold | found).items():
        print("| {} | {} | {:.0f} | {:.2f} | {:.2f} |".format(name, *visit))
    print("\n| memory | MB |\n| --- | ---: |")
    for name, size in memory.items():
        print(f"| {name} | {size:.0f} |")


if __name__ == "__main__":
    main()
