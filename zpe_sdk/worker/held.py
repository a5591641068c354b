"""The leases that a worker asks for and holds: their tasks, the runs of these, and their jobs."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field

import pydantic.dataclasses

from zpe_sdk.wire import Id, JobKind, LeaseReply, Task, TaskIndex
from zpe_sdk.wire.messages import Line

KEPT_JOBS = 4


@pydantic.dataclasses.dataclass(frozen=True)
class Entry:
    """What the journal says of a lease: which of its tasks run and wait, of how many that its job has."""

    job_id: Id
    lease_id: Id
    running: list[TaskIndex]
    waiting: list[TaskIndex] = field(default_factory=list)
    job: Line | None = None
    scfs: int | None = None
    stage: JobKind = "vibrations"


@dataclass(frozen=True)
class Ask:
    """How many tasks to ask for, whether nothing is on hand, and of which jobs the engine keeps densities."""

    tasks: int
    idle: bool
    warm: list[str]


@dataclass(eq=False)
class HeldLease:
    """A lease and its tasks.

    Attributes
    ----------
    reply
        As the control plane gave it.
    fewest, most
        How many slots one of its SCFs takes, and with how many it is still faster.
    waiting, running
        Its tasks that are still to be done here; the others are reported, have failed or went back.
    recalled
        Tasks that the control plane has taken out of it.
    lost
        The control plane has ended it.
    """

    reply: LeaseReply
    fewest: int
    most: int
    waiting: deque[Task]
    running: set[int] = field(default_factory=set)
    recalled: set[int] = field(default_factory=set)
    lost: bool = False

    @property
    def job_id(self) -> str:
        """Its job."""
        return self.reply.job_id

    @property
    def lease_id(self) -> str:
        """Its id."""
        return self.reply.lease_id

    @property
    def stage(self) -> JobKind:
        """The stage of its job that its tasks are of."""
        return self.reply.payload.stage

    @property
    def over(self) -> bool:
        """Whether nothing is left to do for it here."""
        return not self.waiting and not self.running

    @property
    def entry(self) -> Entry:
        """What the journal is to say of it."""
        return Entry(
            self.job_id,
            self.lease_id,
            sorted(self.running),
            sorted(task.index for task in self.waiting),
            self.reply.name,
            self.reply.scfs,
            self.stage,
        )


@dataclass(eq=False)
class Run:
    """A running task, its slots, and the lease that it runs under now."""

    lease: HeldLease
    task: Task
    slots: int


class RecentJobs:
    """The jobs of which the engine keeps densities: those at work, and the latest of the others."""

    def __init__(self) -> None:
        self._jobs: dict[
            str, bool
        ] = {}  # job -> whether it is over; the one that was leased last is the last

    def leased(self, job_id: str) -> None:
        """Take account of a new lease on a job."""
        self._jobs.pop(job_id, None)
        self._jobs[job_id] = False

    def ended(self, job_id: str) -> None:
        """Take account of the end of a job, if it is one of these."""
        if job_id in self._jobs:
            self._jobs[job_id] = True

    @property
    def warm(self) -> list[str]:
        """The latest ones that go on."""
        return [job for job, over in self._jobs.items() if not over][-KEPT_JOBS:]

    def drop(self, in_use: Collection[str]) -> list[str]:
        """Drop, and return, those not in use that are over, or have not been here for long."""
        idle = [job for job in self._jobs if job not in in_use]
        gone = [job for job in idle if self._jobs[job] or job in idle[:-KEPT_JOBS]]
        for job in gone:
            del self._jobs[job]
        return gone

    def drop_all(self) -> list[str]:
        """Drop, and return, all of them."""
        gone, self._jobs = list(self._jobs), {}
        return gone
