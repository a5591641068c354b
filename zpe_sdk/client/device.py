"""A login on a machine without a browser: the device flow of OAuth 2.0 (RFC 8628)."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import httpx

from zpe_sdk.errors import AuthError, ConfigError, ZPEError
from zpe_sdk.http import base_url, raise_for_error, read_reply
from zpe_sdk.transport import Transport, lasting, unreachable
from zpe_sdk.transport import options as way_to
from zpe_sdk.wire import LoginOptions

_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_REPLY_SECONDS = 30.0


def login_options(url: str, *, insecure: bool = False, ca_bundle: Path | None = None) -> LoginOptions:
    """Ask a control plane how one logs in.

    Raises
    ------
    ConfigError
        ``bad_url``, ``insecure_url``, ``bad_ca_bundle``, ``not_a_control_plane``,
        ``control_plane_unreachable``.
    """
    base = base_url(url, insecure=insecure)
    try:
        transport = Transport(**way_to(base, ca_bundle))
        with httpx.Client(base_url=base, timeout=_REPLY_SECONDS, transport=transport) as client:
            reply = client.get("/calc/zpe/login")
    except httpx.TransportError as error:
        raise unreachable(base, error) from error
    raise_for_error(reply)
    return read_reply(reply, LoginOptions)


def device_token(
    issuer: str, options: LoginOptions, show: Callable[[str, str], None], *, ca_bundle: Path | None = None
) -> str:
    """Let somebody log in at the issuer, in any browser, and return the token that it gives.

    Parameters
    ----------
    issuer
        Where, e.g. ``https://login.example.org/realms/lab``.
    options
        Which client the control plane names, and what it asks for.
    show
        Tells the address to open and the code to enter there.
    ca_bundle
        PEM file of private authorities that count beside the usual ones: a laboratory's control plane may
        name an issuer of the world outside.

    Raises
    ------
    AuthError
        ``login_failed``: refused, or not done in time.
    ConfigError
        ``issuer_unreachable``, ``tls_failed``, ``insecure_url``; ``no_device_login``: the issuer has none.
    """
    with DeviceLogin(issuer, options, ca_bundle=ca_bundle) as login:
        show(login.address, login.code)
        while time.monotonic() < login.ends:
            time.sleep(login.pause)
            if token := login.poll():
                return token
    raise AuthError("nobody has logged in within the time that the issuer gives", code="login_failed")


class DeviceLogin:
    """A login that has begun at the issuer, and waits for somebody to do it, in any browser.

    Parameters and errors are those of :func:`device_token`.

    Attributes
    ----------
    address, code
        What to open, and the code to enter or to compare there.
    pause
        Seconds that the issuer wants between two polls.
    ends
        When it is given up there, by ``time.monotonic()``.
    """

    def __init__(self, issuer: str, options: LoginOptions, *, ca_bundle: Path | None = None) -> None:
        way = way_to(base_url(issuer))
        if ca_bundle is not None:
            way["verify"].load_verify_locations(ca_bundle)
        self._client = httpx.Client(timeout=_REPLY_SECONDS, transport=Transport(**way))
        try:
            about = _get(self._client, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
            if "device_authorization_endpoint" not in about:
                raise ConfigError(f"{issuer} has no login for devices", code="no_device_login")
            asked = {"client_id": options.client_id, "scope": options.scope}
            begun = _post(self._client, about["device_authorization_endpoint"], asked)
            if "device_code" not in begun:
                raise AuthError(f"the issuer refuses: {_why(begun)}", code="login_failed")
        except ZPEError:
            self.close()
            raise
        self.address = str(begun.get("verification_uri_complete") or begun["verification_uri"])
        self.code = str(begun["user_code"])
        self.pause = float(begun.get("interval", 5))
        self.ends = time.monotonic() + float(begun.get("expires_in", 600))
        self._kind = options.token
        self._endpoint = str(about["token_endpoint"])
        self._asked = {
            "grant_type": _GRANT,
            "device_code": str(begun["device_code"]),
            "client_id": options.client_id,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave it; what was begun at the issuer ends by itself."""
        self._client.close()

    def poll(self) -> str | None:
        """Return the token if somebody has logged in; None: not yet.

        Raises
        ------
        AuthError
            ``login_failed``: refused.
        """
        reply = _post(self._client, self._endpoint, self._asked)
        if token := reply.get(self._kind):
            return str(token)
        match reply.get("error"):
            case "authorization_pending":
                return None
            case "slow_down":
                self.pause += 5
                return None
            case _:
                raise AuthError(f"the issuer refuses: {_why(reply)}", code="login_failed")


def _why(reply: dict[str, Any]) -> str:
    return str(reply.get("error_description") or reply.get("error") or "it sent no token")[:200]


def _get(client: httpx.Client, url: str) -> dict[str, Any]:
    return _sent(client, "GET", url)


def _post(client: httpx.Client, url: str, fields: dict[str, str]) -> dict[str, Any]:
    return _sent(client, "POST", url, data=fields)


def _sent(client: httpx.Client, method: str, url: str, **more: Any) -> dict[str, Any]:
    base_url(url)  # over plain HTTP to this machine only
    try:
        reply = client.request(method, url, **more)
        found = reply.json()
        if not isinstance(found, dict) or reply.status_code >= 500:
            raise ValueError
    except (httpx.HTTPError, ValueError) as error:
        if isinstance(error, httpx.TransportError) and (named := lasting(error)):
            raise named from None
        raise ConfigError(
            f"the login's issuer does not answer as it should ({httpx.URL(url).host})",
            code="issuer_unreachable",
        ) from None
    return found
