"""What a worker can count on: the control plane's leases in plain Python."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count

from zpe_sdk.wire import FailedRequest, HeartbeatReply, JobKind, JobPayload, LeaseReply, Task
from zpe_sdk.worker.control import LeaseState
from zpe_sdk.worker.messages import Answer, OutboxMessage

PAYLOAD = JobPayload(content="", mobile_indices=[0], delta=0.01, low_cut_cm=50, temperature=300)


def lease_of(
    lease_id: str, tasks: Iterable[int], job_id: str, *, more: bool = True, stage: JobKind = "vibrations"
) -> LeaseReply:
    """Return what a worker is given."""
    return LeaseReply(
        job_id=job_id,
        payload=PAYLOAD.model_copy(update={"stage": stage}),
        lease_id=lease_id,
        lease_ttl_seconds=600,
        tasks=[Task(index=index) for index in tasks],
        more=more,
    )


@dataclass
class Job:
    """A job's tasks: each is open, held by a lease, or done."""

    total: int
    open: set[int]
    done: set[int] = field(default_factory=set)
    ended: bool = False

    @property
    def complete(self) -> bool:
        return len(self.done) == self.total


@dataclass
class Lease:
    """A lease of the worker: the tasks that it was given, and those it still has."""

    job: str
    given: frozenset[int]
    tasks: set[int]
    state: LeaseState = "held"
    recalled: bool = False


class Plane:
    """Jobs, and the leases on them."""

    def __init__(self, totals: list[int]) -> None:
        self.jobs = {f"j{n}": Job(total, set(range(total))) for n, total in enumerate(totals)}
        self.leases: dict[str, Lease] = {}
        self.draining = False
        self._numbers = count()

    def give(self, most: int) -> LeaseReply | None:
        """Lease tasks of the first job that has some."""
        job_id = next((name for name, job in self.jobs.items() if job.open and not job.ended), None)
        if job_id is None or self.draining:
            return None
        job, lease_id = self.jobs[job_id], f"l{next(self._numbers)}"
        tasks = set(sorted(job.open)[:most])
        job.open -= tasks
        self.leases[lease_id] = Lease(job_id, frozenset(tasks), tasks)
        more = any(job.open for job in self.jobs.values())
        return lease_of(lease_id, tasks, job_id, more=more)

    def hear(self, messages: list[OutboxMessage]) -> Answer:
        """Take in messages that go together, and answer."""
        first = messages[0]
        lease, job = self.leases[first.lease_id], self.jobs[first.job_id]
        if first.kind == "release":
            self._open(lease, lease.tasks if first.returned is None else set(first.returned))
            return Answer()
        if isinstance(first.failure, FailedRequest):
            self._open(lease, set(first.failure.tasks or []))
            return Answer()
        refused = [self._store(first.lease_id, message.report.task) for message in messages if message.report]
        held = lease.state == "held"
        return Answer(
            job="failed" if job.ended else "started",
            complete=job.complete,
            lease="held" if held else "cancelled" if any(refused) else "lost",
            left=sorted(lease.tasks) if held and lease.recalled else None,
        )

    def _store(self, lease_id: str, task: int) -> bool:
        """Store a result, and say whether it was refused."""
        lease = self.leases[lease_id]
        job = self.jobs[lease.job]
        if task in job.done:
            return False
        others = (other for name, other in self.leases.items() if name != lease_id and other.job == lease.job)
        if job.ended or any(task in other.tasks for other in others):
            return True
        job.done.add(task)
        job.open.discard(task)
        lease.tasks.discard(task)
        self._settle(lease)
        return False

    def beat(self, lease_ids: list[str]) -> HeartbeatReply:
        """Say what became of leases."""
        leases = {name: self.leases[name] for name in lease_ids}
        return HeartbeatReply(
            leases={name: lease.state for name, lease in leases.items()},
            left={
                name: sorted(lease.tasks)
                for name, lease in leases.items()
                if lease.recalled and lease.state == "held"
            },
            lease_ttl_seconds=600,
            draining=self.draining,
        )

    def expire(self, lease_id: str) -> None:
        """Lose a lease: its worker was not heard of for too long."""
        lease = self.leases[lease_id]
        self._open(lease, lease.tasks)
        if lease.state == "held":
            lease.state = "lost"

    def recall(self, lease_id: str, tasks: set[int]) -> None:
        """Offer tasks of a lease to others."""
        lease = self.leases[lease_id]
        if lease.tasks & tasks:
            lease.recalled = True
            self._open(lease, tasks)

    def end(self, job_id: str) -> None:
        """End a job that is not done: it was cancelled, or others failed it for good."""
        job = self.jobs[job_id]
        if job.complete:
            return
        job.ended = True
        for lease in self.leases.values():
            if lease.job == job_id and lease.state == "held":
                lease.state = "cancelled"
                lease.tasks.clear()

    def requeue(self, job_id: str) -> None:
        """Go on with a job that has ended."""
        job = self.jobs[job_id]
        if job.ended:
            job.ended, job.open = False, set(range(job.total)) - job.done

    def others_do(self, job_id: str, tasks: set[int]) -> None:
        """Have other workers do tasks that are open."""
        job = self.jobs[job_id]
        if not job.ended:
            job.done |= job.open & tasks
            job.open -= tasks

    def _open(self, lease: Lease, tasks: set[int]) -> None:
        back = lease.tasks & tasks
        self.jobs[lease.job].open |= back
        lease.tasks -= back
        self._settle(lease)

    def _settle(self, lease: Lease) -> None:
        if lease.state == "held" and not lease.tasks:
            lease.state = "lost"
