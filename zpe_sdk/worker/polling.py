"""Asks the control plane for leases, one request at a time."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from threading import Event

import structlog

from zpe_sdk.errors import ConfigError, ZPEError
from zpe_sdk.wire import LeaseReply, LeaseRequest
from zpe_sdk.worker.control import Control
from zpe_sdk.worker.engines import Engine
from zpe_sdk.worker.held import Ask
from zpe_sdk.worker.outbox import Outbox

POLL_SECONDS = 25.0
# While there is work on hand. A worker that stops waits for its last poll before it hands leases back,
# or that poll would bring them home again.
SHORT_POLL_SECONDS = 2.0

log = structlog.get_logger(__name__)


class Polling:
    """Requests for work, each of which waits until there is some.

    Parameters
    ----------
    control, engine, outbox
        Who is asked, what can be run, and what has to be told before.
    stopping
        Set when the worker stops.
    wanted
        Waits until there is something to ask for, and returns it; None at the end.
    answered
        Called with what was asked for and the lease that was given; None: there is no work.
    drain
        Do not wait for work that comes later.
    """

    def __init__(
        self,
        control: Control,
        engine: Engine,
        outbox: Outbox,
        stopping: Event,
        wanted: Callable[[], Ask | None],
        answered: Callable[[Ask, LeaseReply | None], None],
        *,
        drain: bool,
    ) -> None:
        self._control = control
        self._engine = engine
        self._outbox = outbox
        self._drain = drain
        self._stopping = stopping
        self._wanted = wanted
        self._answered = answered
        self._request: LeaseRequest | None = None

    def run(self) -> None:
        """Ask for work whenever it is wanted.

        Raises
        ------
        ZPEError
            The worker's token is not accepted (any more), or this never was a control plane.
        """
        # One key until there is an answer: a lost reply must not leave a lease that nobody knows of.
        lease_key = uuid.uuid4().hex
        refused = 0
        while ask := self._wanted():
            try:
                capabilities = self._engine.capabilities()
            except ConfigError as error:  # an unmounted file system may come back
                log.warning("this machine cannot take work at the moment", reason=str(error))
                self._stopping.wait(POLL_SECONDS)
                continue
            self._request = LeaseRequest(
                max_tasks=ask.tasks,
                wait_seconds=0.0 if self._drain else POLL_SECONDS if ask.idle else SHORT_POLL_SECONDS,
                capabilities=capabilities,
                lease_key=lease_key,
                warm=ask.warm,
            )
            try:
                lease = self._control.lease(self._request, give_up=self._has_messages)
            except ZPEError as error:
                if self._stopping.is_set():
                    return
                if error.code == "bad_reply":  # whatever it was, it is not taken: another lease may be better
                    self._request, lease_key, refused = None, uuid.uuid4().hex, refused + 1
                    self._stopping.wait(min(POLL_SECONDS, 2.0 ** (refused - 1)))
                    continue
                if self._has_messages() and error.side in ("config", "store"):
                    continue
                raise
            lease_key, refused = uuid.uuid4().hex, 0
            if lease is None:
                self._request = None
                self._answered(ask, None)
            else:  # until it is taken, it may have to be handed back
                self._answered(ask, lease)
                self._request = None

    def settle(self) -> LeaseReply | None:
        """Return what the request that is still under way was given, if its answer is not here yet."""
        if self._request is None or self._control.away:
            return None
        try:
            request = self._request.model_copy(update={"wait_seconds": 0})
            return self._control.lease(request, give_up=lambda: True)
        except ZPEError:  # the lease, if there is one, will expire
            return None

    def _has_messages(self) -> bool:
        return len(self._outbox) > 0
