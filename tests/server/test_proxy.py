"""The files of deploy/nginx, with real nginx in front of a real control plane."""

from __future__ import annotations

import json
import shutil
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import trustme
from playwright.sync_api import Browser

from tests.processes import ControlPlane, Process, free_port, h2, wait_until

DEPLOY = Path(__file__).parents[2] / "deploy" / "nginx"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
UI = "https://ui.example.org"
AROUND = """daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{site}
}}
"""

pytestmark = pytest.mark.skipif(not NGINX, reason="no nginx: scripts/test installs it")


@pytest.fixture(scope="module")
def plane_settings() -> dict[str, object]:
    return {"ZPE_COMPUTE_MODE": "mock", "ZPE_CORS_ORIGINS": f"loopback, {UI}"}


@pytest.fixture(scope="module")
def others() -> Iterator[int]:
    """The port of the other service of a web interface: it has structures, and a parser of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"service": "another", "path": self.path}).encode()
            self.send_response(200)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@dataclass
class Proxy:
    """nginx with one of our files, on ports of its own."""

    plain: int
    secure: int
    trust: ssl.SSLContext

    def client(self, token: str = "") -> httpx.Client:
        return httpx.Client(
            base_url=f"https://127.0.0.1:{self.secure}",
            headers={"Authorization": f"Bearer {token}"} if token else {},
            verify=self.trust,
            timeout=60,
        )


@pytest.fixture
def proxy(
    request: pytest.FixtureRequest, control_plane: ControlPlane, others: int, tmp_path: Path
) -> Iterator[Proxy]:
    """One of the files, with the places in it that its text says have to be replaced."""
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1")
    server.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    server.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    found = Proxy(free_port(), free_port(), trust)
    site = (DEPLOY / request.param).read_text()
    for ours, here in {
        "/etc/zpe/": f"{tmp_path}/",
        "zpe.example.org": "127.0.0.1",
        "127.0.0.1:8000": f"127.0.0.1:{control_plane.port}",
        "127.0.0.1:9000": f"127.0.0.1:{others}",
        "listen 80;": f"listen 127.0.0.1:{found.plain};",
        "listen 443 ": f"listen 127.0.0.1:{found.secure} ",
    }.items():
        site = site.replace(ours, here)
    (tmp_path / "nginx.conf").write_text(AROUND.format(folder=tmp_path, site=site))
    command = [str(NGINX), "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
    with Process(command, tmp_path / "nginx.log") as running, found.client() as client:

        def answers() -> bool:
            with suppress(httpx.TransportError):
                return client.get("/readyz").status_code == 200
            return False

        wait_until(answers)
        yield found
        running.terminate()


@pytest.mark.parametrize("proxy", ["zpe.conf", "zpe-and-others.conf"], indirect=True)
def test_a_worker_and_a_researcher_find_the_control_plane_behind_it(
    control_plane: ControlPlane, proxy: Proxy
) -> None:
    with (
        proxy.client(control_plane.researcher_token("ada")) as ada,
        proxy.client(control_plane.register()["worker_token"]) as node,
    ):
        job = ada.post("/calc/zpe/jobs", json={"content": h2()}).raise_for_status().json()["job_id"]
        path = f"/calc/zpe/jobs/{job}"
        while ada.get(path, params={"wait_seconds": 20}).json()["status"] != "finished":
            pass
        assert ada.get(f"{path}/files?kind=freqs").text.startswith("frequency_cm^-1")
        assert node.post("/calc/zpe/compute/jobs/lease", json={"wait_seconds": 1}).status_code == 204
        assert ada.post("/calc/zpe/parse", content=bytes(66 * 2**20)).status_code == 413
    moved = httpx.get(f"http://127.0.0.1:{proxy.plain}/calc/zpe/jobs")
    assert (moved.status_code, moved.headers["location"]) == (308, "https://127.0.0.1/calc/zpe/jobs")


@pytest.mark.parametrize("proxy", ["zpe-and-others.conf"], indirect=True)
def test_each_service_answers_for_its_own_calls(control_plane: ControlPlane, proxy: Proxy) -> None:
    with proxy.client(control_plane.researcher_token("ada")) as ada:
        assert ada.post("/parse", json={"content": h2()}).json() == {"service": "another", "path": "/parse"}
        assert ada.get("/structures/7c1f?format=bcif").json()["path"] == "/structures/7c1f?format=bcif"
        assert ada.get("/health").json()["service"] == "another"
        assert len(ada.post("/calc/zpe/parse", json={"content": h2()}).json()["structure"]["atoms"]) == 2
        assert ada.get("/healthz").json() == {"ok": True}
        asked = {"Origin": UI, "Access-Control-Request-Method": "POST"}
        allowed = ada.options("/calc/zpe/jobs", headers=asked).headers["access-control-allow-origin"]
        assert allowed == UI


# As a page does that has one address for all that it calls.
CALLS = """async ({api, token, content}) => {
  const headers = {Authorization: `Bearer ${token}`, "Content-Type": "application/json"}
  const call = async (path, body) => (await fetch(api + path,
    body ? {method: "POST", headers, body: JSON.stringify(body)} : {headers})).json()
  const structure = await fetch(api + "/structures/7c1f")
  const {job_id} = await call("/calc/zpe/jobs", {content})
  let job
  do { job = await call(`/calc/zpe/jobs/${job_id}?wait_seconds=20`) }
  while (!["finished", "failed"].includes(job.status))
  return [(await structure.json()).service, job.status]
}"""


@pytest.mark.parametrize("proxy", ["zpe-and-others.conf"], indirect=True)
def test_a_page_of_another_origin_has_one_address_for_all(
    control_plane: ControlPlane, others: int, proxy: Proxy, chromium: Browser
) -> None:
    way = {
        "api": f"https://127.0.0.1:{proxy.secure}",
        "token": control_plane.researcher_token("ada"),
        "content": h2(),
    }
    page = chromium.new_page(ignore_https_errors=True)
    page.goto(f"http://127.0.0.1:{others}/")
    assert page.evaluate(CALLS, way) == ["another", "finished"]
    page.close()
