"""Logins of an OpenID Connect issuer: who comes in with its tokens, and who does not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from tests.processes import ZPE, ControlPlane, environment, h2
from tests.server.issuer import AUDIENCE, Issuer, ec_key, rsa_key
from zpe_sdk.errors import AuthError, ConfigError
from zpe_server.issuer import Issuer as Verifier
from zpe_server.settings import Settings


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


def settings(issuer: Issuer, **more: Any) -> Settings:
    usual = {"oidc_issuer": issuer.url, "oidc_audience": AUDIENCE, "oidc_allowed": "@example.org"}
    return Settings(**(usual | more))


async def refused(verifier: Verifier, token: str) -> str:
    with pytest.raises(AuthError) as caught:
        await verifier.verify(token)
    assert token not in str(caught.value)
    return caught.value.code


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@pytest.mark.anyio
@pytest.mark.parametrize("make_key", [rsa_key, ec_key])
async def test_a_token_that_the_issuer_has_signed_says_whose_it_is(issuer: Issuer, make_key: Any) -> None:
    issuer.keys = {"k": make_key()}
    verifier = Verifier(settings(issuer))
    assert await verifier.verify(issuer.token()) == "ann@example.org"
    assert await verifier.verify(issuer.token(email="Ann@Example.org")) == "ann@example.org"
    assert await verifier.verify(issuer.token(aud=["other", AUDIENCE])) == "ann@example.org"
    assert issuer.asked["keys"] == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://login.example.com"},
        {"iss": None},
        {"aud": "another-service"},
        {"aud": None},
        {"exp": int(time.time()) - 3600},
        {"exp": None},
        {"nbf": int(time.time()) + 3600},
    ],
)
async def test_what_is_not_for_us_or_not_now_is_refused(issuer: Issuer, claims: dict[str, Any]) -> None:
    verifier = Verifier(settings(issuer))
    assert await refused(verifier, issuer.token(**claims)) == "bad_token"


@pytest.mark.anyio
async def test_forged_tokens_are_refused(issuer: Issuer) -> None:
    verifier = Verifier(settings(issuer))
    good = issuer.token()
    header, payload, signature = good.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    other = b64(json.dumps(claims | {"email": "eve@example.org"}).encode())
    unsigned = b64(b'{"alg":"none","typ":"JWT","kid":"first"}')
    shared = b64(b'{"alg":"HS256","typ":"JWT","kid":"first"}')
    # The public key as a shared secret: a verifier that lets the token choose would take it.
    pem = (
        issuer.keys["first"]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    confused = b64(hmac.new(pem, f"{shared}.{payload}".encode(), hashlib.sha256).digest())
    no_key, other_key = b'{"alg":"RS256"}', b'{"alg":"RS256","kid":[1]}'
    odd = (no_key, other_key, b'{"alg":[],"kid":"first"}', b"[" * 5000)
    for token in (
        *(f"{b64(head)}.{payload}.{signature}" for head in odd),
        f"{header}.{other}.{signature}",
        f"{unsigned}.{payload}.",
        f"{unsigned}.{payload}.{signature}",
        f"{shared}.{payload}.{confused}",
        issuer.token(rsa_key()),
        issuer.token(rsa_key(), headers={"kid": "unknown"}),
        issuer.token(ec_key()),  # a key of another kind under the name of the issuer's
        "a.b.c",
        "..",
        f"{header}.{payload}." + "x" * 20_000,
        jwt.encode(claims, "x" * 32, algorithm="HS256", headers={"kid": "first"}),
    ):
        assert await refused(verifier, token) == "bad_token"
    assert await verifier.verify(good)


@pytest.mark.anyio
async def test_keys_of_the_issuer_come_and_go(issuer: Issuer) -> None:
    verifier = Verifier(settings(issuer))
    old = issuer.token()
    assert await verifier.verify(old)
    issuer.keys = {"second": rsa_key()}
    new = issuer.token()
    assert await verifier.verify(new)  # a key that is not known yet is looked for
    assert await refused(verifier, old) == "bad_token"  # one that is gone signs no more
    # Names of keys that nobody has do not make us ask the issuer each time.
    for n in range(30):
        assert (
            await refused(verifier, issuer.token(rsa_key(), headers={"kid": f"made up {n}"})) == "bad_token"
        )
    assert issuer.asked["keys"] <= 6
    assert await verifier.verify(new)


@pytest.mark.anyio
async def test_an_issuer_that_is_away_shuts_out_only_whom_it_was_never_asked_about(issuer: Issuer) -> None:
    early, late = Verifier(settings(issuer)), Verifier(settings(issuer))
    token = issuer.token()
    assert await early.verify(token)
    issuer.away = True
    assert await early.verify(token)
    with pytest.raises(ConfigError) as caught:
        await late.verify(token)
    assert caught.value.code == "issuer_unreachable"
    issuer.away = False
    assert await late.verify(token)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("allowed", "claim", "claims", "name"),
    [
        ("ann@example.org, bob", "email", {}, "ann@example.org"),
        ("ANN@Example.org", "email", {}, "ann@example.org"),
        ("everyone", "preferred_username", {"preferred_username": "ann"}, "ann"),
        ("ann", "preferred_username", {"preferred_username": "ann"}, "ann"),
        ("@example.com", "email", {}, None),
        ("@ple.org", "email", {}, None),
        ("example.org", "email", {}, None),
        ("@example.org", "email", {"email": "eve@sub.example.org"}, None),
        ("@example.org", "email", {"email": "eve@evil.com@example.org:x"}, None),
        ("@example.org", "email", {"email_verified": False}, None),
        ("@example.org", "email", {"email_verified": None}, None),
        ("everyone", "email", {"email": None}, None),
        ("everyone", "email", {"email": ["ann@example.org"]}, None),
        ("everyone", "preferred_username", {"preferred_username": "a:b*"}, None),
        ("ann", "preferred_username", {"preferred_username": "Ann"}, None),
    ],
)
async def test_whoever_is_allowed_comes_in_under_one_name(
    issuer: Issuer, allowed: str, claim: str, claims: dict[str, Any], name: str | None
) -> None:
    verifier = Verifier(settings(issuer, oidc_allowed=allowed, oidc_name_claim=claim))
    token = issuer.token(**claims)
    if name is None:
        assert await refused(verifier, token) == "not_allowed"
    else:
        assert await verifier.verify(token) == name


@pytest.mark.parametrize(
    "wrong",
    [
        {"oidc_allowed": ""},
        {"oidc_audience": ""},
        {"oidc_issuer": "http://login.example.org"},
        {"oidc_issuer": "login.example.org"},
    ],
)
def test_settings_that_would_let_in_anybody_are_refused(issuer: Issuer, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"OIDC|oidc"):
        settings(issuer, **wrong)


def plane_of(issuer: Issuer, start: Callable[..., ControlPlane], **more: Any) -> ControlPlane:
    return start(**issuer.settings, ZPE_USER_WORKERS="own", **more)


def test_a_login_is_a_researcher_like_any_other(
    issuer: Issuer, own_control_plane: Callable[..., ControlPlane]
) -> None:
    plane = plane_of(issuer, own_control_plane)
    login = issuer.token()
    with plane.api(login) as ann, plane.api(issuer.token(email="bob@example.org")) as bob:
        assert ann.get("/calc/zpe/me").json()["name"] == "ann@example.org"
        job = ann.post("/calc/zpe/jobs", json={"content": h2()}).raise_for_status().json()["job_id"]
        assert ann.get(f"/calc/zpe/jobs/{job}").json()["owner"] == "ann@example.org"
        assert bob.get(f"/calc/zpe/jobs/{job}").status_code == 404
        assert ann.get("/calc/zpe/admin/flags").status_code == 403
        assert ann.post("/calc/zpe/compute/heartbeat", json={}).status_code == 403
        minted = ann.post("/calc/zpe/compute/enroll-tokens", json={}).json()
        assert minted["owner"] == "ann@example.org"
        kept = ann.post("/calc/zpe/login").raise_for_status().json()
        assert kept["owner"] == "ann@example.org"
        assert kept["expires_at"]
    with plane.api(kept["token"]) as ann:
        assert ann.get(f"/calc/zpe/jobs/{job}").status_code == 200
        # What was kept does not keep itself alive.
        assert ann.post("/calc/zpe/login").json()["error"]["code"] == "forbidden"
    for token, status, code in (
        (issuer.token(email="eve@example.com"), 403, "not_allowed"),
        (issuer.token(aud="another"), 401, "bad_token"),
    ):
        with plane.api(token) as eve:
            reply = eve.get("/calc/zpe/jobs")
        assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
    assert login not in plane.log
    assert kept["token"] not in plane.log


def test_no_login_takes_the_name_of_the_administrator(
    issuer: Issuer, own_control_plane: Callable[..., ControlPlane]
) -> None:
    more = {"ZPE_OIDC_NAME_CLAIM": "preferred_username", "ZPE_OIDC_ALLOWED": "everyone"}
    plane = own_control_plane(ZPE_OIDC_ISSUER=issuer.url, ZPE_OIDC_AUDIENCE=AUDIENCE, **more)
    for name in ("admin", "anonymous"):
        with plane.api(issuer.token(preferred_username=name)) as eve:
            assert eve.get("/calc/zpe/me").json()["error"]["code"] == "not_allowed"
    with plane.api(issuer.token(preferred_username="ann")) as ann:
        assert ann.get("/calc/zpe/me").json()["role"] == "researcher"
    issuer.away = True
    issuer.keys = {"new": rsa_key()}
    with plane.api(issuer.token(preferred_username="ann")) as ann:
        reply = ann.get("/calc/zpe/me")
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "issuer_unreachable")


def login(
    plane: ControlPlane, home: Path, *options: str, **settings: object
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ZPE, "login", plane.url, *options],
        env=environment(HOME=home, XDG_CONFIG_HOME=home / "config", **settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_zpe_login_logs_in_with_a_browser_elsewhere(
    issuer: Issuer, own_control_plane: Callable[..., ControlPlane], tmp_path: Path
) -> None:
    plane = plane_of(issuer, own_control_plane)
    options = httpx.get(f"{plane.url}/calc/zpe/login").json()
    assert options == {
        "issuer": issuer.url,
        "client_id": "zpe-cli",
        "scope": "openid email",
        "token": "id_token",
    }
    issuer.answers = ["authorization_pending", "authorization_pending"]
    done = login(plane, tmp_path, "--device")
    assert done.returncode == 0, done.stderr
    assert f"Open {issuer.url}/activate in a browser, and enter the code WDJB-MJHT" in done.stderr
    assert issuer.asked["token"] == 3
    kept = json.loads((tmp_path / "config/zpe/credentials.json").read_text())
    assert kept["token"].startswith("zper_")
    assert kept["token"] not in done.stdout + done.stderr
    with plane.api(kept["token"]) as ann:
        assert ann.get("/calc/zpe/me").json()["name"] == "ann@example.org"
    issuer.answers = ["access_denied"]
    denied = login(plane, tmp_path, "--device")
    assert (denied.returncode, "[auth/login_failed]" in denied.stderr) == (1, True)


def test_without_an_issuer_there_is_no_device_login(
    own_control_plane: Callable[..., ControlPlane], tmp_path: Path
) -> None:
    plane = own_control_plane()
    assert httpx.get(f"{plane.url}/calc/zpe/login").json()["issuer"] is None
    refused = login(plane, tmp_path, "--device")
    assert (refused.returncode, "[config/no_device_login]" in refused.stderr) == (1, True)


def test_an_issuer_of_a_private_authority_is_trusted_where_it_is_named(
    own_control_plane: Callable[..., ControlPlane], tmp_path: Path
) -> None:
    authority = trustme.CA()
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    with Issuer(server) as issuer:
        assert issuer.url.startswith("https://")
        trusting = plane_of(issuer, own_control_plane, ZPE_OIDC_CA_BUNDLE=bundle)
        done = login(trusting, tmp_path, "--device", ZPE_CA_BUNDLE=bundle)
        assert done.returncode == 0, done.stderr
        with trusting.api(issuer.token()) as ann:
            assert ann.get("/calc/zpe/me").json()["name"] == "ann@example.org"

        strange = login(trusting, tmp_path, "--device")
        assert (strange.returncode, "[config/tls_failed]" in strange.stderr) == (1, True)
        plane = plane_of(issuer, own_control_plane)
        with plane.api(issuer.token()) as ann:
            reply = ann.get("/calc/zpe/me")
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "issuer_unreachable")
        assert "CERTIFICATE_VERIFY_FAILED" in plane.log


def test_a_bundle_without_certificates_is_refused_by_name(issuer: Issuer, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    for name in ("empty.pem", "missing.pem"):
        with pytest.raises(ConfigError, match=name) as caught:
            Verifier(settings(issuer, oidc_ca_bundle=tmp_path / name))
        assert (caught.value.code, caught.value.field) == ("bad_ca_bundle", "ZPE_OIDC_CA_BUNDLE")
