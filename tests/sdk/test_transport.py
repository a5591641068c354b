"""The way to a control plane: proxies, certificates, addresses with the wrong beginning."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import httpx
import pytest
import trustme

from tests.processes import PATIENCE, ZPE, environment
from zpe_sdk import ZPEClient
from zpe_sdk.errors import ConfigError
from zpe_sdk.transport import proxy_for

if TYPE_CHECKING:
    from tests.processes import ControlPlane

TOKEN = "zpe_api_" + "t" * 40
ELSEWHERE = "zpe.example.org"
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
# Long enough that whoever waits is caught by the test's own patience.
NEVER = "36000"


class Proxy(ThreadingHTTPServer):
    """A proxy that writes down what it is told, and refuses it."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        super().__init__(("127.0.0.1", 0), ProxyHandler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class ProxyHandler(BaseHTTPRequestHandler):
    server: Proxy

    def do_GET(self) -> None:
        self._refuse()

    def do_POST(self) -> None:
        self._refuse()

    def do_CONNECT(self) -> None:
        self._refuse()

    def _refuse(self) -> None:
        self.server.heard.append(f"{self.requestline}\n{self.headers}")
        self.send_error(407)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as server:
        Thread(target=server.serve_forever).start()
        yield server
        server.shutdown()


Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run the command line or a worker with an address; return all it says, the exit status first."""

    def run(who: str, url: str, **settings: object) -> str:
        command = {
            "cli": [ZPE, "--retry-seconds", NEVER, "jobs"],
            "worker": [sys.executable, "-m", "zpe_sdk.worker"],
        }[who]
        own = {
            "ZPE_CONTROL_API_URL": url,
            "ZPE_TOKEN": TOKEN,
            "ZPE_WORKER_TOKEN": TOKEN,
            "ZPE_WORKER_MODE": "mock",
            "ZPE_WORK_DIR": tmp_path / "work",
            "ZPE_DRAIN": 1,
            "XDG_CONFIG_HOME": tmp_path,
        }
        kept = {name: value for name, value in environment().items() if name.lower() not in PROXIES}
        done = subprocess.run(
            command,
            env=kept | {name: str(value) for name, value in (own | settings).items()},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert "Traceback" not in done.stderr
        assert TOKEN not in done.stdout + done.stderr
        return f"{done.returncode}\n{done.stdout}{done.stderr}"

    return run


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_this_machine_is_never_reached_through_a_proxy(
    variable: str, run: Run, proxy: Proxy, control_plane: ControlPlane
) -> None:
    for value in (proxy.url, "socks5://127.0.0.1:1"):
        said = run("cli", control_plane.url, **{variable: value, "ZPE_TOKEN": control_plane.admin_token})
        assert said.startswith("0\n"), said
    worker = str(control_plane.register()["worker_token"])
    said = run("worker", control_plane.url, **{variable: proxy.url, "ZPE_WORKER_TOKEN": worker})
    assert said.startswith("0\n"), said
    assert proxy.heard == []


@pytest.mark.parametrize("who", ["cli", "worker"])
def test_no_token_goes_through_a_proxy_over_plain_http(who: str, run: Run, proxy: Proxy) -> None:
    for variable in ("http_proxy", "all_proxy"):
        said = run(who, f"http://{ELSEWHERE}:8000", **{variable: proxy.url, "ZPE_INSECURE": 1})
        assert said.startswith("1\n")
        assert "[config/insecure_proxy]" in said
        assert ELSEWHERE in said
    assert proxy.heard == []


@pytest.mark.parametrize("who", ["cli", "worker"])
def test_a_proxy_for_https_sees_the_name_of_the_control_plane_alone(who: str, run: Run, proxy: Proxy) -> None:
    said = run(who, f"https://{ELSEWHERE}", https_proxy=proxy.url)
    assert said.startswith("1\n")  # at once: it will not let anybody through
    assert "[config/bad_proxy]" in said
    assert "407" in said
    assert proxy.heard
    assert all(request.startswith(f"CONNECT {ELSEWHERE}:443 ") for request in proxy.heard)
    assert TOKEN not in "".join(proxy.heard)


@pytest.mark.parametrize("who", ["cli", "worker"])
@pytest.mark.parametrize("value", ["socks5://127.0.0.1:1080", "socks4://127.0.0.1:1080", "http://", "::"])
def test_a_proxy_that_cannot_be_used_is_one_line(who: str, value: str, run: Run) -> None:
    said = run(who, f"https://{ELSEWHERE}", ALL_PROXY=value)
    assert said.startswith("1\n")
    lines = said.splitlines()[1:]
    assert len(lines) == 1
    assert "ALL_PROXY" in lines[0]
    assert "[config/bad_proxy]" in lines[0]


def test_which_proxy_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    there = httpx.URL(f"https://{ELSEWHERE}/zpe")
    assert proxy_for(there) is None
    monkeypatch.setenv("ALL_PROXY", "http://all:1")
    assert proxy_for(there) == httpx.URL("http://all:1")
    monkeypatch.setenv("HTTPS_PROXY", "for-https:2")
    assert proxy_for(there) == httpx.URL("http://for-https:2")
    monkeypatch.setenv("NO_PROXY", "other.org,.example.org")
    assert proxy_for(there) is None
    for here in ("localhost", "127.0.0.1", "127.9.9.9", "[::1]", "zpe.localhost"):
        monkeypatch.setenv("NO_PROXY", "")
        assert proxy_for(httpx.URL(f"https://{here}:8000")) is None


@pytest.mark.parametrize("who", ["cli", "worker"])
def test_https_to_a_plain_port_is_said_at_once(who: str, run: Run, control_plane: ControlPlane) -> None:
    said = run(who, control_plane.url.replace("http://", "https://"))
    assert said.startswith("1\n")
    assert "[config/wrong_scheme]" in said
    assert "plain HTTP" in said


@pytest.fixture
def tls_plane(own_control_plane: Callable[..., ControlPlane], tmp_path: Path) -> ControlPlane:
    authority = trustme.CA()
    files = {name: tmp_path / f"{name}.pem" for name in ("ca", "cert", "key")}
    authority.cert_pem.write_to_path(str(files["ca"]))
    server = authority.issue_cert("127.0.0.1")
    server.private_key_pem.write_to_path(str(files["key"]))
    server.cert_chain_pems[0].write_to_path(str(files["cert"]))
    return own_control_plane(ZPE_TLS_CERT=files["cert"], ZPE_TLS_KEY=files["key"], CA=files["ca"])


def test_tls_that_fails_is_said_at_once(run: Run, tls_plane: ControlPlane) -> None:
    ca = tls_plane.settings["CA"]
    for who in ("cli", "worker"):
        plain = run(who, tls_plane.url.replace("https://", "http://"))
        assert plain.startswith("1\n")
        assert "[config/wrong_scheme]" in plain
        assert "https://" in plain
        strange = run(who, tls_plane.url)
        assert strange.startswith("1\n")
        assert "[config/tls_failed]" in strange
        assert "ZPE_CA_BUNDLE" in strange
        assert len([line for line in strange.splitlines() if "tls_failed" in line]) == 1
        other_name = run(who, tls_plane.url.replace("127.0.0.1", "localhost"), ZPE_CA_BUNDLE=ca)
        assert "[config/tls_failed]" in other_name
    trusted = run("cli", tls_plane.url, ZPE_TOKEN=tls_plane.admin_token, ZPE_CA_BUNDLE=ca)
    assert trusted.startswith("0\n"), trusted


@contextmanager
def redirecting(to: str) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(301)
            self.send_header("Location", to)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_redirection_is_not_followed_with_the_token_but_named() -> None:
    with (
        redirecting(f"https://{ELSEWHERE}/calc/zpe/jobs") as url,
        ZPEClient(url, TOKEN) as client,
        pytest.raises(ConfigError, match=f"https://{ELSEWHERE}:") as refused,
    ):
        client.jobs()
    assert refused.value.code == "wrong_scheme"
