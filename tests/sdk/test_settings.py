"""Where a client finds its control plane and its token, and that the token stays there."""

from __future__ import annotations

import pickle
import stat
from pathlib import Path
from typing import Any

import pytest

from zpe_sdk import AsyncZPEClient, AuthError, ConfigError, ZPEClient
from zpe_sdk.client.settings import Login

URL = "https://zpe.example.org"
TOKEN = "zpe_api_0123456789abcdefghij"


@pytest.fixture(autouse=True)
def nobody_logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ZPE_CONTROL_API_URL", "ZPE_TOKEN", "ZPE_INSECURE", "ZPE_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))


def token_of(client: AsyncZPEClient | ZPEClient) -> str:
    return (
        client if isinstance(client, AsyncZPEClient) else client._async
    ).connection._token.get_secret_value()


def test_arguments_win_over_the_environment_and_that_over_the_login(monkeypatch: pytest.MonkeyPatch) -> None:
    Login(url=URL, token="saved").save()
    client = ZPEClient()
    assert (str(client.url), token_of(client)) == (URL, "saved")
    monkeypatch.setenv("ZPE_TOKEN", "environment")
    assert token_of(ZPEClient()) == "environment"
    assert token_of(ZPEClient(token="argument")) == "argument"


def test_a_saved_token_goes_to_its_own_control_plane_only(monkeypatch: pytest.MonkeyPatch) -> None:
    Login(url=URL, token="saved").save()
    assert token_of(ZPEClient(f"{URL}/")) == "saved"
    with pytest.raises(AuthError) as caught:
        ZPEClient("https://other.example.org")
    assert caught.value.code == "token_missing"
    monkeypatch.setenv("ZPE_CONTROL_API_URL", "https://other.example.org")
    with pytest.raises(AuthError):
        ZPEClient()


def test_a_token_saved_for_a_page_of_the_dashboard_goes_to_its_control_plane() -> None:
    Login(url=f"{URL}/dashboard/jobs", token="saved").save()
    assert token_of(ZPEClient(URL)) == "saved"


def test_only_its_owner_can_read_a_saved_token() -> None:
    Login(url=URL, token="first").save()
    Login(url=URL, token="second").save()
    assert stat.S_IMODE(Login.path().stat().st_mode) == 0o600
    assert [file.name for file in Login.path().parent.iterdir()] == ["credentials.json"]
    assert token_of(ZPEClient()) == "second"


@pytest.mark.parametrize("content", ["", "{}", '{"token": "zpe_api_0123456789abcdefghij"}', "not JSON"])
def test_a_spoilt_file_is_named_and_not_quoted(content: str) -> None:
    Login(url=URL, token=TOKEN).save()
    Login.path().write_text(content)
    with pytest.raises(ConfigError, match=r"credentials\.json") as caught:
        ZPEClient()
    assert caught.value.code == "bad_credentials_file"
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "side", "code"),
    [
        ({}, "config", "url_missing"),
        ({"url": URL}, "auth", "token_missing"),
        ({"url": URL, "token": "  "}, "auth", "token_missing"),
        ({"url": URL, "token": "zpe_api_0123456789\nabcdefghij"}, "auth", "bad_token"),
        ({"url": URL, "token": "zpe_ápi_0123456789abcdefghij"}, "auth", "bad_token"),
        ({"url": "zpe.example.org", "token": TOKEN}, "config", "bad_url"),
        ({"url": "http://zpe.example.org", "token": TOKEN}, "config", "insecure_url"),
        ({"url": URL, "token": TOKEN, "ca_bundle": "nowhere.pem"}, "config", "bad_ca_bundle"),
    ],
)
def test_what_is_missing_or_unsafe_is_refused_at_once(
    arguments: dict[str, Any], side: str, code: str
) -> None:
    for kind in (ZPEClient, AsyncZPEClient):
        with pytest.raises((ConfigError, AuthError)) as caught:
            kind(**arguments)
        assert (caught.value.side, caught.value.code) == (side, code)
        assert "0123456789" not in str(caught.value)


@pytest.mark.parametrize(
    "copied",
    ["/dashboard", "/dashboard/", "/dashboard/jobs/0123abcd", "/dashboard?theme=dark", "/dashboard#jobs"],
)
def test_the_address_of_a_page_of_the_dashboard_is_that_of_its_control_plane(copied: str) -> None:
    assert ZPEClient(f"{URL}{copied}", TOKEN).url == ZPEClient(URL, TOKEN).url
    assert str(ZPEClient(f"{URL}/lab{copied}", TOKEN).url) == f"{URL}/lab"
    assert ZPEClient("https://dashboard", TOKEN).url.host == "dashboard"
    assert ZPEClient(f"{URL}/dashboards", TOKEN).url.path == "/dashboards"


def test_a_bad_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZPE_INSECURE", "perhaps")
    with pytest.raises(ConfigError) as caught:
        ZPEClient(URL, TOKEN)
    assert (caught.value.code, caught.value.field) == ("bad_setting", "ZPE_INSECURE")


def test_a_password_in_the_url_is_not_shown() -> None:
    with pytest.raises(AuthError) as caught:
        ZPEClient("https://somebody:secret@zpe.example.org")
    assert "zpe.example.org" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_plain_http_is_allowed_to_this_machine_or_on_request() -> None:
    assert ZPEClient("http://127.0.0.1:8000", TOKEN).url.port == 8000
    assert ZPEClient("http://zpe.example.org", TOKEN, insecure=True).url.host == "zpe.example.org"


def test_the_token_is_in_no_repr_and_in_no_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    client = ZPEClient(URL, TOKEN, timeout=5, retry_seconds=7)
    job = client.job("abc")
    shown = [repr(x) for x in (client, client._async, client._async.admin, job, job._async)]
    pickled = [pickle.dumps(x) for x in (client, client._async, job)]
    for text in [*shown, job._repr_html_(), repr(vars(client._async)), *map(repr, pickled)]:
        assert TOKEN not in text
    monkeypatch.setenv("ZPE_TOKEN", "zpe_api_of_the_other_machine")
    for again in map(pickle.loads, pickled[:2]):
        assert again.url == URL
        assert token_of(again) == "zpe_api_of_the_other_machine"
    assert pickle.loads(pickled[2]).id == "abc"
