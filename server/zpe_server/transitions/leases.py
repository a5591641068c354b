"""Transitions of leases: how they are given, renewed, released and lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NotRequired, TypedDict

from zpe_sdk.wire import Accepts
from zpe_server.transitions.base import Listed, Transition
from zpe_server.transitions.jobs import Nothing


@dataclass(frozen=True, kw_only=True)
class ByWorker:
    """Which process of a worker calls; all its leases are renewed, unless it has no name (``instance``)."""

    worker: str
    instance: str = ""
    ttl_ms: float


@dataclass(frozen=True, kw_only=True)
class UnderLease(ByWorker):
    """Of which lease, on which job, a worker tells."""

    job: str
    lease: str


@dataclass(frozen=True, kw_only=True)
class Able:
    """What a worker can run. One that tells nothing is offered anything.

    Attributes
    ----------
    accepts
        Whose jobs the machine takes at most, whatever its owner lets it.
    pseudopotentials, tags
        A set each: its members are the keys.
    slots
        How many SCFs it runs at once.
    digest
        Stands for all of it.
    """

    accepts: Accepts = "all"
    engine: str = ""
    engine_version: str = ""
    environ: bool = True
    environ_input: bool = False
    relaxes: bool = False
    pseudopotentials: Mapping[str, Literal[True]] | None = None
    slots: int = 1
    cores: int = 0
    memory_gb: float = 0
    tags: Mapping[str, Literal[True]] = field(default_factory=dict)
    digest: str = "unknown"


class Leased(TypedDict, total=False):
    """A share of a job; or what keeps this worker from one."""

    job: str
    name: str
    lease: str
    tasks: Listed[str]
    payload: str
    task_table: str
    request_id: str
    more: bool
    starts: dict[str, str]
    steps: int
    steps_from: int
    course: str
    waited_ms: float
    blocked: bool
    next: int


@dataclass(frozen=True, kw_only=True)
class Lease(ByWorker, Transition[Leased], texts=("capabilities",)):
    """Give a worker a share of the first job in line that it can and may run.

    ``max_scfs`` is how many SCFs an owner may run at once on workers of others.
    """

    lease: str
    max_scfs: int | None = None
    max_tasks: int
    alive_ms: float
    warm: Sequence[str] = ()
    warm_turns: int = 0
    offset: int = 0
    scan: int
    of_job: str | None = None
    force: bool = False
    able: Able
    capabilities: str


class Beats(TypedDict):
    """What became of each lease, and the tasks left to those that some were taken out of."""

    leases: Mapping[str, Literal["held", "lost", "cancelled"]]
    left: Mapping[str, Listed[int]]
    draining: bool


@dataclass(frozen=True, kw_only=True)
class Told:
    """How far the SCFs of a lease are.

    Attributes
    ----------
    scfs
        A JSON list of :class:`zpe_sdk.wire.RunningScf`.
    mark
        Differs where an iteration has ended: what whoever waits for news wants to hear of.
    """

    scfs: str
    mark: str


@dataclass(frozen=True, kw_only=True)
class Heartbeat(ByWorker, Transition[Beats]):
    """Renew leases.

    Attributes
    ----------
    running
        By lease.
    memory_free_gb
        Of the worker's machine; None: not known.
    ending
        Whether it is the worker's last.
    """

    leases: Sequence[str]
    running: Mapping[str, Told] = field(default_factory=dict)
    memory_free_gb: float | None = None
    ending: bool = False


@dataclass(frozen=True, kw_only=True)
class NoteSeen(Transition[Nothing]):
    """Note that workers were heard of, and the free memory of those that told it."""

    workers: Sequence[str]
    memory_free_gb: Mapping[str, float]


class Released(TypedDict):
    """Whose lease it was."""

    job: str
    error: NotRequired[Literal["lease_not_found", "lease_not_yours"]]


@dataclass(frozen=True, kw_only=True)
class Release(UnderLease, Transition[Released]):
    """Give unfinished tasks of a lease back, uncounted; an administrator names neither worker nor job."""

    reason: str
    tasks: Sequence[int] | None = None


class LeaseTable(TypedDict):
    """The records of the leases in force, and the time (ms)."""

    now: float
    leases: Listed[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class ListLeases(Transition[LeaseTable]):
    """List the leases in force."""


@dataclass(frozen=True, kw_only=True)
class Retry:
    """When an SCF is tried again: up to ``max`` times, each time later; ``jitter`` is in [0, 1)."""

    max: int
    base_ms: float
    max_ms: float
    jitter: float


class Swept(TypedDict):
    """What happened, which results are to be made, and in how many ms something is due (-1: nothing)."""

    expired: int
    promoted: int
    recalled: int
    assemble: Listed[str]
    next_ms: float


@dataclass(frozen=True, kw_only=True)
class Sweep(Transition[Swept]):
    """End the leases that expired, and move on what has waited long enough."""

    limit: int
    retry: Retry
    assemble_after_ms: int
    patience_ms: int
