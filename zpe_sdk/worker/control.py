"""The control plane as a worker sees it: blocking calls that outlast its absence."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from threading import Event, Lock
from typing import Literal, Protocol, TypeVar

import httpx
import structlog
import tenacity

from zpe_sdk.errors import ConfigError, ZPEError
from zpe_sdk.http import (
    INSTANCE,
    REQUEST_ID,
    VERSION,
    base_url,
    is_passing,
    raise_for_error,
    read_reply,
    retrying,
)
from zpe_sdk.transport import Transport, options, unreachable
from zpe_sdk.version import __version__
from zpe_sdk.wire import (
    HeartbeatReply,
    HeartbeatRequest,
    LeaseReply,
    LeaseRequest,
    Message,
    RegisterReply,
    RegisterRequest,
    WorkerTokenReply,
)
from zpe_sdk.worker.settings import WorkerSettings

COMPUTE = "calc/zpe/compute"
REPLY_SECONDS = 30.0
# Until the worker stops.
PATIENTLY = math.inf

log = structlog.get_logger(__name__)
Reply = TypeVar("Reply", bound=Message)
LeaseState = Literal["held", "lost", "cancelled"]


class Control(Protocol):
    """What a worker's loop asks of the control plane, whichever way it is reached."""

    @property
    def away(self) -> bool:
        """Whether the last call found nobody."""

    @property
    def has_others(self) -> bool:
        """Whether others may run what this worker hands back, so that it pays to do so early."""

    def lease(self, request: LeaseRequest, give_up: Callable[[], bool]) -> LeaseReply | None:
        """Ask for work; None if there is none."""

    def heartbeat(self, request: HeartbeatRequest, *, seconds: float) -> HeartbeatReply:
        """Renew leases."""

    def about_job(
        self, job_id: str, action: str, request: Message, reply: type[Reply], *, seconds: float = PATIENTLY
    ) -> Reply:
        """Tell of ``tasks`` that are done or ``failed``, or ``release`` a lease."""


class Token(Protocol):
    """A token that somebody keeps fresh."""

    def rotate_if_due(self) -> None:
        """Renew it in good time."""


