"""Photograph the dashboard: ``python -m scripts.screenshots FOLDER [--narrow] [--dark] [--japanese]``.

Starts a control plane and workers with the mock engine of its own, with jobs in every state.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.browser import NARROW, WIDE, chromium
from tests.processes import ControlPlane, h2, wait_until

PAGES = ["overview", "jobs", "workers", "leases", "dlq", "researchers", "tokens", "audit"]
WATER = """&CONTROL
/
&SYSTEM
  ibrav = 1, A = 8.0, nat = 3, ntyp = 2, ecutwfc = 30.0
/
&ELECTRONS
/
ATOMIC_SPECIES
O 15.999 O.pbe-kjpaw.UPF
H 1.008 H.pbe-kjpaw.UPF
ATOMIC_POSITIONS angstrom
O 4.0 4.0 4.0
H 4.76 4.59 4.0
H 3.24 4.59 4.0
K_POINTS gamma
"""


def fill(plane: ControlPlane) -> dict[str, str]:
    """Let things happen; return ids of jobs to look at from inside."""
    plane.worker("lab-pc-3", ZPE_MOCK_SCF_SECONDS=0.05)
    ada = plane.researcher_token("ada")
    with plane.api(ada) as api:

        def submit(content: str, **more: object) -> str:
            reply = api.post("/calc/zpe/jobs", json={"content": content, "calc_mode": "new", **more})
            return str(reply.raise_for_status().json()["job_id"])

        def status(job: str) -> str:
            return str(api.get(f"/calc/zpe/jobs/{job}").json()["status"])

        done = submit(WATER, name="water <in> a box")
        lost = submit(h2("mock: fail=bad_input task=1 times=always"), name="H2, 水素分子のテスト計算")
        crashed = submit(h2("mock: fail=scf_not_converged task=2 times=always"), name="H2 on the way")
        wait_until(
            lambda: [status(job) for job in (done, lost, crashed)] == ["finished", "failed", "failed"], 60
        )
        api.post(f"/calc/zpe/jobs/{submit(h2(), name='not that one')}/cancel")
        plane.worker("hpc-login-1", ZPE_MOCK_SCF_SECONDS=600, ZPE_SLOTS=2)
        plane.workers[0].terminate()
        running = submit(WATER, name="a long one", symmetry=False, priority=5)
        for n in range(30):
            submit(h2(), name=f"H2, distance {n}")
        with plane.api() as admin:
            wait_until(lambda: len(admin.get("/calc/zpe/compute/leases").json()["leases"]) > 0, 60)
        return {"finished": done, "failed": lost, "running": running}


def main() -> None:
    """Start everything, take the pictures, end everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--narrow", action="store_true", help="390 px wide, as a telephone is")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--japanese", action="store_true")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    size = NARROW if options.narrow else WIDE
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        plane = ControlPlane(Path(folder), {"ZPE_RETRY_MAX": 1, "ZPE_RETRY_BASE_DELAY_SECONDS": 0})
        plane.start()
        try:
            inside = fill(plane)
            page = browser.new_page(
                viewport=size,
                color_scheme="dark" if options.dark else "light",
                locale="ja-JP" if options.japanese else "en-GB",
            )
            page.goto(f"{plane.url}/dashboard/")
            page.screenshot(path=options.folder / "login.png")
            page.locator("#token").fill(plane.admin_token)
            page.keyboard.press("Enter")
            page.locator("main dt").first.wait_for()
            for place in [*PAGES, *(f"job/{job}" for job in inside.values())]:
                page.evaluate(f"location.hash = '#/{place}'")
                # Two looks at the control plane: numbers stand there, plots have their ranges.
                page.wait_for_timeout(4500)
                # The page scrolls within the window: the window has to grow to show all of it.
                height = page.locator(".main-content").evaluate("node => node.scrollHeight") + 20
                page.set_viewport_size({**size, "height": max(size["height"], height)})
                page.wait_for_timeout(500)
                name = {f"job/{job}": f"job-{kind}" for kind, job in inside.items()}.get(place, place)
                page.screenshot(path=options.folder / f"{name}.png")
                page.set_viewport_size(size)
        finally:
            plane.stop()


if __name__ == "__main__":
    main()
