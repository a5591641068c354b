"""Photograph the dashboard: ``python -m scripts.screenshots FOLDER [--look night] [--pages overview jobs]``.

Starts a control plane of its own, and workers with pw.x; jobs have finished, failed, run and wait. In
docs/dashboard are the desk's of ``overview jobs new finished running workers dlq tokens``, the overview by
night, and the workers in Japanese.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path

from ase.build import molecule
from PIL import Image
from playwright.sync_api import Page

from tests.browser import DESK, JAPANESE, NIGHT, TELEPHONE, chromium, log_in
from tests.processes import ControlPlane, wait_until
from zpe_sdk import ZPEClient

LOOKS = {"desk": DESK, "night": NIGHT, "telephone": TELEPHONE, "japanese": JAPANESE}
JOBS = ["finished", "failed", "running"]
PAGES = ["overview", "jobs", "new", *JOBS, "workers", "leases", "dlq", "researchers", "tokens", "audit"]
SLAB = Path("benchmarks/inputs/co_al111.in").read_text()
WAITING = ["H2O2", "C2H2", "C2H4", "CH3OH", "H2CO", "HCN", "N2H4", "CO2", "CH4", "NH3", "H2"]


def fill(plane: ControlPlane) -> dict[str, str]:
    """Let things happen; return ids of jobs to look at from inside."""
    pw = {"ZPE_WORKER_MODE": "qe", "ZPE_PSEUDO_DIR": "/usr/share/espresso/pseudo"}
    plane.worker("lab-pc-3", **pw)
    rough = {"ecutwfc": 25, "ecutrho": 150}
    tokens = {name: plane.researcher_token(name) for name in ("ada", "bob")}
    with ZPEClient(plane.url, tokens["ada"]) as ada, ZPEClient(plane.url, tokens["bob"]) as bob:
        wait_until(lambda: any(worker.engine for worker in ada.workers.all().targets))
        done = ada.submit(molecule("H2O", vacuum=3), name="water", relax=True, **rough)
        lost = bob.submit(SLAB, name="CO on Al(111), in a hurry", requires={"max_scf_seconds": 2})
        wait_until(lambda: (done.status().status, lost.status().status) == ("finished", "failed"))
        plane.workers.pop().terminate()
        plane.worker("hpc-login-1", ZPE_SLOTS=2, ZPE_TAGS="bigmem", **pw)
        running = ada.submit(SLAB, name="CO on Al(111), top", mobile=[12, 13], priority=5)
        wait_until(lambda: bool(running.status().running))
        for name in WAITING:
            bob.submit(molecule(name, vacuum=3), name=name, project="screening", **rough)
        return {"finished": done.id, "failed": lost.id, "running": running.id}


def prepare(page: Page, name: str) -> None:
    """Do on a page what makes it show what it is for."""
    if name == "new":
        page.get_by_role("textbox").first.fill(SLAB)
        page.locator("main button").filter(has_text="Show what it would take").click()
        page.locator("main dt").first.wait_for()
        page.get_by_text("Nothing is submitted yet.").wait_for(state="hidden")
    elif name == "tokens":
        page.get_by_role("textbox").first.fill("lab-pc-4")
        page.get_by_role("button", name="Make enroll token").click()
        page.get_by_role("dialog").wait_for()
    elif name in ("workers", "dlq"):
        page.locator("main details summary").first.click()


def photograph(page: Page, file: Path) -> None:
    """Take a picture of all that is on a page, in few colours."""
    size = page.viewport_size
    assert size is not None
    # The page scrolls within the window: the window has to grow to show all of it.
    height = page.locator(".main-content").evaluate("node => node.scrollHeight") + 20
    page.set_viewport_size({**size, "height": max(size["height"], height)})
    page.wait_for_timeout(500)
    # A token is not for pictures, whatever has become of what it was for.
    taken = page.screenshot(mask=[page.get_by_role("dialog").locator("pre").first], mask_color="#9aa4b5")
    Image.open(io.BytesIO(taken)).convert("RGB").quantize(256).save(file, optimize=True)
    page.set_viewport_size(size)


def main() -> None:
    """Start everything, take the pictures, end everything."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--look", choices=LOOKS, default="desk")
    parser.add_argument("--pages", nargs="+", choices=PAGES, default=PAGES)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    suffix = "" if options.look == "desk" else f"-{options.look}"
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        plane = ControlPlane(
            Path(folder),
            {"ZPE_RETRY_MAX": 1, "ZPE_RETRY_BASE_DELAY_SECONDS": 0, "ZPE_DEFAULT_ENGINE": "espresso"},
        )
        plane.start()
        try:
            jobs = fill(plane)
            page = LOOKS[options.look].page(browser)
            log_in(page, plane.url, plane.admin_token)
            for name in options.pages:
                page.evaluate(f"location.hash = '#/{f'job/{jobs[name]}' if name in jobs else name}'")
                # Two looks at the control plane: numbers stand there, plots have their ranges.
                page.wait_for_timeout(4500)
                prepare(page, name)
                page.wait_for_timeout(1500)
                photograph(page, options.folder / f"{name}{suffix}.png")
                if name == "tokens":
                    page.get_by_role("dialog").get_by_role("button", name="Done").click()
        finally:
            plane.stop()


if __name__ == "__main__":
    main()
