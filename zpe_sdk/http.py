"""What every HTTP conversation with the control plane has in common, blocking or not.

Where a token may be sent, how a reply becomes an error, and when a request is tried again.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from pydantic import ValidationError

from zpe_sdk.errors import BY_SIDE, AuthError, ConfigError, StoreError, ZPEError
from zpe_sdk.wire import ErrorReply

if TYPE_CHECKING:
    from tenacity import RetryCallState

REQUEST_ID = "X-Request-ID"
# A uuid per worker process: any call that carries it renews all leases of that process.
INSTANCE = "X-ZPE-Instance"
IDEMPOTENCY_KEY = "Idempotency-Key"
# The administrator's token, from scripts that send no Authorization.
ADMIN_TOKEN = "X-Admin-Token"
# The version of zpe that sends a request. Clients of other makes send none.
VERSION = "X-ZPE-Version"
# Not a header: stands in the ASGI scope of a request from within the process, where no client can put it.
WITHIN = "zpe.within"

# 429: too many failed logins; 502 and 504: a proxy whose control plane is being restarted; 503: its store.
_PASSING = {429, 502, 503, 504}


def is_token(text: str) -> bool:
    """Tell whether a header can carry a text as a token; if not, the refusal of httpx would show it."""
    return re.fullmatch(r"[\x21-\x7e]+", text) is not None


def base_url(url: str, *, insecure: bool = False) -> httpx.URL:
    """Check the URL of a control plane.

    Parameters
    ----------
    url
        E.g. ``https://zpe.example.org`` or ``http://127.0.0.1:8000``.
    insecure
        Allow plain HTTP to another machine, where anybody on the way can read the token.

    Raises
    ------
    ConfigError
        ``bad_url``: no URL; ``insecure_url``: plain HTTP to a host that is not this one.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigError(
            "the control plane's URL must look like https://zpe.example.org",
            code="bad_url",
            field="ZPE_CONTROL_API_URL",
        )
    if parsed.userinfo:
        raise ConfigError(
            "put no password into the control plane's URL; use a token",
            code="bad_url",
            field="ZPE_CONTROL_API_URL",
        )
    if parsed.scheme == "http" and not insecure and not _is_loopback(parsed.host):
        raise ConfigError(
            f"refusing to send a token to {parsed.host} over plain HTTP; use https://, "
            "or --insecure (insecure=True) on a network you trust",
            code="insecure_url",
            field="ZPE_CONTROL_API_URL",
        )
    return parsed


def tls(ca_bundle: Path | None) -> ssl.SSLContext | bool:
    """Return what to verify servers with: the usual authorities, or those of a PEM file.

    Raises
    ------
    ConfigError
        ``bad_ca_bundle``: the file is missing or holds no certificates.
    """
    if ca_bundle is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(ca_bundle))
    except OSError as error:
        raise ConfigError(
            f"{ca_bundle} cannot be used as a CA bundle: {error.strerror or error}",
            code="bad_ca_bundle",
            field="ZPE_CA_BUNDLE",
        ) from error


def raise_for_error(response: httpx.Response) -> None:
    """Raise the error that a reply carries, as the class of the side it names.

    The response must have been read. Replies below 400 raise nothing.
    """
    if response.status_code < 400:
        return
    request_id = response.headers.get(REQUEST_ID)
    try:
        info = ErrorReply.model_validate_json(response.content).error
    except ValidationError:
        raise _foreign(response.status_code, request_id) from None
    raise BY_SIDE[info.side](
        info.message, code=info.code, field=info.field, request_id=info.request_id or request_id
    )


def _foreign(status: int, request_id: str | None) -> ZPEError:
    """Return the error for a reply that is not ours: a proxy's, or another service's."""
    if status in _PASSING:
        return StoreError(
            f"the control plane is not available at the moment (HTTP {status})",
            code="unavailable",
            request_id=request_id,
        )
    if status in (401, 403):
        return AuthError(f"access was refused (HTTP {status})", code="forbidden", request_id=request_id)
    return ConfigError(
        f"this does not look like a ZPE control plane: it answered with HTTP {status}",
        code="not_a_control_plane",
        field="ZPE_CONTROL_API_URL",
        request_id=request_id,
    )


def unreachable(url: httpx.URL, error: httpx.TransportError) -> ConfigError:
    """Return the error for a control plane that cannot be reached, naming only its host."""
    where = f"{url.host}:{url.port}" if url.port else url.host
    return ConfigError(
        f"the control plane at {where} cannot be reached ({type(error).__name__}: {error})",
        code="control_plane_unreachable",
        field="ZPE_CONTROL_API_URL",
    )


def is_passing(error: BaseException) -> bool:
    """Tell whether a request may go well if it is sent again: all requests of this API may be."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in _PASSING
    return isinstance(error, httpx.TransportError)


def retrying(seconds: float, before_sleep: Callable[[RetryCallState], None] | None = None) -> dict[str, Any]:
    """Return the arguments of :class:`tenacity.Retrying` (or ``AsyncRetrying``) for one request.

    The request must raise what :func:`is_passing` knows: :class:`httpx.TransportError`, or
    :class:`httpx.HTTPStatusError` for one of the statuses that pass.

    Parameters
    ----------
    seconds
        How long to go on trying.
    before_sleep
        Called before each wait, e.g. to tell the user once.
    """
    from tenacity import retry_if_exception, stop_after_delay, wait_random_exponential

    backoff = wait_random_exponential(multiplier=0.5, max=10)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = _retry_after(error.response.headers) if isinstance(error, httpx.HTTPStatusError) else 0.0
        return max(asked, backoff(state))

    return {
        "retry": retry_if_exception(is_passing),
        "stop": stop_after_delay(seconds),
        "wait": wait,
        "before_sleep": before_sleep,
        "reraise": True,
    }


def _retry_after(headers: Mapping[str, str]) -> float:
    value = headers.get("Retry-After", "")
    return min(float(value), 60.0) if value.isdigit() else 0.0


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