class ControlPlane:
    """Calls of the compute API; safe to use from several threads.

    Each call is sent again, with growing pauses, while the control plane is away. That it is, and that
    it is back, is said once.

    Parameters
    ----------
    settings
        Where the control plane is, and how to trust it.
    stop
        When set, patient calls give up.

    Raises
    ------
    ConfigError
        ``bad_url``, ``insecure_url``, ``bad_ca_bundle``, ``bad_proxy`` or ``insecure_proxy``.
    """

    def __init__(self, settings: WorkerSettings, stop: Event) -> None:
        self.url = base_url(settings.control_api_url, insecure=settings.insecure)
        self.token: str | None = None
        self._stop = stop
        self._http = httpx.Client(
            base_url=self.url,
            headers={INSTANCE: str(uuid.uuid4()), VERSION: __version__},
            transport=Transport(**options(self.url, settings.ca_bundle)),
        )
        self._state = Lock()
        self._away = False
        self._known = False

    @property
    def has_others(self) -> bool:
        """True; see :class:`Control`."""
        return True

    @property
    def away(self) -> bool:
        """Whether the last call found no control plane."""
        with self._state:
            return self._away

    def register(self, request: RegisterRequest) -> RegisterReply:
        """Exchange a one-time enroll token for an identity."""
        return self._need("servers/register", request, RegisterReply)

    def rotate_token(self) -> WorkerTokenReply:
        """Ask for a new token; the old one goes on for a grace period."""
        return self._need("servers/token", None, WorkerTokenReply, seconds=REPLY_SECONDS)

    def lease(self, request: LeaseRequest, give_up: Callable[[], bool]) -> LeaseReply | None:
        """Ask for work; None if there was none within ``request.wait_seconds``."""
        return self.call(
            "jobs/lease",
            request,
            LeaseReply,
            reply_seconds=REPLY_SECONDS + request.wait_seconds,
            give_up=give_up,
        )

    def heartbeat(self, request: HeartbeatRequest, *, seconds: float) -> HeartbeatReply:
        """Renew leases; no use in trying for longer than until the next heartbeat."""
        return self._need("heartbeat", request, HeartbeatReply, seconds=seconds)

    def about_job(
        self, job_id: str, action: str, request: Message, reply: type[Reply], *, seconds: float = PATIENTLY
    ) -> Reply:
        """Send ``tasks``, ``failed`` or ``release`` for a job."""
        return self._need(f"jobs/{job_id}/{action}", request, reply, seconds=seconds)

    def _need(
        self, path: str, request: Message | None, reply: type[Reply], *, seconds: float = PATIENTLY
    ) -> Reply:
        found = self.call(path, request, reply, seconds=seconds)
        if found is None:
            raise self._refused(path, "it is empty")
        return found

    def call(
        self,
        path: str,
        request: Message | None,
        reply: type[Reply],
        *,
        seconds: float = PATIENTLY,
        reply_seconds: float = REPLY_SECONDS,
        give_up: Callable[[], bool] = lambda: False,
    ) -> Reply | None:
        """POST a request, again and again for ``seconds``, and return the reply; None for 204.

        A patient call ends before only if ``give_up`` says so after a failed attempt.

        Raises
        ------
        ZPEError
            What the control plane answered, or that it stayed away. ``bad_reply``: the answer is not what it
            must be; so much is in the log.
        """
        policy = retrying(seconds, before_sleep=self._say_away)
        policy["retry"] = tenacity.retry_if_exception(self._may_pass)
        if math.isinf(seconds):
            policy["stop"] = lambda _state: self._stop.is_set() or give_up()
            policy["sleep"] = tenacity.sleep_using_event(self._stop)
        try:
            response = tenacity.Retrying(**policy)(self._post, path, request, reply_seconds)
        except httpx.TransportError as error:
            raise unreachable(self.url, error) from error
        except httpx.HTTPStatusError as error:
            response = error.response
        except ConfigError as error:  # the reply was too long to be read
            raise self._refused(path, error.message) from None
        raise_for_error(response)
        with self._state:
            back, self._away = self._away, False
        if back:
            log.info("the control plane is back")
        if response.status_code == 204:
            return None
        try:
            found = read_reply(response, reply)
        except ConfigError as error:
            if error.code == "not_a_control_plane" and not self._known:
                raise
            raise self._refused(path, error.message) from None
        self._known = True
        return found

    def _refused(self, path: str, why: str) -> ConfigError:
        """Log that a reply is not what it must be, and return the error that says so to the caller."""
        log.warning("a reply of the control plane changes nothing here", call=path, reason=why)
        return ConfigError(why, code="bad_reply")

    def _post(self, path: str, request: Message | None, reply_seconds: float) -> httpx.Response:
        headers = {REQUEST_ID: uuid.uuid4().hex, "Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        response = self._http.post(
            f"{COMPUTE}/{path}",
            content=request.model_dump_json() if request else "{}",
            headers=headers,
            timeout=httpx.Timeout(REPLY_SECONDS, read=reply_seconds, connect=10),
        )
        if response.is_redirect or response.status_code >= 400:
            response.raise_for_status()
        return response

    def _may_pass(self, error: BaseException) -> bool:
        """Tell whether the request may succeed later.

        A 5xx is not final: giving up would discard a finished SCF. Neither is a proxy's reply, whatever its
        status, while the control plane behind it is down. One that was there before may get another
        certificate; one that never was has the wrong address.
        """
        if isinstance(error, httpx.TransportError) and self._known:
            return True
        if not isinstance(error, httpx.HTTPStatusError):
            return is_passing(error)
        status = error.response.status_code
        if is_passing(error) or (status >= 500 and status != 501):  # 501: a server of another kind
            return True
        try:
            raise_for_error(error.response)
        except ZPEError as named:
            return self._known and named.code in ("not_a_control_plane", "wrong_scheme")
        return False

    def _say_away(self, state: tenacity.RetryCallState) -> None:
        with self._state:
            before, self._away = self._away, True
        if before:
            return
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, httpx.HTTPStatusError):
            reason = f"HTTP {error.response.status_code}"
        elif isinstance(error, httpx.TransportError):
            reason = unreachable(self.url, error).message
        else:
            reason = f"{type(error).__name__}: {error}"
        log.warning("the control plane is away; work goes on and waits", url=str(self.url), reason=reason)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()
