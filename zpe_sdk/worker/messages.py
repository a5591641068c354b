"""What a worker tells the control plane about a lease, and what it hears of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from zpe_sdk.errors import Side
from zpe_sdk.wire import (
    FailedRequest,
    Id,
    JobState,
    Message,
    ReleaseRequest,
    StepRequest,
    TaskReport,
    TaskReportRequest,
)
from zpe_sdk.worker.control import LeaseState
from zpe_sdk.worker.engines import StepTaken


class OutboxMessage(Message):
    """One thing to tell about a lease: exactly one of ``report``, ``step`` and ``failure``, or none of them.

    Without any, ``returned`` tasks go back, or, if it is null, all that the lease still has. ``again``: it
    was sent before, to a control plane that did not know its job or lease.
    """

    job_id: Id
    lease_id: Id
    report: TaskReport | None = None
    step: StepRequest | None = None
    failure: FailedRequest | None = None
    returned: list[int] | None = None
    again: bool = False

    @property
    def kind(self) -> Literal["tasks", "steps", "failed", "release"]:
        """Last part of the path of the call that carries it."""
        if self.step:
            return "steps"
        return "tasks" if self.report else "failed" if self.failure else "release"


def request_for(messages: Sequence[OutboxMessage]) -> Message:
    """Return the request that carries messages of one kind about one lease."""
    first = messages[0]
    if first.failure:
        return first.failure
    if first.step:
        return first.step
    if first.report:
        reports = [message.report for message in messages if message.report]
        return TaskReportRequest(lease_id=first.lease_id, reports=reports)
    return ReleaseRequest(lease_id=first.lease_id, tasks=first.returned)


@dataclass(frozen=True)
class Answer:
    """What the control plane has said of a message's job and lease, as far as it has.

    ``left`` are the tasks that the lease still has, if others were taken out of it. ``complete``: all SCFs of
    the job were in, so that most likely none will be wanted any more.
    """

    job: JobState | None = None
    lease: LeaseState = "held"
    left: list[int] | None = None
    complete: bool = False


class OfLease(Protocol):
    """Whatever names a lease and its job."""

    @property
    def job_id(self) -> str:
        """The job's id."""

    @property
    def lease_id(self) -> str:
        """The lease's id."""


@dataclass(frozen=True)
class Failure:
    """Why a task has failed, and on whose side."""

    code: str
    message: str
    side: Side = "compute"
    traceback: str | None = None


def reported(lease: OfLease, report: TaskReport) -> OutboxMessage:
    """Return the message that a task of a lease is done."""
    return OutboxMessage(job_id=lease.job_id, lease_id=lease.lease_id, report=report)


def stepped(lease: OfLease, taken: StepTaken) -> OutboxMessage:
    """Return the message that a relaxation, task 0 of a lease, has taken a step."""
    request = taken.request(lease.lease_id)
    return OutboxMessage(job_id=lease.job_id, lease_id=lease.lease_id, step=request)


def readdressed(lease: OfLease, step: StepRequest) -> OutboxMessage:
    """Return the message of a step under another lease than it was taken under."""
    request = step.model_copy(update={"lease_id": lease.lease_id})
    return OutboxMessage(job_id=lease.job_id, lease_id=lease.lease_id, step=request)


def failed(lease: OfLease, tasks: list[int], why: Failure) -> OutboxMessage:
    """Return the message that tasks of a lease have failed."""
    request = FailedRequest(
        lease_id=lease.lease_id,
        error_code=why.code,
        error_message=why.message,
        traceback=why.traceback,
        tasks=tasks,
        side=why.side,
    )
    return OutboxMessage(job_id=lease.job_id, lease_id=lease.lease_id, failure=request)


def handed_back(lease: OfLease, tasks: list[int] | None = None) -> OutboxMessage:
    """Return the message that tasks of a lease go back; None: all that it still has."""
    return OutboxMessage(job_id=lease.job_id, lease_id=lease.lease_id, returned=tasks)
