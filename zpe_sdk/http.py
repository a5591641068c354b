"""What every HTTP conversation with the control plane has in common, blocking or not.

Where a token may be sent, how a reply becomes an error, and when a request is tried again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
from pydantic import ValidationError

from zpe_sdk.errors import BY_SIDE, AuthError, ConfigError, StoreError, ZPEError
from zpe_sdk.transport import is_loopback, lasting
from zpe_sdk.wire import ErrorReply, Message
from zpe_sdk.wire.messages import in_words

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

M = TypeVar("M", bound=Message)

# What a page of the dashboard has behind the URL of its control plane.
_DASHBOARD = re.compile(r"(?<=[^/])/dashboard(?:[/?#].*)?$")
# 429: too many failed logins; 502 and 504: a proxy whose control plane is being restarted; 503: its store.
_PASSING = {429, 502, 503, 504}


def is_token(text: str) -> bool:
    """Tell whether a header can carry a text as a token; if not, the refusal of httpx would show it."""
    return re.fullmatch(r"[\x21-\x7e]+", text) is not None


def without_page(url: str) -> str:
    """Return the address of a control plane, given that or the one of a page of its dashboard."""
    return _DASHBOARD.sub("", url).rstrip("/")


def base_url(url: str, *, insecure: bool = False) -> httpx.URL:
    """Check the URL of a control plane.

    Parameters
    ----------
    url
        E.g. ``https://zpe.example.org`` or ``http://127.0.0.1:8000``; of a page of the dashboard, what stands
        before ``/dashboard`` counts.
    insecure
        Allow plain HTTP to another machine, where anybody on the way can read the token.

    Raises
    ------
    ConfigError
        ``bad_url``: no URL; ``insecure_url``: plain HTTP to a host that is not this one.
    """
    try:
        parsed = httpx.URL(without_page(url))
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
    if parsed.scheme == "http" and not insecure and not is_loopback(parsed.host):
        raise ConfigError(
            f"refusing to send a token to {parsed.host} over plain HTTP; use https://, "
            "or --insecure (insecure=True) on a network you trust",
            code="insecure_url",
            field="ZPE_CONTROL_API_URL",
        )
    return parsed


def raise_for_error(response: httpx.Response) -> None:
    """Raise the error that a reply carries, as the class of the side it names.

    The response must have been read. Other replies below 400 than redirections raise nothing.
    """
    if response.is_redirect and (asked := httpx.URL(response.headers["Location"])).host:
        # Not followed: whoever redirects would decide where the token goes.
        raise ConfigError(
            f"the control plane is at {asked.scheme}://{asked.netloc.decode()}: give that address",
            code="wrong_scheme",
            field="ZPE_CONTROL_API_URL",
        )
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


def read_reply(response: httpx.Response, kind: type[M]) -> M:
    """Return what a reply says, as a message of a kind.

    What comes from a control plane is checked as what goes to one: ids are ids, numbers within their bounds.

    Raises
    ------
    ConfigError
        ``not_a_control_plane``: it is none of ours; ``bad_reply``: one of its fields is not as it must be.
    """
    try:
        return kind.model_validate_json(response.content)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
    request_id = response.headers.get(REQUEST_ID)
    if problem["type"] in ("json_invalid", "model_type", "missing"):
        raise ConfigError(
            "this does not look like a ZPE control plane: its replies are not in the ZPE format",
            code="not_a_control_plane",
            field="ZPE_CONTROL_API_URL",
            request_id=request_id,
        )
    field = ".".join(str(part) for part in problem["loc"])
    raise ConfigError(
        f"the reply of the control plane is refused: {field}: {in_words(problem)}",
        code="bad_reply",
        field=field,
        request_id=request_id,
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


def is_passing(error: BaseException) -> bool:
    """Tell whether a request may go well if it is sent again: all requests of this API may be."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in _PASSING
    return isinstance(error, httpx.TransportError) and lasting(error) is None


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
