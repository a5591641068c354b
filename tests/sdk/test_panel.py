"""The client in a callback of a real Panel server, whose button is pressed in a real browser."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.processes import PATIENCE, ControlPlane, Process, environment, free_port, h2, wait_until
from zpe_sdk import ZPEClient

APP = """
import sys
import panel as pn
from zpe_sdk import AsyncZPEClient, ZPEClient

def blocking(event):
    with ZPEClient() as client:
        shown.object = f"ZPE {client.submit(sys.argv[2]).wait(240).result().zpe_ev:.6f} eV"

async def awaited(event):
    async with AsyncZPEClient() as client:
        job = await client.submit(sys.argv[2])
        shown.object = f"ZPE {(await (await job.wait(240)).result()).zpe_ev:.6f} eV"

def app():
    global shown
    button, shown = pn.widgets.Button(name="Compute"), pn.pane.Str("nothing yet")
    button.on_click(awaited if sys.argv[3] == "awaited" else blocking)
    return pn.Column(button, shown)

if sys.argv[3] == "threads":
    pn.extension(nthreads=2)
pn.serve(app, port=int(sys.argv[1]), show=False)
"""


@pytest.fixture(scope="module")
def zpe(control_plane: ControlPlane) -> str:
    """The ZPE of the job, as a plain script gets it."""
    control_plane.worker()
    with ZPEClient(control_plane.url, control_plane.admin_token) as client:
        return f"{client.submit(h2()).wait(PATIENCE, progress=False).result().zpe_ev:.6f}"


@pytest.mark.parametrize("kind", ["blocking", "threads", "awaited"])
def test_a_button_shows_the_zpe(
    kind: str, zpe: str, control_plane: ControlPlane, chromium: Browser, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(APP)
    port = free_port()
    log = tmp_path / "app.log"
    command = [sys.executable, tmp_path / "app.py", str(port), h2(), kind]
    variables = environment(ZPE_CONTROL_API_URL=control_plane.url, ZPE_TOKEN=control_plane.admin_token)

    def serves() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/").is_success
        except httpx.TransportError:
            return False

    with Process(command, log, env=variables):
        wait_until(serves)
        page = chromium.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        page.get_by_role("button", name="Compute").click()
        expect(page.get_by_text(re.compile(r"^ZPE "))).to_have_text(f"ZPE {zpe} eV", timeout=PATIENCE * 1000)
        page.close()
        assert "Traceback" not in log.read_text()
