"""A web page of another origin that calls the API, in a real browser."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page

from tests.processes import ControlPlane, h2

UI = "https://ui.example.org"
# As a web interface does: look into the input, submit, poll, fetch the result and a file.
WHOLE_WAY = """async ({api, token, content}) => {
  const headers = {Authorization: `Bearer ${token}`, "Content-Type": "application/json"}
  const call = async (path, body) => {
    const options = body ? {method: "POST", headers, body: JSON.stringify(body)} : {headers}
    const reply = await fetch(api + path, options)
    if (!reply.ok) throw new Error(`${path}: ${reply.status}`)
    return reply
  }
  const parsed = await (await call("/calc/zpe/parse", {content})).json()
  const {job_id} = await (await call("/calc/zpe/jobs", {content})).json()
  let job
  do { job = await (await call(`/calc/zpe/jobs/${job_id}?wait_seconds=20`)).json() }
  while (!["finished", "failed", "cancelled"].includes(job.status))
  const {result} = await (await call(`/calc/zpe/jobs/${job_id}/result`)).json()
  const file = await call(`/calc/zpe/jobs/${job_id}/files?kind=freqs`)
  return {
    atoms: parsed.structure.atoms.length, status: job.status, modes: result.freqs_cm.length,
    name: file.headers.get("content-disposition"), csv: (await file.text()).length,
  }
}"""


@pytest.fixture(scope="module")
def plane_settings() -> dict[str, object]:
    return {"ZPE_COMPUTE_MODE": "mock", "ZPE_CORS_ORIGINS": f"loopback, {UI}/"}


@pytest.fixture
def page(tmp_path: Path, chromium: Browser) -> Iterator[Page]:
    """A page that another server of this machine serves."""
    (tmp_path / "index.html").write_text("<title>A web interface</title>")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = chromium.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        yield page
        page.close()
        server.shutdown()


def way(plane: ControlPlane) -> dict[str, Any]:
    return {"api": plane.url, "token": plane.researcher_token("ada"), "content": h2("cross origin")}


def test_a_page_of_an_allowed_origin_goes_the_whole_way(control_plane: ControlPlane, page: Page) -> None:
    found = page.evaluate(WHOLE_WAY, way(control_plane))
    assert found == {
        "atoms": 2,
        "status": "finished",
        "modes": 6,
        "name": 'attachment; filename="freqs.csv"',
        "csv": found["csv"],
    }
    assert found["csv"] > 0


def test_a_page_of_an_allowed_origin_reads_why_a_call_was_refused(
    control_plane: ControlPlane, page: Page
) -> None:
    code = page.evaluate(
        "async api => (await (await fetch(api + '/calc/zpe/jobs')).json()).error.code", control_plane.url
    )
    assert code == "no_token"


def test_a_page_of_another_origin_reaches_nothing(
    own_control_plane: Callable[..., ControlPlane], page: Page
) -> None:
    plane = own_control_plane(ZPE_CORS_ORIGINS=UI)
    failed = page.evaluate("api => fetch(api + '/healthz').then(() => null, e => e.name)", plane.url)
    assert failed == "TypeError"


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [(UI, UI), ("https://ui.example.org.evil.example", None), ("https://evil.example", None), ("null", None)],
)
def test_only_named_origins_are_let_in_and_never_their_cookies(
    control_plane: ControlPlane, origin: str, allowed: str | None
) -> None:
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    reply = httpx.options(f"{control_plane.url}/calc/zpe/jobs", headers=asked)
    assert reply.headers.get("access-control-allow-origin") == allowed
    assert "access-control-allow-credentials" not in reply.headers
