"""What jobs, tasks and leases promise, in plain Python and without Redis.

The transitions are checked against this model step by step, see ``test_model.py``. Time is not a number
here: a task that waits for its next try is ``delayed`` until the test lets time pass.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from tests.server import calls
from zpe_sdk.wire import Accepts, Limits

RETRY_MAX = 3

WIDTHS = ("own", "group", "all")
Stage = Literal["living", "assembling", "dead", "finished", "cancelled", "discarded"]
STATUS = {"assembling": "started", "dead": "failed", "discarded": "failed"}


@dataclass(frozen=True)
class Ability:
    """Capabilities of a worker; ``files`` None: unknown. ``tells``: a hash of the files is part of them.

    ``accepts`` is whose jobs the machine takes at most.
    """

    digest: str
    engine: str
    files: frozenset[str] | None
    version: str = ""
    tells: bool = False
    accepts: Accepts = "all"


@dataclass(frozen=True)
class Physics:
    """What has to be equal for forces to be mixed."""

    name: str
    engine: str
    version: str = "7.2"
    files: frozenset[str] = frozenset()

    @property
    def canonical(self) -> str:
        """The fingerprint as it is compared."""
        return calls.physics(self.name, self.engine, sorted(self.files), self.version)

    @property
    def setup(self) -> str:
        """What the worker has brought to it."""
        return f"setup of {self.name} {self.engine} {self.version} {sorted(self.files)}"


@dataclass
class Job:
    """Each task is in exactly one of ``open``, ``held``, ``reserved`` and ``done`` while tasks are missing.

    ``scf`` are the keys of its SCFs, by task; none: they are not known by any. ``only`` says for which
    workers it is: ``mine``, a worker or a group by its name; None: for any.
    """

    name: str
    owner: str
    priority: int
    turn: int
    total: int
    needs: frozenset[str]
    engine: str
    physics: str | None
    twins: dict[int, int]
    idempotency_key: str
    only: str | None = None
    ceiling: int | None = None  # of its priority among all
    bytes: int = 0  # that are kept of it
    unlimited: bool = False  # an administrator's
    stage: Stage = "living"
    open: set[int] = field(default_factory=set)
    delayed: set[int] = field(default_factory=set)
    held: dict[int, str] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    by: dict[int | str, str] = field(default_factory=dict)  # who computed it; "*": settled the whole
    taken_back: set[str] = field(default_factory=set)
    scf: list[str] = field(default_factory=list)
    reserved: set[int] = field(default_factory=set)
    attempts: Counter[tuple[int, str]] = field(default_factory=Counter)
    pinned: Physics | None = None
    avoided: set[tuple[str, str]] = field(default_factory=set)
    settled_by: str | None = None
    in_line: bool = True

    @property
    def among_all(self) -> int:
        """Its priority against the jobs of others."""
        return self.priority if self.ceiling is None else min(self.priority, self.ceiling)

    @property
    def status(self) -> str:
        if self.stage == "living":
            return "started" if self.held else "queued"
        return STATUS.get(self.stage, self.stage)

    @property
    def due(self) -> set[int]:
        return self.open - self.delayed

    @property
    def keeps_forces(self) -> bool:
        return self.stage in ("living", "assembling", "dead")

    def reopen(self, task: int, *, delayed: bool = False) -> None:
        self.held.pop(task, None)
        self.open.add(task)
        self.delayed.discard(task)
        if delayed:
            self.delayed.add(task)

    def progress_on(self, task: int, worker: str) -> None:
        self.by[task] = worker
        self.held.pop(task, None)
        self.open.discard(task)
        self.delayed.discard(task)
        self.done.add(task)
        for kind in ("lost", "compute"):
            self.attempts.pop((task, kind), None)

    def unpin_if_empty(self) -> None:
        if not self.done:
            self.pinned = None
            self.avoided.clear()

    def to_assembly(self) -> None:
        self.stage = "assembling"
        self.open, self.delayed = set(), set()

    def close(self, stage: Stage) -> None:
        self.stage = stage
        self.open, self.delayed, self.reserved = set(), set(), set()
        self.attempts.clear()


@dataclass
class Lease:
    """The right of a worker to run ``tasks``; ``given`` are those that it had at first."""

    name: str
    job: str
    worker: str
    digest: str
    tasks: set[int]
    given: frozenset[int]
    engine: str
    version: str
    state: str = "held"


@dataclass
class Worker:
    """A compute node; ``owner`` None: the administrators'."""

    owner: str | None = None
    accepts: Accepts = "all"
    draining: bool = False
    revoked: bool = False
    ability: Ability | None = None
    shown: set[tuple[str, str]] = field(default_factory=set)
    done: int = 0
    failed: int = 0


