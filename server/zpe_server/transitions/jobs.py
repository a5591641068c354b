"""Transitions of whole jobs, from submission until they are forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NotRequired, TypedDict

from zpe_sdk.wire import ErrorInfo, Limits
from zpe_server.transitions.base import Listed, Transition


class Nothing(TypedDict):
    """The reply of a transition that has nothing to say."""


class Submitted(TypedDict):
    """Which job it is, its priority among all, and whether nothing is left to compute; or why there is none.

    ``over`` names the limit of the owner that is reached, which ``may`` says.
    """

    job: str
    created: bool
    priority: NotRequired[int]
    complete: NotRequired[bool]
    over: NotRequired[Literal["jobs", "bytes"]]
    may: NotRequired[int]
    conflict: NotRequired[bool]
    taken: NotRequired[bool]
    disabled: NotRequired[bool]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What a stage of a job consists of, beside its large texts.

    Attributes
    ----------
    total, full
        Its tasks, and how many there would be without symmetry.
    fields
        Of the job's record.
    scf_keys
        By task, the key of what decides its forces; empty where none is to be taken over.
    copies
        Tasks that the last ones are copies of.
    reuse
        Take over what earlier jobs of the owner have computed.
    keep_ms
        How long SCFs are kept for later jobs.
    alive_ms
        Who was heard of so long ago counts as a worker.
    """

    total: int
    full: int
    fields: Mapping[str, str | float]
    scf_keys: Sequence[str] = ()
    copies: Sequence[int] = ()
    reuse: bool = False
    keep_ms: int
    alive_ms: float


@dataclass(frozen=True, kw_only=True)
class Submit(Transition[Submitted], texts=("payload", "plan", "task_table")):
    """Accept a planned job, once per idempotency key.

    ``limits`` are those that go for all owners; None: of an administrator, who has none. ``only`` says, as
    JSON, for which workers it is: ``{"mine": true}``, ``{"workers": {id: true}}`` or
    ``{"group": name}``.
    """

    job: str
    owner: str
    only: str | None = None
    priority: int = 0
    limits: Limits | None = None
    idempotency_key: str = ""
    digest: str = ""
    idempotency_ms: int
    labels: Mapping[str, str] = field(default_factory=dict)
    asked: str = ""
    once: bool = False
    stage: Stage
    payload: str
    plan: str
    task_table: str


class Relabelled(TypedDict):
    """Nothing, or why it could not be."""

    error: NotRequired[Literal["not_found"]]


@dataclass(frozen=True, kw_only=True)
class Relabel(Transition[Relabelled]):
    """Change the labels of a job; "" takes one away."""

    job: str
    labels: Mapping[str, str]
    retire_ms: int


class Advanced(TypedDict):
    """Whether this call put the next stage in place, and whether nothing of it is left to compute."""

    advanced: bool
    complete: NotRequired[bool]


@dataclass(frozen=True, kw_only=True)
class Advance(Transition[Advanced], texts=("payload", "plan", "task_table")):
    """Put a job's next stage in the place of one whose tasks are all done."""

    job: str
    generation: str
    stage: Stage
    payload: str
    plan: str
    task_table: str


class Cancelled(TypedDict):
    """The job's status now."""

    status: str
    error: NotRequired[Literal["not_found", "over"]]


@dataclass(frozen=True, kw_only=True)
class Cancel(Transition[Cancelled]):
    """Cancel a queued or running job."""

    job: str
    by: str
    retire_ms: int


class Requeued(TypedDict):
    """Where the job stands now, and whether only its result has to be made."""

    status: str
    progress: dict[str, int]
    complete: bool
    error: NotRequired[Literal["not_found", "not_in_dlq"]]


@dataclass(frozen=True, kw_only=True)
class Requeue(Transition[Requeued]):
    """Give a job of the dead-letter queue another chance."""

    job: str
    by: str


class Discarded(TypedDict):
    """Nothing, or why it could not be."""

    error: NotRequired[Literal["not_found", "not_in_dlq"]]


@dataclass(frozen=True, kw_only=True)
class Discard(Transition[Discarded]):
    """Take a job out of the dead-letter queue for good."""

    job: str
    by: str
    retire_ms: int


class Finished(TypedDict):
    """Whether it was this call that finished the job."""

    finished: bool


@dataclass(frozen=True, kw_only=True)
class Finish(Transition[Finished]):
    """Mark a job finished whose result, made of this generation of forces, is stored."""

    job: str
    bytes: int
    generation: str
    retire_ms: int
    zpe_ev: str


class FinishedFailed(TypedDict):
    """Whether it was this call that failed the job."""

    failed: bool


@dataclass(frozen=True, kw_only=True)
class FinishFailed(Transition[FinishedFailed]):
    """Fail a job whose SCFs are all in, but give no result."""

    job: str
    generation: str
    error: ErrorInfo
    doubtful: Sequence[int] = ()


class Again(TypedDict):
    """An SCF to be run again: from which density, how far off it was (eV), and why."""

    task: int
    start: str
    misfit: float
    message: str


class Rerunning(TypedDict):
    """How many SCFs are run again; 0 where another process has decided already."""

    rerun: int


@dataclass(frozen=True, kw_only=True)
class Rerun(Transition[Rerunning]):
    """Run SCFs of a job again whose SCFs are all in."""

    job: str
    generation: str
    again: Sequence[Again]


class GivenUp(TypedDict):
    """How many jobs have failed."""

    failed: int


@dataclass(frozen=True, kw_only=True)
class GiveUp(Transition[GivenUp]):
    """Fail jobs that wait for work nobody will do."""

    error: ErrorInfo
    limit: int


class Due(TypedDict):
    """Ids of jobs."""

    jobs: Listed[str]


@dataclass(frozen=True, kw_only=True)
class ListDue(Transition[Due]):
    """List jobs whose retention is over."""

    limit: int


@dataclass(frozen=True, kw_only=True)
class Retire(Transition[Nothing]):
    """Forget jobs whose results are deleted."""

    jobs: Sequence[str]


class Statuses(TypedDict):
    """The record of each job, or False."""

    jobs: Listed[Any]


@dataclass(frozen=True, kw_only=True)
class ReadStatuses(Transition[Statuses]):
    """Read what the status of jobs shows."""

    jobs: Sequence[str]


class Rows(TypedDict):
    """Of each job, the values of its fields, or False."""

    rows: Listed[list[str | Literal[False]]]


@dataclass(frozen=True, kw_only=True)
class ReadFields(Transition[Rows]):
    """Read some fields of many jobs."""

    jobs: Sequence[str]
    fields: Sequence[str]


class Reasons(TypedDict):
    """Of each job, side and code of its error, or False."""

    reasons: Listed[tuple[str, str] | Literal[False]]


@dataclass(frozen=True, kw_only=True)
class ReadReasons(Transition[Reasons]):
    """Read why jobs have failed."""

    jobs: Sequence[str]
