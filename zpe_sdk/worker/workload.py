"""What a worker has on hand, and what it does next: decisions without threads, clock, files or network.

Each method is told what has happened, and the time where it matters. It returns what is to be done about it;
the caller does that, in this order, before it tells of anything else.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterable
from typing import Protocol

import structlog

from zpe_sdk.wire import OVER, HeartbeatReply, LeaseReply, Task, TaskReport
from zpe_sdk.worker.actions import Action, Forget, Note, Send, Stop, Strike
from zpe_sdk.worker.control import LeaseState
from zpe_sdk.worker.engines import StepTaken
from zpe_sdk.worker.held import Ask, Entry, HeldLease, RecentJobs, Run
from zpe_sdk.worker.messages import (
    Answer,
    Failure,
    OutboxMessage,
    failed,
    handed_back,
    readdressed,
    reported,
    stepped,
)
from zpe_sdk.worker.prefetch import Prefetch

# Of the wall time, kept to end pw.x, to report and to hand leases back.
CLOSING_SECONDS = 10.0

log = structlog.get_logger(__name__)


class Ready(Protocol):
    """Tells whether to begin a task now, beside those of its job that run; see :class:`Engine`."""

    def __call__(self, task: Task, *, job_id: str, running: Collection[Task]) -> bool:
        """Tell it."""


class Workload:
    """The leases that a worker holds, and the tasks that it runs.

    Parameters
    ----------
    slots
        How many slots the runs may take together.
    has_others
        Whether others may run what this worker hands back, so that it pays to do so early.
    now, max_seconds
        The wall time begins, and how long it is; None: no end.

    Attributes
    ----------
    leases
        What it still works on, by id.
    runs
        What runs, by job and task.
    ended
        Whether it takes no new leases any more.
    """

    def __init__(
        self, slots: int, *, has_others: bool = True, now: float = 0.0, max_seconds: float | None = None
    ) -> None:
        self.leases: dict[str, HeldLease] = {}
        self.runs: dict[tuple[str, int], Run] = {}
        self.ended = False
        self._stopping = False
        self._slots = slots
        self._has_others = has_others
        self._ends: float | None = None
        if max_seconds is not None:
            self._ends = now + max_seconds - min(CLOSING_SECONDS, max_seconds / 10)
        self._prefetch = Prefetch()
        self._slots_per_scf = 1  # of the job that came last
        self._is_all = False  # the control plane has no more work than this, or wants others to have it
        self._draining = False
        self._jobs = RecentJobs()

    def adopt(self, entries: Iterable[Entry]) -> list[Action]:
        """Settle what a killed predecessor has left: what ran has failed, the rest of each lease goes back.

        A task may be what ended that process, so it counts as an attempt. The others do not.
        """
        actions: list[Action] = []
        for entry in entries:
            log.warning(
                "the previous worker process died while running tasks",
                job_id=entry.job_id,
                running=entry.running,
            )
            if entry.running:
                died = Failure("worker_died", "the worker's process ended while it ran this SCF")
                actions.append(Send(failed(entry, entry.running, died)))
            actions += [Send(handed_back(entry)), Strike(entry.lease_id)]
        return actions

    def wanted(self, now: float) -> Ask | None:
        """Return what to ask for, if anything; end if no further SCF would be done in time."""
        if self._draining:
            return None
        in_use = sum(run.slots for run in self.runs.values())
        waiting = sum(len(held.waiting) for held in self.leases.values())
        on_hand = waiting + math.ceil(in_use / self._slots_per_scf)
        wanted = self._prefetch.wanted(on_hand, self._side_by_side)
        if wanted and not self._fits(now):
            self._end("no further SCF fits into the wall time")
        if not wanted or self.ended:
            return None
        return Ask(wanted, idle=not self.leases, warm=self._jobs.warm)

    def found_nothing(self, ask: Ask, *, drain: bool) -> None:
        """Hear that there is no work; with ``drain``, end if there was none on hand either."""
        self._is_all = True
        if drain and ask.idle:
            self._end("there is no work left")

    def take(
        self,
        lease: LeaseReply,
        ask: Ask,
        *,
        slots: tuple[int, int],
        undelivered: Iterable[OutboxMessage] = (),
    ) -> list[Action]:
        """Take a new lease.

        Parameters
        ----------
        lease, ask
            The answer to a request for work, and what it had asked for.
        slots
            How many slots an SCF of its job takes, and with how many it is still faster.
        undelivered
            What the control plane did not know when it answered. A lease may have expired while it was away,
            so that it gives out again what is finished here.
        """
        if lease.lease_id in self.leases:  # what runs under it goes on
            log.warning("a lease came twice; the second is not taken", lease_id=lease.lease_id)
            return []
        self._is_all = not lease.more or len(lease.tasks) < ask.tasks
        if self.ended:
            return [Send(handed_back(lease))]
        # The equilibrium first: the others start from its density.
        held = HeldLease(lease, *slots, deque(sorted(lease.tasks, key=lambda task: task.index)))
        log.info(
            "work taken",
            job_id=lease.job_id,
            lease_id=held.lease_id,
            tasks=[task.index for task in held.waiting],
            job=lease.name,
            scfs=lease.scfs,
            stage=lease.payload.stage,
        )
        self.leases[held.lease_id] = held
        actions = self._take_over(held, undelivered)
        self._slots_per_scf = held.fewest
        if self._has_others:
            actions += self._hand_back_excess(held)
        self._jobs.leased(held.job_id)
        return actions + self._noted(held)

    def _take_over(self, held: HeldLease, undelivered: Iterable[OutboxMessage]) -> list[Action]:
        """Go on, for a lease's tasks, with what came of them under an earlier one that is lost.

        The one task of a relaxation and one of the stage after it have the same number, and nothing else in
        common.
        """
        actions: list[Action] = []
        done = {
            message.report.task: message.report
            for message in undelivered
            if message.report
            and message.job_id == held.job_id
            and (message.report.relaxation is not None) == (held.stage == "relax")
        }
        for task in list(held.waiting):
            run = self.runs.get((held.job_id, task.index))
            if run and run.lease.stage != held.stage:
                actions.append(Stop(run))  # until it has ended, the task waits
            elif run:
                former, run.lease = run.lease, held
                former.running.discard(task.index)
                held.waiting.remove(task)
                held.running.add(task.index)
                actions += self._noted(former)
                actions += [
                    Send(readdressed(held, message.step))
                    for message in undelivered
                    if message.step and message.job_id == held.job_id
                ]
            elif report := done.get(task.index):
                held.waiting.remove(task)
                actions.append(Send(reported(held, report)))
        for former in list(self.leases.values()):
            if former.job_id == held.job_id and former is not held:
                actions += self._recall(former, {task.index for task in held.reply.tasks})
        return actions

    def _hand_back_excess(self, held: HeldLease) -> list[Action]:
        """Hand back what others could run sooner, where SCFs turn out to be larger than the last ones."""
        target = self._prefetch.target(self._side_by_side)
        excess = [task.index for task in list(held.waiting)[target:]]
        if not excess:
            return []
        held.waiting = deque(list(held.waiting)[:target])
        log.info("tasks handed back that there is no room for", tasks=excess)
        return [Send(handed_back(held, excess))]

    def begin(self, now: float, ready: Ready) -> tuple[Run, list[Action]] | None:
        """Begin the first task whose turn it is, if there is room for it; the last ones share all slots."""
        if self._stopping:
            return None
        if not self._fits(now) and any(held.waiting for held in self.leases.values()):
            self._end("no further SCF fits into the wall time")
            return None
        on_hand = sum(len(held.waiting) + len(held.running) for held in self.leases.values())
        free = self._slots - sum(run.slots for run in self.runs.values())
        for held in self.leases.values():
            if not held.waiting:
                continue
            if self.runs and held.fewest > free:
                return None  # smaller ones must not starve it
            running = [run.task for run in self.runs.values() if run.lease.job_id == held.job_id]
            task = next(
                (
                    task
                    for task in held.waiting
                    if (held.job_id, task.index) not in self.runs
                    and ready(task, job_id=held.job_id, running=running)
                ),
                None,
            )
            if task is None:
                continue
            fair = min(held.most, self._slots // on_hand) if self._is_all else held.fewest
            run = Run(held, task, slots=min(free, max(held.fewest, fair)))
            held.waiting.remove(task)
            held.running.add(task.index)
            self.runs[held.job_id, task.index] = run
            return run, [Note(held.entry)]
        return None

    def stepped(self, run: Run, taken: StepTaken) -> list[Action]:
        """Tell of an ionic step of a relaxation that runs."""
        return [Send(stepped(run.lease, taken))]

    def finish(self, run: Run, outcome: TaskReport | Failure | None, seconds: float) -> list[Action]:
        """End a run of so many seconds; without an outcome, it was stopped on purpose."""
        held, task = run.lease, run.task
        del self.runs[held.job_id, task.index]
        held.running.discard(task.index)
        match outcome:
            case TaskReport():
                if outcome.relaxation is None:
                    self._prefetch.measured(seconds)
                return [Send(reported(held, outcome), hurry=held.over), *self._noted(held)]
            case Failure():
                tasks = [task.index]
                if outcome.side != "compute":  # what waits would fail in the same way
                    tasks += [other.index for other in held.waiting]
                    held.waiting.clear()
                return [Send(failed(held, tasks, outcome)), *self._noted(held)]
        if not held.lost and task.index not in held.recalled:
            held.waiting.appendleft(task)  # it goes back with the rest, or begins anew under a later lease
        return self._noted(held)

    def renewed(self, reply: HeartbeatReply) -> list[Action]:
        """Act on the answer to a heartbeat."""
        actions: list[Action] = []
        for lease_id, state in reply.leases.items():
            actions += self._lose(lease_id, state)
        for lease_id, left in reply.left.items():
            actions += self._keep_only(lease_id, left)
        if reply.draining != self._draining:
            log.info(
                "an administrator wants no new work here" if reply.draining else "new work is welcome again"
            )
        self._draining = reply.draining
        return actions

    def answered(self, message: OutboxMessage, answer: Answer) -> list[Action]:
        """Act on the answer to a message."""
        actions: list[Action] = []
        if message.again and answer.lease == "held" and message.lease_id not in self.leases:
            # The control plane has found it again, with tasks that were dropped here when it did not know it.
            actions.append(Send(handed_back(message)))
        if answer.left is not None:
            actions += self._keep_only(message.lease_id, answer.left)
        actions += self._lose(message.lease_id, answer.lease)
        if answer.job in OVER:
            self._jobs.ended(message.job_id)
            for held in list(self.leases.values()):
                if held.job_id == message.job_id:
                    actions += self._lose(held.lease_id, "cancelled")
        elif answer.complete and all(held.job_id != message.job_id for held in self.leases.values()):
            # A lease on it that is here by now may be younger than the answer: on SCFs to be run again.
            self._jobs.ended(message.job_id)
        return actions + self._forget()

    def _lose(self, lease_id: str, state: LeaseState) -> list[Action]:
        """Drop a lease that the control plane considers ended.

        What runs under one that is ``lost`` goes on: its result is welcome unless others have been given
        the task. Under one that is ``cancelled`` it is stopped.
        """
        held = self.leases.get(lease_id)
        if held is None or state == "held":
            return []
        if not held.lost:
            log.warning("a lease is over", job_id=held.job_id, lease_id=lease_id, reason=state)
        held.lost = True
        held.waiting.clear()
        stops: list[Action] = []
        if state == "cancelled":
            stops = [Stop(self.runs[held.job_id, index]) for index in sorted(held.running)]
        return stops + self._noted(held)

    def _keep_only(self, lease_id: str, left: Collection[int]) -> list[Action]:
        """Drop waiting tasks that the control plane has offered to others: they sat here too long."""
        held = self.leases.get(lease_id)
        if held is None:
            return []
        return self._recall(held, {task.index for task in held.reply.tasks} - set(left))

    def _recall(self, held: HeldLease, gone: set[int]) -> list[Action]:
        if gone <= held.recalled:
            return []
        held.recalled |= gone
        held.waiting = deque(task for task in held.waiting if task.index not in gone)
        return self._noted(held)

    def time_is_up(self, now: float) -> bool:
        """Tell whether what still runs must be stopped."""
        return self._ends is not None and now >= self._ends

    def stop(self) -> list[Action]:
        """Stop what runs, and begin nothing new."""
        self.ended = self._stopping = True
        return [Stop(run) for run in self.runs.values()]

    def hand_back(self) -> list[Action]:
        """Hand back all that is left, when the runs have ended or nobody waits for them any longer."""
        actions: list[Action] = []
        for held in list(self.leases.values()):
            if not held.lost:
                actions.append(Send(handed_back(held)))
            held.lost = True
            held.waiting.clear()
            held.running.clear()
            del self.leases[held.lease_id]
            actions.append(Strike(held.lease_id))
        return actions + [Forget(job_id) for job_id in self._jobs.drop_all()]

    @property
    def _side_by_side(self) -> int:
        """How many SCFs run side by side, of the size that came last."""
        return max(1, self._slots // self._slots_per_scf)

    def _end(self, why: str) -> None:
        if not self.ended:
            log.info(why)
        self.ended = True

    def _fits(self, now: float) -> bool:
        """Tell whether an SCF of average length would end in time."""
        return self._ends is None or now + (self._prefetch.scf_seconds or 0.0) < self._ends

    def _noted(self, held: HeldLease) -> list[Action]:
        """Have the journal say what runs under a lease now."""
        return self._dropped(held) or [Note(held.entry)]

    def _dropped(self, held: HeldLease) -> list[Action]:
        """Drop a lease if it is over."""
        if not held.over:
            return []
        self.leases.pop(held.lease_id, None)
        return [Strike(held.lease_id), *self._forget()]

    def _forget(self) -> list[Action]:
        """Let the engine remove what it keeps for jobs that are over, or have not been here for long."""
        in_use = {held.job_id for held in self.leases.values()}
        return [Forget(job_id) for job_id in self._jobs.drop(in_use)]
