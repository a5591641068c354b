"""Brings the messages of the outbox to the control plane, one request at a time, in order.

Results of short SCFs travel together: after a request of length t, those that nobody waits for rest for 99 t,
at most a second, so that the network takes no more than a hundredth of the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Condition

import structlog

from zpe_sdk.errors import ZPEError
from zpe_sdk.traces import Traces, now
from zpe_sdk.wire import FailedReply, Ok, StepReply, TaskReportReply
from zpe_sdk.worker.control import PATIENTLY, Control
from zpe_sdk.worker.messages import Answer, Failure, OutboxMessage, failed, request_for
from zpe_sdk.worker.outbox import Outbox

MAX_BATCH = 32
REST_PER_SECOND = 99.0
MAX_REST_SECONDS = 1.0
# Before a message is sent again whose answer could not be understood.
BAD_REPLY_SECONDS = 2.0
# Between two attempts to bring results of jobs that the control plane does not know.
AGAIN_SECONDS = 30.0
# The lease or the job that a message is about is gone.
_GONE = {"lease_not_yours", "lease_not_found", "not_found", "job_not_found"}

log = structlog.get_logger(__name__)


class Delivery:
    """Sends messages as they come.

    Parameters
    ----------
    control, outbox
        Where messages go to and come from.
    answered
        Called with the first of the messages that went together, and the answer, once they are out of the
        outbox.
    traces
        Where spans of requests go, outages that they waited out included.
    """

    def __init__(
        self,
        control: Control,
        outbox: Outbox,
        answered: Callable[[OutboxMessage, Answer], None],
        traces: Traces,
    ) -> None:
        self._control = control
        self._outbox = outbox
        self._answered = answered
        self._traces = traces
        self._changed = Condition()
        self._deadline: float | None = None
        self._hurry = False
        self._rest_until = 0.0
        self._again_at = 0.0

    def send(self, message: OutboxMessage, *, hurry: bool = True) -> None:
        """Keep a message, and send it at once or, without ``hurry``, with others that follow soon."""
        self._outbox.put(message)
        with self._changed:
            self._hurry |= hurry
            self._changed.notify_all()

    def hurry(self) -> None:
        """Send at once what rests."""
        with self._changed:
            self._hurry = True
            self._changed.notify_all()

    def offer_again(self) -> None:
        """Send once more, from time to time, what the control plane knew no job or lease of."""
        if time.monotonic() >= self._again_at:
            self._again_at = time.monotonic() + AGAIN_SECONDS
            if self._outbox.bring_back():
                self.hurry()

    def close(self, seconds: float) -> None:
        """Let :meth:`run` end once all is sent, or after about ``seconds``; what is left stays on disk."""
        with self._changed:
            self._deadline = time.monotonic() + seconds
            self._changed.notify_all()

    def run(self) -> None:
        """Send messages until closed.

        Raises
        ------
        ZPEError
            The worker's token is not accepted (any more), or this never was a control plane.
        """
        limit = MAX_BATCH
        while True:
            with self._changed:
                while self._deadline is None and (rest := self._rest()) != 0:
                    self._changed.wait(rest)
                deadline = self._deadline
            seconds = PATIENTLY if deadline is None else deadline - time.monotonic()
            if len(self._outbox) == 0 or seconds <= 0:
                return
            messages = self._outbox.first(limit)
            try:
                began, since = time.monotonic(), now()
                self._deliver(messages, seconds)
                self._traces.span(
                    messages[0].job_id,
                    "deliver",
                    since,
                    now(),
                    what=messages[0].kind,
                    messages=len(messages),
                )
                with self._changed:
                    ended = time.monotonic()
                    self._rest_until = ended + min(MAX_REST_SECONDS, REST_PER_SECOND * (ended - began))
                    self._hurry &= len(self._outbox) > 0
            except ZPEError as error:
                if error.side == "auth" or (error.code == "not_a_control_plane" and deadline is None):
                    raise
                if error.code == "bad_reply" and deadline is None:
                    with self._changed:
                        self._changed.wait_for(lambda: self._deadline is not None, BAD_REPLY_SECONDS)
                    continue
                if error.side in ("store", "config"):  # away, and patience ended because the worker stops
                    with self._changed:
                        self._changed.wait_for(lambda: self._deadline is not None)
                    if deadline is not None:
                        return
                    continue
                if error.code not in _GONE and len(messages) > 1:
                    limit = 1  # one of them is at fault: which?
                    continue
                self._refused(messages, error)
            limit = MAX_BATCH

    def _rest(self) -> float | None:
        """Return for how long there is nothing to do; None: until something comes."""
        count = len(self._outbox)
        if count == 0:
            return None
        return 0 if self._hurry or count >= MAX_BATCH else max(0.0, self._rest_until - time.monotonic())

    def _deliver(self, messages: list[OutboxMessage], seconds: float) -> None:
        first = messages[0]
        request = request_for(messages)
        answer = Answer()
        if first.kind == "tasks":
            reply = self._control.about_job(first.job_id, "tasks", request, TaskReportReply, seconds=seconds)
            if reply.refused:
                log.warning(
                    "results were not needed",
                    job_id=first.job_id,
                    tasks=reply.refused,
                    reason=reply.detail,
                )
            # A relaxation may be followed by displacements, which start from its density.
            relaxed = any(message.report and message.report.relaxation for message in messages)
            answer = Answer(
                job=reply.job_status,
                complete=reply.progress.done == reply.progress.total and not relaxed,
                # Refused, and the lease gone: other physics, or others have the tasks. To go on is no use.
                lease="held" if reply.lease_held else "cancelled" if reply.refused else "lost",
                left=reply.left,
            )
        elif first.kind == "steps":
            told = self._control.about_job(first.job_id, "steps", request, StepReply, seconds=seconds)
            if told.reason:
                log.warning("an ionic step was refused", job_id=first.job_id, reason=told.detail)
            # Others go on from the steps that are stored: this relaxation is of no use any more.
            answer = Answer(job=told.job_status, lease="held" if told.lease_held else "cancelled")
        elif first.kind == "failed":
            verdict = self._control.about_job(first.job_id, "failed", request, FailedReply, seconds=seconds)
            log.info(
                "failure was reported",
                job_id=first.job_id,
                requeued=verdict.requeued,
                retry_count=verdict.retry_count,
            )
        else:
            self._control.about_job(first.job_id, "release", request, Ok, seconds=seconds)
            log.info("lease was handed back", job_id=first.job_id, lease_id=first.lease_id)
        self._outbox.remove(len(messages))
        self._answered(first, answer)

    def _refused(self, messages: list[OutboxMessage], error: ZPEError) -> None:
        first = messages[0]
        if not first.again:
            log.warning(
                "the control plane refused what it was told",
                job_id=first.job_id,
                lease_id=first.lease_id,
                kind=first.kind,
                tasks=[message.report.task for message in messages if message.report],
                reason=str(error),
            )
        if error.code in _GONE:
            results = self._outbox.postpone(len(messages))
            if results and not first.again:
                log.warning("finished SCFs are kept, and offered again for a week", count=results)
            self._answered(first, Answer(lease="cancelled"))
            return
        # Not for any fault of the SCF: kept for people to look at, and the task is tried again.
        self._outbox.set_aside()
        if task := first.report or first.step:
            why = Failure("report_refused", f"the control plane refused the result: {error}")
            self.send(failed(first, [task.task], why))
        if first.step:
            self._answered(first, Answer(lease="cancelled"))  # none of the next ones could be stored