@dataclass
class Verdicts:
    """The reply to a report."""

    accepted: list[int] = field(default_factory=list)
    idempotent: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    offence: str | None = None
    complete: bool = False


class Model:
    """All jobs, leases and workers; its methods do what the transitions of their names do."""

    def __init__(self, workers: list[str]) -> None:
        self.jobs: dict[str, Job] = {}
        self.leases: dict[str, Lease] = {}
        self.workers = {name: Worker() for name in workers}
        self.groups: dict[str, set[str]] = {}
        self.spent: Counter[str] = Counter()  # SCFs done, by owner
        self.limits: dict[str, Limits] = {}  # an administrator's word about an owner
        self.idempotency: dict[tuple[str, str], tuple[str, str]] = {}
        self.scfs: dict[tuple[str, str], dict[Physics, str]] = {}  # by owner and key: physics -> worker
        self.clock: Counter[int] = Counter()  # of each priority: the turn of the job served last
        self.ends: Counter[tuple[int, str]] = Counter()  # where the next job of an owner begins

    # ------------------------------------------------------------------------------------------ work

    def submit(
        self,
        name: str,
        total: int,
        priority: int,
        needs: frozenset[str],
        engine: str,
        physics: str | None,
        copies: list[int],
        idempotency_key: str,
        digest: str,
        owner: str,
        scf: list[str],
        only: str | None,
        usual: Limits | None,
        size: int,
    ) -> str | dict[str, str | int] | None:
        """Return the job's name, None for a conflict, or which limit is reached (``usual`` None: none)."""
        if (owner, idempotency_key) in self.idempotency:
            job, known = self.idempotency[owner, idempotency_key]
            return job if known == digest else None
        for kind, has in (("jobs", self.jobs_in_line(owner)), ("bytes", self.bytes_kept(owner))):
            may = usual and self.may(owner, kind, usual)
            if may is not None and has >= may:
                return {"over": kind, "may": may}
        if idempotency_key:
            self.idempotency[owner, idempotency_key] = (name, digest)
        twins = {
            a: b for n, task in enumerate(copies, total - len(copies)) for a, b in ((n, task), (task, n))
        }
        job = Job(name, owner, priority, 0, total, needs, engine, physics, twins, idempotency_key)
        job.only, job.scf, job.bytes, job.unlimited = only, scf, size, usual is None
        job.ceiling = usual and self.may(owner, "priority", usual)
        self.jobs[name] = job
        known, seen = self.known(owner, scf)
        if seen and len(known) == total and self.is_shown(seen):
            job.pinned, job.in_line = seen, False
            for task in known:
                self.reuse(job, task)
            job.to_assembly()
            return name
        # One SCF is run at least: it shows with what.
        job.reserved = known if len(known) < total else known - {0}
        job.open = set(range(total)) - job.reserved
        place = job.among_all
        job.turn = max(self.clock[place], self.ends[place, owner])
        self.ends[place, owner] = job.turn + len(job.open)
        return name

    def may(self, owner: str, kind: str, usual: Limits) -> int | None:
        """Return what an owner may have at most."""
        said: int | None = getattr(self.limits.get(owner, Limits()), kind)
        return getattr(usual, kind) if said is None else said

    def jobs_in_line(self, owner: str) -> int:
        return sum(job.owner == owner and job.status in ("queued", "started") for job in self.jobs.values())

    def bytes_kept(self, owner: str) -> int:
        return sum(job.bytes for job in self.jobs.values() if job.owner == owner)

    def scfs_running(self, owner: str) -> int:
        """Count the SCFs of an owner that workers of others hold."""
        holders = [
            self.leases[holder].worker
            for job in self.jobs.values()
            for holder in job.held.values()
            if job.owner == owner
        ]
        return sum(self.workers[worker].owner != owner for worker in holders)

    def room(self, job: Job, worker: str, max_scfs: int | None) -> float:
        """Return how many SCFs more the owner of a job may run on a worker."""
        most = self.may(job.owner, "scfs", Limits(scfs=max_scfs))
        if most is None or job.unlimited or self.workers[worker].owner == job.owner:
            return math.inf
        return most - self.scfs_running(job.owner)

    def known(self, owner: str, scf: list[str]) -> tuple[set[int], Physics | None]:
        """Return the tasks that earlier SCFs cover, and with what physics."""
        tasks: dict[Physics, set[int]] = {}
        for task, name in enumerate(scf):
            for physics in self.scfs.get((owner, name), {}):
                tasks.setdefault(physics, set()).add(task)

        def rank(physics: Physics) -> tuple[int, bool, str]:
            covered = len(tasks[physics])
            return -covered, not (covered == len(scf) and self.is_shown(physics)), physics.canonical

        best = min(tasks, key=rank, default=None)
        return (tasks[best] if best else set()), best

    def is_shown(self, physics: Physics) -> bool:
        """Tell whether a worker, as it is now, has computed with what these physics need."""
        return any(
            (worker.ability.digest, physics.setup) in worker.shown
            for worker in self.workers.values()
            if worker.ability and not worker.revoked
        )

    def look_at_line(self) -> None:
        """Let jobs that have come back into the line have the turn they had at the latest."""
        for job in self.jobs.values():
            ready = job.stage == "living" and bool(job.due)
            if ready and not job.in_line:
                job.turn = min(job.turn, self.clock[job.among_all])
            job.in_line = ready

    def line(self) -> list[Job]:
        """Return the jobs with something to do now, in the order in which they are given out."""
        ready = [job for job in self.jobs.values() if job.stage == "living" and job.due]
        return sorted(ready, key=lambda job: (-job.among_all, job.turn, job.name))

    def own_line(self, owner: str | None) -> list[Job]:
        """Return the jobs of an owner in the line, in the order in which the owner wants them."""
        own = [job for job in self.line() if job.owner == owner]
        return sorted(own, key=lambda job: (-job.priority, job.turn, job.name))

    def instead_of(self, job: Job) -> list[Job]:
        """Return the jobs on which the owner would rather spend a job's turn, and that job."""
        own = self.own_line(job.owner)
        return [o for o in own if o.priority > job.priority and o.among_all == job.among_all] + [job]

    def is_for_another(self, job: Job, task: int, worker: str) -> bool:
        """Tell whether the same SCF is this worker's already."""
        twin = job.twins.get(task)
        if twin is None:
            return False
        holder = job.held.get(twin)
        return job.by.get(twin, holder and self.leases[holder].worker) == worker

    def takeable(self, job: Job, worker: str) -> list[int]:
        """Return the tasks that are due and may be this worker's."""
        chosen: list[int] = []
        for task in sorted(job.due):
            if job.twins.get(task) not in chosen and not self.is_for_another(job, task, worker):
                chosen.append(task)
        return chosen

    def is_equipped(self, job: Job, ability: Ability) -> bool:
        if ability.engine not in ("", job.engine):
            return False
        return ability.engine == "mock" or ability.files is None or job.needs <= ability.files

    def may_run(self, job: Job, worker: str, ability: Ability) -> bool:
        """Tell whether a worker's owner lets it run a job, and the job's owner wants it there."""
        node = self.workers[worker]
        accepts = min(node.accepts, ability.accepts, key=WIDTHS.index)
        of_owner = {name for name, members in self.groups.items() if node.owner in members}
        of_job = {name for name, members in self.groups.items() if job.owner in members}
        if node.owner != job.owner and accepts != "all" and not (accepts == "group" and of_owner & of_job):
            return False
        if job.only is None or job.only == worker:
            return True
        if job.only == "mine":
            return node.owner == job.owner
        return job.only in of_owner and accepts != "own"

    def look_along(self, worker: str, ability: Ability) -> list[Job]:
        """Return the jobs in the order in which a worker looks at them: its owner's first."""
        node, line = self.workers[worker], self.line()
        own = self.own_line(node.owner)
        return own + [job for job in line if job not in own and self.may_run(job, worker, ability)]

    def can_run(self, job: Job, worker: str, ability: Ability, *, whole: bool) -> bool:
        if (worker, ability.digest) in job.avoided or (
            whole and len(job.due) + len(job.reserved) < job.total
        ):
            return False
        if job.twins and (whole or not self.takeable(job, worker)):
            return False
        return self.is_equipped(job, ability)

    def lease(
        self, name: str, worker: str, ability: Ability, max_tasks: int, max_scfs: int | None
    ) -> tuple[Lease | None, list[Job]]:
        """Return the lease, if any, and the jobs that were passed over."""
        self.look_at_line()
        if self.workers[worker].revoked:
            return None, []
        self.workers[worker].ability = ability
        if name in self.leases:
            return (self.leases[name] if self.leases[name].state == "held" else None), []
        if self.workers[worker].draining:
            return None, []
        passed: list[Job] = []
        if not self.line() and not any(j.stage == "living" and j.delayed for j in self.jobs.values()):
            self.clock.clear()
            self.ends.clear()
        for first in self.look_along(worker, ability):
            if not self.may_run(first, worker, ability) or not self.is_equipped(first, ability):
                continue
            own = first.owner == self.workers[worker].owner
            for job in [first] if own else self.instead_of(first):
                if not self.may_run(job, worker, ability) or not self.is_equipped(job, ability):
                    continue
                room = self.room(job, worker, max_scfs)
                if room < 1 or not self.can_run(job, worker, ability, whole=max_tasks == 0):
                    passed.append(job)
                    continue
                first.turn, job.turn = job.turn, first.turn
                # Whoever takes whole jobs takes one as a whole.
                return self.give(job, name, worker, ability, max_tasks and int(min(max_tasks, room))), passed
        return None, passed

    def give(self, job: Job, name: str, worker: str, ability: Ability, max_tasks: int) -> Lease:
        """Return a lease on a job's tasks."""
        if not max_tasks:
            job.open |= job.reserved
            job.reserved = set()
        # A share is a part of all that is due, whoever may take it.
        tasks = self.takeable(job, worker)[: min(max_tasks or job.total, len(job.due))]
        for task in tasks:
            job.open.discard(task)
            job.held[task] = name
        lease = Lease(
            name,
            job.name,
            worker,
            ability.digest,
            set(tasks),
            frozenset(tasks),
            ability.engine,
            ability.version,
        )
        self.leases[name] = lease
        if self.workers[worker].owner == job.owner:
            if (job.among_all, job.owner) in self.ends:
                self.ends[job.among_all, job.owner] -= len(tasks)
        else:
            self.clock[job.among_all] = max(self.clock[job.among_all], job.turn)
            job.turn += len(tasks)
        self.look_at_line()
        return lease

    def offence(self, job: Job, lease: Lease, seen: Physics) -> str | None:
        """Say how something was computed otherwise than it was leased."""
        if seen.engine != job.engine or lease.engine not in ("", seen.engine):
            return "wrong_engine"
        if lease.version not in ("", seen.version):
            return "wrong_engine"
        if seen.engine != "mock" and seen.files != job.needs:
            return "wrong_pseudopotentials"
        if job.physics not in (None, seen.name) or job.pinned not in (None, seen):
            return "wrong_physics"
        return None

    def report(self, lease: Lease, tasks: list[int], physics: list[Physics]) -> Verdicts:
        job = self.jobs[lease.job]
        out = Verdicts()
        stage = job.stage
        for task, seen in zip(tasks, physics, strict=True):
            if task >= job.total:
                out.refused.append(task)
            elif task not in lease.given:
                out.refused.append(task)
                out.offence = out.offence or "not_leased"
            elif stage in ("finished", "assembling") or (job.keeps_forces and task in job.done):
                out.idempotent.append(task)
            elif not job.keeps_forces or job.held.get(task, lease.name) != lease.name:
                out.refused.append(task)
            elif self.is_for_another(job, task, lease.worker):
                out.refused.append(task)
                if task in lease.tasks:
                    lease.tasks.discard(task)
                    job.reopen(task)
            elif offence := self.offence(job, lease, seen):
                out.refused.append(task)
                out.offence = out.offence or offence
            else:
                out.accepted.append(task)
                if job.pinned is None:
                    job.pinned = seen
                    self.take_reserved(job)
                job.progress_on(task, lease.worker)
                if job.scf and job.scf[task] and seen.engine != "mock":
                    self.scfs.setdefault((job.owner, job.scf[task]), {})[seen] = lease.worker
                self.show(lease, seen)
                lease.tasks.discard(task)
                self.workers[lease.worker].done += 1
                self.spent[job.owner] += 1
        if out.accepted:
            for task in lease.tasks:
                job.attempts.pop((task, "lost"), None)
        if out.offence:
            job.avoided.add((lease.worker, lease.digest))
            if lease.state == "held":
                self.release_all(lease, "lost")
        else:
            self.end_if_empty(lease)
        if out.accepted and len(job.done) == job.total:
            job.to_assembly()
            out.complete = True
        return out

    def take_reserved(self, job: Job) -> None:
        for task in job.reserved:
            if not self.reuse(job, task):
                job.open.add(task)
        job.reserved = set()

    def reuse(self, job: Job, task: int) -> bool:
        """Return whether an earlier SCF serves for a task."""
        by = job.pinned and self.scfs.get((job.owner, job.scf[task]), {}).get(job.pinned)
        # What two workers compute is not taken over where both would be of one.
        if not by or (task in job.twins and self.is_for_another(job, task, by)):
            return False
        job.done.add(task)
        job.by[task] = by
        return True

    def drop(self, job: Job, task: int) -> None:
        """Take a stored SCF back, so that neither this job nor a later one meets it."""
        if job.scf and job.scf[task] and job.pinned:
            kept = self.scfs.get((job.owner, job.scf[task]), {})
            kept.pop(job.pinned, None)
            if not kept:
                self.scfs.pop((job.owner, job.scf[task]), None)
        job.done.discard(task)
        job.by.pop(task, None)
        job.reopen(task)

    def show(self, lease: Lease, seen: Physics) -> None:
        worker = self.workers[lease.worker]
        if worker.ability and worker.ability.tells and worker.ability.digest == lease.digest:
            worker.shown.add((lease.digest, seen.setup))

    def fail(self, lease: Lease, tasks: list[int] | None, kind: str) -> bool:
        """Return whether the job goes on."""
        job = self.jobs[lease.job]
        failed = lease.tasks.intersection(lease.tasks if tasks is None else tasks)
        again = job.status in ("queued", "started")
        for task in failed:
            lease.tasks.discard(task)
            job.reopen(task)
            if kind == "compute":
                again &= self.count_attempt(job, task, "compute")
        self.workers[lease.worker].failed += len(failed)
        self.end_if_empty(lease)
        if failed and kind == "capability":
            job.avoided.add((lease.worker, lease.digest))
        elif failed and (kind == "input" or not again):
            self.kill(job)
            again = False
        return again

    def settle(self, lease: Lease) -> str:
        """Return ``settled``, ``idempotent`` or an error."""
        job = self.jobs[lease.job]
        if job.stage == "cancelled":
            return "cancelled"
        if job.settled_by == lease.name:
            return "idempotent"
        if job.stage in ("finished", "assembling"):
            return "lease_not_yours"
        if job.stage == "discarded":
            return "discarded"
        if any(holder != lease.name for holder in job.held.values()):
            return "lease_not_yours"
        if len(lease.given) != job.total:
            return "partial"
        job.held.clear()
        if lease.state == "held":
            lease.tasks, lease.state = set(), "settled"
        job.settled_by = lease.name
        job.by["*"] = lease.worker
        job.to_assembly()
        return "settled"

    # ---------------------------------------------------------------------------------------- losses

    def count_attempt(self, job: Job, task: int, kind: str) -> bool:
        job.attempts[task, kind] += 1
        if job.attempts[task, kind] > RETRY_MAX:
            return False
        job.reopen(task, delayed=True)
        return True

    def release_all(self, lease: Lease, state: str) -> None:
        for task in lease.tasks:
            self.jobs[lease.job].reopen(task)
        lease.tasks, lease.state = set(), state

    def end_if_empty(self, lease: Lease) -> None:
        if lease.state == "held" and not lease.tasks:
            lease.state = "settled"

    def end_all(self, job: Job, state: str) -> None:
        for name in set(job.held.values()):
            self.release_all(self.leases[name], state)

    def give_up_turns(self, job: Job) -> None:
        if (job.among_all, job.owner) in self.ends:
            self.ends[job.among_all, job.owner] -= len(job.open)

    def kill(self, job: Job) -> None:
        self.give_up_turns(job)
        self.end_all(job, "cancelled")
        job.stage = "dead"

    def expire(self, lease: Lease) -> None:
        if lease.state != "held":
            return
        job = self.jobs[lease.job]
        tasks = lease.tasks
        self.release_all(lease, "expired")
        again = [self.count_attempt(job, task, "lost") for task in tasks]
        if not all(again):
            self.kill(job)

    def release(self, lease: Lease, tasks: list[int] | None = None) -> None:
        if lease.state == "held" and tasks is not None:
            for task in lease.tasks & set(tasks):
                self.jobs[lease.job].reopen(task)
                lease.tasks.discard(task)
            self.end_if_empty(lease)
        elif lease.state == "held":
            self.release_all(lease, "released")

    def revoke(self, worker: str) -> None:
        self.workers[worker].revoked = True
        self.workers[worker].shown = set()
        for lease in self.leases.values():
            if lease.worker == worker:
                self.release(lease)

    def take_back(self, worker: str) -> tuple[set[str], set[str]]:
        """Return the jobs that compute again what the worker computed, and the finished ones marked."""
        reopened, marked = set(), set()
        for job in self.jobs.values():
            theirs = {task for task, by in job.by.items() if by == worker}
            if not theirs or job.stage in ("cancelled", "discarded"):
                continue
            if job.stage == "finished":
                if worker not in job.taken_back:
                    marked.add(job.name)
                job.taken_back.add(worker)
                continue
            reopened.add(job.name)
            if job.stage == "assembling":
                job.stage = "living"
            for task in theirs:
                if isinstance(task, int):
                    self.drop(job, task)
            if "*" in theirs:
                del job.by["*"]
                job.settled_by = None
                for task in set(range(job.total)) - job.done:
                    job.reopen(task)
            job.unpin_if_empty()
        return reopened, marked

    # ------------------------------------------------------------------------------------- decisions

    def cancel(self, job: Job) -> bool:
        """Return whether the job could be cancelled, or was."""
        if job.stage in ("living", "assembling"):
            self.give_up_turns(job)
            self.end_all(job, "cancelled")
            job.close("cancelled")
        return job.stage == "cancelled"

    def requeue(self, job: Job) -> bool:
        """Return whether the job was in the dead-letter queue."""
        if job.stage != "dead":
            return False
        job.attempts.clear()
        job.avoided.clear()
        job.delayed.clear()
        job.stage = "living"
        if job.settled_by or len(job.done) == job.total:
            job.to_assembly()
        return True

    def discard(self, job: Job) -> bool:
        """Return whether the job was in the dead-letter queue."""
        if job.stage != "dead":
            return False
        job.close("discarded")
        return True

    def finish(self, job: Job) -> bool:
        """Return whether the job was to be finished."""
        if job.stage != "assembling":
            return False
        job.close("finished")
        job.avoided.clear()
        job.bytes += calls.RESULT_BYTES
        return True

    def finish_failed(self, job: Job, doubtful: list[int]) -> bool:
        """Return whether the job was to be finished."""
        if job.stage != "assembling":
            return False
        job.stage = "dead"
        for task in job.done & set(doubtful):
            self.drop(job, task)
        job.unpin_if_empty()
        return True

    def rerun(self, job: Job, tasks: set[int]) -> bool:
        """Return whether the job was to be finished; its SCFs of these tasks are dropped."""
        if job.stage != "assembling":
            return False
        job.stage = "living"
        for task in tasks | {job.twins[task] for task in tasks if task in job.twins}:
            self.drop(job, task)
        return True

    def retire(self, job: Job) -> None:
        del self.jobs[job.name]
        self.leases = {name: lease for name, lease in self.leases.items() if lease.job != job.name}
        if self.idempotency.get((job.owner, job.idempotency_key), ("",))[0] == job.name:
            del self.idempotency[job.owner, job.idempotency_key]
