"""Transitions by which workers tell of their tasks: forces, failures, whole results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NotRequired, TypedDict

from zpe_sdk.wire import ErrorInfo, JobState
from zpe_server.transitions.base import Listed, Transition
from zpe_server.transitions.leases import Retry, UnderLease

NotTaken = Literal[
    "not_found", "lease_not_yours", "malformed", "partial", "cancelled", "discarded", "step_missing"
]

# Counted and retried; this machine cannot, others may; nobody can.
Failure = Literal["compute", "capability", "input"]


class Reported(TypedDict):
    """What became of each task, and where job and lease stand now."""

    accepted: Listed[int]
    idempotent: Listed[int]
    refused: Listed[int]
    reason: NotRequired[str]
    difference: NotRequired[str]
    status: str
    progress: dict[str, int]
    complete: NotRequired[bool]
    lease_held: bool
    left: NotRequired[Listed[int]]
    error: NotRequired[NotTaken]


@dataclass(frozen=True, kw_only=True)
class Report(UnderLease, Transition[Reported], texts=("reports",)):
    """Store finished tasks.

    Attributes
    ----------
    tasks, fingerprints, setups, seconds, atoms
        One entry for each task.
    ends
        Of each task, the number of atoms in the structure in which a relaxation has ended; 0: a single SCF.
    reports
        Two texts for each task: its report, and the short record of who ran it.
    """

    tasks: Sequence[int]
    fingerprints: Sequence[str]
    setups: Sequence[str]
    seconds: Sequence[float]
    month: str
    atoms: Sequence[int]
    ends: Sequence[int] = ()
    keep_ms: int
    reports: Sequence[str]


class Failed(TypedDict):
    """Whether the tasks are tried again, and how often they have failed."""

    requeued: bool
    retry_count: int
    status: str
    error: NotRequired[NotTaken]


@dataclass(frozen=True, kw_only=True)
class Fail(UnderLease, Transition[Failed]):
    """Take a failure of tasks; None are all that the lease still holds."""

    tasks: Sequence[int] | None
    failure: Failure
    error: ErrorInfo
    retry: Retry


class Settled(TypedDict, total=False):
    """Whether the result was taken, now or before."""

    settled: bool
    idempotent: bool
    error: NotTaken


@dataclass(frozen=True, kw_only=True)
class Settle(UnderLease, Transition[Settled], texts=("result", "summary", "freqs")):
    """Take the result of a whole job from a worker that settles it in one go."""

    result: str
    summary: str
    freqs: str


class StepStored(TypedDict):
    """Whether it was stored now, and whether the relaxation is to go on under this lease."""

    stored: bool
    lease_held: bool
    status: JobState
    reason: NotRequired[str]
    difference: NotRequired[str]
    error: NotRequired[NotTaken]


@dataclass(frozen=True, kw_only=True)
class StoreStep(UnderLease, Transition[StepStored], texts=("step", "course")):
    """Store an ionic step of a relaxation, and where it goes from there."""

    task: int
    index: int
    atoms: int
    fingerprint: str
    max_force: float
    seconds: float
    step: str
    course: str
