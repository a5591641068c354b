"""Doors of a real control plane: TLS, tokens that stay secret, failed logins, headers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import trustme

from tests.processes import PATIENCE, ZPE, ControlPlane, environment, h2, wait_until
from zpe_sdk import ZPEClient, __version__
from zpe_sdk.errors import ConfigError

TlsFiles = dict[str, Path]


@pytest.fixture
def tls(tmp_path: Path) -> TlsFiles:
    """Certificate and key for 127.0.0.1, and the private authority that signed them."""
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1")
    files = {name: tmp_path / f"{name}.pem" for name in ("ca", "cert", "key")}
    authority.cert_pem.write_to_path(str(files["ca"]))
    server.private_key_pem.write_to_path(str(files["key"]))
    server.cert_chain_pems[0].write_to_path(str(files["cert"]))
    return files


def test_a_worker_and_a_client_trust_a_private_authority_and_nothing_else(
    own_control_plane: Callable[..., ControlPlane], tls: TlsFiles
) -> None:
    plane = own_control_plane(ZPE_TLS_CERT=tls["cert"], ZPE_TLS_KEY=tls["key"], CA=tls["ca"])
    plane.worker(ZPE_CA_BUNDLE=tls["ca"])
    with ZPEClient(plane.url, plane.admin_token, ca_bundle=tls["ca"]) as client:
        assert client.submit(h2()).wait(PATIENCE, progress=False).result().zpe_ev > 0.2
    with ZPEClient(plane.url, plane.admin_token, retry_seconds=0) as stranger:
        with pytest.raises(ConfigError) as caught:
            stranger.jobs()
        assert caught.value.code == "tls_failed"


def test_every_reply_has_security_headers(control_plane: ControlPlane) -> None:
    for path in ("/healthz", "/calc/zpe/jobs", "/nowhere"):
        headers = httpx.get(control_plane.url + path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_a_client_that_is_too_old_is_told_so_and_what_to_do(control_plane: ControlPlane) -> None:
    def ask(version: str) -> httpx.Response:
        with control_plane.api() as api:
            return api.get("/calc/zpe/jobs", headers={"X-ZPE-Version": version})

    refused = ask("0.0.9")
    assert refused.status_code == 426
    assert refused.json()["error"]["code"] == "client_too_old"
    assert "zpe 0.0.9 is too old" in refused.json()["detail"]
    for other in (__version__, "1.0", "somebody else's client", "9" * 6000):
        assert ask(other).status_code == 200


def test_failed_logins_are_limited_but_never_hold_up_a_good_token(
    own_control_plane: Callable[..., ControlPlane],
) -> None:
    plane = own_control_plane(ZPE_FAILED_LOGINS_PER_MINUTE=3)
    with plane.api("zper_wrong") as wrong, plane.api() as admin:
        replies = [wrong.get("/calc/zpe/jobs") for _ in range(5)]
        assert [reply.status_code for reply in replies] == [401, 401, 401, 429, 429]
        assert "Retry-After" in replies[-1].headers
        assert admin.get("/calc/zpe/jobs").status_code == 200


def test_researchers_need_no_token_where_that_is_switched_off(
    own_control_plane: Callable[..., ControlPlane],
) -> None:
    plane = own_control_plane(ZPE_RESEARCHER_AUTH="false")
    reply = httpx.post(f"{plane.url}/calc/zpe/jobs", json={"content": h2()}, timeout=PATIENCE).json()
    assert httpx.get(f"{plane.url}/calc/zpe/jobs/{reply['job_id']}").json()["owner"] == "anonymous"
    assert httpx.get(f"{plane.url}/calc/zpe/admin/flags").status_code == 401
    assert "ZPE_RESEARCHER_AUTH is off" in plane.log


def test_dev_makes_an_admin_token_for_loopback_only(tmp_path: Path) -> None:
    refused = subprocess.run(
        [ZPE, "serve", "--dev", "--host", "0.0.0.0", "--data-dir", tmp_path],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert "--dev is for this machine alone" in refused.stderr
    plane = ControlPlane(tmp_path / "dev", {"ZPE_ADMIN_TOKEN": ""}, arguments=["--dev"])
    plane.start()
    try:
        token = tmp_path / "dev" / "data" / "admin-token"
        assert token.stat().st_mode & 0o777 == 0o600
        with plane.api(token.read_text().strip()) as api:
            assert api.get("/calc/zpe/admin/flags").status_code == 200
        assert token.read_text().strip() not in plane.log
    finally:
        plane.stop()


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"ZPE_ADMIN_TOKEN": "short-secret"}, "ZPE_ADMIN_TOKEN"),
        ({"ZPE_LEASE_TTL_SECONDS": "soon"}, "ZPE_LEASE_TTL_SECONDS"),
        ({"ZPE_COMPUTE_MODE": "cloud"}, "ZPE_COMPUTE_MODE"),
    ],
)
def test_a_wrong_setting_is_named_and_its_value_is_not_shown(settings: dict[str, str], field: str) -> None:
    run = subprocess.run(
        [ZPE, "serve"], env=environment(**settings), capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert field in run.stderr
    assert "short-secret" not in run.stderr
    assert "Traceback" not in run.stderr


def test_no_secret_of_a_whole_run_is_in_any_log_error_or_key(
    own_control_plane: Callable[..., ControlPlane],
) -> None:
    plane = own_control_plane(ZPE_LOG_LEVEL="DEBUG")
    enroll, researcher = plane.enroll_token(), plane.researcher_token("eve")
    plane.worker(ZPE_ENROLL_TOKEN=enroll, ZPE_LOG_LEVEL="DEBUG")
    with ZPEClient(plane.url, researcher) as client:
        job = client.submit(h2()).wait(PATIENCE, progress=False)
        client.submit(h2("mock: fail=bad_input times=always"))
        texts = [repr(client), repr(job), str(job.detail()), job.summary()]
        replies = [
            httpx.get(f"{plane.url}/calc/zpe/jobs", params={"search": "x"}, headers=headers)
            for headers in ({"Authorization": f"Bearer {enroll}"}, {"Authorization": enroll})
        ]
        refused = httpx.post(
            f"{plane.url}/calc/zpe/compute/servers/register",
            json={"token": enroll, "name": 7, "meta": enroll},
        )
        texts += [reply.text for reply in [*replies, refused]]
    worker = (plane.folder / "worker" / "identity.json").read_text()
    secrets = [plane.admin_token, enroll, researcher, worker.split('"worker_token":"')[1].split('"')[0]]
    with plane.api() as api:
        wait_until(lambda: api.get("/calc/zpe/admin/dlq").json()["total"] == 1)
        texts += [
            api.get(f"/calc/zpe/{path}").text
            for path in (
                "admin/audit",
                "admin/dlq",
                "admin/tokens",
                "compute/servers",
                "compute/enroll-tokens",
            )
        ]
    plane.stop()
    texts += [path.read_text(errors="replace") for path in plane.folder.rglob("*.log")]
    texts += [path.read_text(errors="replace") for path in (plane.folder / "data").rglob("*.aof")]
    for secret in secrets:
        assert len(secret) > 20
        for text in texts:
            assert secret not in text


def test_the_embedded_redis_lets_nobody_else_in(control_plane: ControlPlane) -> None:
    folder = control_plane.folder / "data" / "redis"
    assert os.stat(folder).st_mode & 0o077 == 0
    assert os.stat(folder / "redis.sock").st_mode & 0o077 == 0
