"""The control plane's transitions as a worker's loop calls them, without the way over HTTP."""

from __future__ import annotations

import math
import uuid
from collections.abc import Awaitable, Callable
from threading import Event
from typing import TypeVar

import structlog
import tenacity
from anyio.from_thread import BlockingPortal

from zpe_sdk.errors import StoreError
from zpe_sdk.wire import (
    FailedRequest,
    HeartbeatReply,
    HeartbeatRequest,
    LeaseReply,
    LeaseRequest,
    Message,
    Ok,
    ReleaseRequest,
    StepRequest,
    TaskReportRequest,
)
from zpe_sdk.worker.control import PATIENTLY
from zpe_server.backends.remote_queue.leases import JobLeases
from zpe_server.reports import Reports
from zpe_server.tokens import Principal

log = structlog.get_logger(__name__)
Answer = TypeVar("Answer")
Reply = TypeVar("Reply", bound=Message)


class Direct:
    """One lease on one job, and all that is told about leases; safe to use from several threads.

    Each call is made again, with growing pauses, while Redis is away.

    Parameters
    ----------
    portal
        The event loop that the transitions run in.
    leases, reports
        The transitions.
    worker
        Who makes them.
    job_id, lease_id
        What RQ has given to this worker.
    stop
        When set, patient calls give up.
    """

    def __init__(
        self,
        portal: BlockingPortal,
        leases: JobLeases,
        reports: Reports,
        worker: Principal,
        job_id: str,
        lease_id: str,
        stop: Event,
    ) -> None:
        self._portal = portal
        self._leases = leases
        self._reports = reports
        self._worker = worker
        self._job_id = job_id
        self._lease_id = lease_id
        self._instance = str(uuid.uuid4())
        self._stop = stop
        self._asked = False
        self.away = False
        self.has_others = False  # RQ has given the job as a whole to this worker

    def lease(self, request: LeaseRequest, give_up: Callable[[], bool]) -> LeaseReply | None:
        """Return the lease that this worker was sent for, once; then None."""
        if self._asked:
            return None
        lease = self._call(
            lambda: self._leases.lease_job(
                self._worker, self._job_id, self._lease_id, request.capabilities, instance=self._instance
            ),
            PATIENTLY,
            give_up,
        )
        self._asked = True
        if lease is None:
            log.info("nothing to do for this worker", job_id=self._job_id)
        return lease

    def heartbeat(self, request: HeartbeatRequest, *, seconds: float) -> HeartbeatReply:
        """Renew leases, and hear what became of them."""
        return self._call(
            lambda: self._leases.heartbeat(self._worker, request, instance=self._instance), seconds
        )

    def about_job(
        self, job_id: str, action: str, request: Message, reply: type[Reply], *, seconds: float = PATIENTLY
    ) -> Reply:
        """Tell of finished tasks, of failed ones, or that a lease goes back."""
        answer = self._call(lambda: self._tell(job_id, request), seconds)
        assert isinstance(answer, reply), action
        return answer

    async def _tell(self, job_id: str, request: Message) -> Message:
        worker, instance = self._worker, self._instance
        match request:
            case TaskReportRequest():
                # The result is made by the control plane: only that has the credentials of its store.
                told, _complete = await self._reports.report(worker, job_id, request, instance=instance)
                return told
            case StepRequest():
                return await self._reports.step(worker, job_id, request, instance=instance)
            case FailedRequest():
                return await self._reports.fail(worker, job_id, request, instance=instance)
            case ReleaseRequest():
                await self._leases.release(worker, job_id, request, instance=instance)
                return Ok()
        raise TypeError(type(request).__name__)

    def _call(
        self,
        function: Callable[[], Awaitable[Answer]],
        seconds: float,
        give_up: Callable[[], bool] = lambda: False,
    ) -> Answer:
        def has_ended(state: tenacity.RetryCallState) -> bool:
            return self._stop.is_set() or give_up()

        patient = math.isinf(seconds)
        call = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(StoreError),
            wait=tenacity.wait_random_exponential(multiplier=0.5, max=10),
            stop=has_ended if patient else tenacity.stop_after_delay(seconds),
            sleep=tenacity.sleep_using_event(self._stop) if patient else tenacity.nap.sleep,
            before_sleep=self._say_away,
            reraise=True,
        )
        answer: Answer = call(self._portal.call, function)
        if self.away:
            log.info("Redis is back")
        self.away = False
        return answer

    def _say_away(self, _state: tenacity.RetryCallState) -> None:
        if not self.away:
            log.warning("Redis is away; work goes on and waits")
        self.away = True
