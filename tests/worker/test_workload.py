"""The worker's decisions against a control plane at its worst, in random sequences.

Requests and their replies are steps of their own, so anything can happen while one is under way. A long
campaign, with new sequences each time::

    ZPE_TEST_EXAMPLES=20000 pytest --timeout=0 tests/worker/test_workload.py
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from structlog.testing import capture_logs

from tests.worker.plane import Plane
from zpe_sdk.wire import Fingerprint, HeartbeatReply, LeaseReply, Task, TaskReport
from zpe_sdk.worker.actions import Action, Forget, Note, Send, Stop, Strike
from zpe_sdk.worker.held import Ask, Entry, Run
from zpe_sdk.worker.messages import Answer, Failure, OutboxMessage
from zpe_sdk.worker.workload import Workload

EXAMPLES = int(os.environ.get("ZPE_TEST_EXAMPLES", "0"))
FINGERPRINT = Fingerprint(engine="mock", engine_version="1", physics="x")

number = st.integers(0, 999)
some_tasks = st.sets(st.integers(0, 12), min_size=1, max_size=4)
outcomes = st.sampled_from(["report", "report", "report", "compute", "config", "stopped"])

Thing = TypeVar("Thing")


def pick(n: int, things: Iterable[Thing]) -> Thing | None:
    pool = list(things)
    return pool[n % len(pool)] if pool else None


def seldom(n: int) -> bool:
    return n % 5 == 1


def report(task: int) -> TaskReport:
    return TaskReport(
        task=task, energy_ev=-1.0, forces_ev_ang=[(0.1, 0, 0)], fingerprint=FINGERPRINT, scf_seconds=1.0
    )


def always(task: Task, *, job_id: str, running: Collection[Task]) -> bool:
    return True


class Process(RuleBasedStateMachine):
    """A worker's process, what it leaves on disk when it dies, and the control plane that it talks to."""

    @initialize(
        totals=st.lists(st.integers(2, 12), min_size=1, max_size=3),
        slots=st.integers(1, 4),
        fewest=st.sampled_from([1, 1, 1, 2, 5]),
        more=st.integers(0, 3),
        has_others=st.booleans(),
    )
    def begin_life(self, totals: list[int], slots: int, fewest: int, more: int, has_others: bool) -> None:
        self.plane = Plane(totals)
        self.slots, self.each, self.has_others = slots, (fewest, fewest + more), has_others
        self.outbox: list[OutboxMessage] = []
        self.journal: dict[str, Entry] = {}
        # Tasks whose forces are in the outbox, or were taken by the control plane.
        self.finished: set[tuple[str, int]] = set()
        # Leases that no process knows of, until they expire.
        self.orphans: set[str] = set()
        self.dies_after: int | None = None
        self.start()

    def start(self) -> None:
        self.workload = Workload(self.slots, has_others=self.has_others)
        self.running: dict[tuple[str, int], Run] = {}
        self.stopped: set[Run] = set()
        self.told_gone: dict[str, set[int]] = {}
        self.told_ended: dict[str, str] = {}
        self.ask: Ask | None = None
        self.given: list[LeaseReply | None] = []
        self.sent: tuple[list[OutboxMessage], Answer] | None = None
        self.beaten: HeartbeatReply | None = None
        ran = {(entry.lease_id, task) for entry in self.journal.values() for task in entry.running}
        self.do(self.workload.adopt(list(self.journal.values())))
        failed = {
            (message.lease_id, task)
            for message in self.outbox
            if message.failure and message.failure.error_code == "worker_died"
            for task in message.failure.tasks
        }
        assert ran <= failed, "what may have ended the process is no attempt"

    def do(self, actions: list[Action]) -> bool:
        """Do what the workload wants; say whether the process has survived it."""
        for n, action in enumerate(actions):
            if n == self.dies_after:
                self.die()
                return False
            match action:
                case Send(message):
                    self.outbox.append(message)
                    if message.report:
                        self.finished.add((message.job_id, message.report.task))
                case Note(entry):
                    self.journal[entry.lease_id] = entry
                case Strike(lease_id):
                    self.journal.pop(lease_id, None)
                case Stop(run):
                    self.stopped.add(run)
                case Forget(job_id):
                    assert job_id not in {job for job, _ in self.running}, "its densities are in use"
        return True

    # ------------------------------------------------------------------------------------ fetching

    @precondition(lambda self: self.ask is None and not self.outbox)
    @rule()
    def ask_for_work(self) -> None:
        self.ask = self.workload.wanted(0.0)

    @precondition(lambda self: self.ask and not self.given)
    @rule()
    def give_work(self) -> None:
        assert self.ask
        self.given = [self.plane.give(self.ask.tasks)]

    @precondition(lambda self: self.given)
    @rule()
    def take_work(self) -> None:
        ask, lease = self.ask, self.given.pop()
        assert ask
        self.ask = None
        if lease is None:
            self.workload.found_nothing(ask, drain=False)
        else:
            survived = self.do(self.workload.take(lease, ask, slots=self.each, undelivered=list(self.outbox)))
            if not survived and lease.lease_id not in self.journal.keys() | self.released():
                self.orphans.add(lease.lease_id)

    @precondition(lambda self: self.ask is None and not self.outbox)
    @rule()
    def fetch(self) -> None:
        """Ask for work, and get it at once."""
        self.ask_for_work()
        if self.ask:
            self.give_work()
            self.take_work()

    # ----------------------------------------------------------------------------------- computing

    @rule(unready=st.sets(st.integers(0, 12), max_size=4))
    def begin(self, unready: set[int]) -> None:
        def ready(task: Task, *, job_id: str, running: Collection[Task]) -> bool:
            assert {other.index for other in running} == {n for job, n in self.running if job == job_id}
            return not running or task.index not in unready

        begun = self.workload.begin(0.0, ready)
        if begun is None:
            assert self.running or not any(lease.waiting for lease in self.workload.leases.values()), "idle"
            return
        run, actions = begun
        lease, task = run.lease, run.task.index
        key = lease.job_id, task
        assert key not in self.running, "it runs already"
        assert key not in self.finished, "it is done"
        assert task not in self.told_gone.get(lease.lease_id, ()), "it was recalled"
        assert lease.lease_id not in self.told_ended, "its lease is over"
        self.running[key] = run
        self.do(actions)

    @precondition(lambda self: self.running)
    @rule(n=number, how=outcomes)
    def finish(self, n: int, how: str) -> None:
        if run := pick(n, self.running.values()):
            self.do_finish(run, how)

    def do_finish(self, run: Run, how: str) -> None:
        key = run.lease.job_id, run.task.index
        if how == "stopped" and run not in self.stopped:
            how = "report"
        if how == "report":
            outcome: TaskReport | Failure | None = report(run.task.index)
        elif how == "stopped":
            outcome = None
        else:
            outcome = Failure("pw_crashed", "!", "config" if how == "config" else "compute")
        del self.running[key]
        self.do(self.workload.finish(run, outcome, 1.0))

    # ------------------------------------------------------------------------------- being told

    @precondition(lambda self: self.outbox and self.sent is None)
    @rule(most=st.integers(1, 3))
    def send(self, most: int) -> None:
        first = self.outbox[0]
        batch = [first]
        for message in self.outbox[1:most]:
            if (message.kind, first.kind, message.lease_id) != ("tasks", "tasks", first.lease_id):
                break
            batch.append(message)
        self.sent = batch, self.plane.hear(batch)

    @precondition(lambda self: self.sent)
    @rule()
    def hear_answer(self) -> None:
        assert self.sent
        batch, answer = self.sent
        self.sent, self.outbox = None, self.outbox[len(batch) :]
        for message in batch:
            if message.report:
                key = message.job_id, message.report.task
                kept = key in {(other.job_id, other.report.task) for other in self.outbox if other.report}
                if key[1] not in self.plane.jobs[key[0]].done and not kept:
                    self.finished.discard(key)  # refused: others were to do it
        first = batch[0]
        self.be_told(first.lease_id, answer.lease, answer.left)
        if answer.job in ("failed", "finished"):
            for lease in self.workload.leases.values():
                if lease.job_id == first.job_id:
                    self.be_told(lease.lease_id, "cancelled", None)
        self.do(self.workload.answered(first, answer))

    @precondition(lambda self: self.outbox and self.sent is None)
    @rule()
    def deliver(self) -> None:
        """Send what is in the outbox, and hear the answers at once."""
        self.deliver_all()

    @precondition(lambda self: self.beaten is None)
    @rule()
    def beat(self) -> None:
        self.beaten = self.plane.beat(list(self.workload.leases))

    @precondition(lambda self: self.beaten)
    @rule()
    def hear_beat(self) -> None:
        reply, self.beaten = self.beaten, None
        assert reply
        for lease_id, state in reply.leases.items():
            self.be_told(lease_id, state, reply.left.get(lease_id))
        self.do(self.workload.renewed(reply))

    def be_told(self, lease_id: str, state: str, left: list[int] | None) -> None:
        if left is not None:
            self.told_gone.setdefault(lease_id, set()).update(self.plane.leases[lease_id].given - set(left))
        if state == "cancelled" or (state == "lost" and lease_id not in self.told_ended):
            self.told_ended[lease_id] = state

    # ---------------------------------------------------------------- what the control plane decides

    @rule(n=number)
    def expire(self, n: int) -> None:
        held = [name for name, lease in self.plane.leases.items() if lease.state == "held"]
        if lease_id := pick(n, held):
            self.plane.expire(lease_id)

    @rule(n=number, tasks=some_tasks)
    def recall(self, n: int, tasks: set[int]) -> None:
        held = [name for name, lease in self.plane.leases.items() if lease.state == "held"]
        if lease_id := pick(n, held):
            self.plane.recall(lease_id, tasks)

    @rule(n=number, tasks=some_tasks)
    def have_others_do_it(self, n: int, tasks: set[int]) -> None:
        if seldom(n):
            self.plane.others_do(str(pick(n, self.plane.jobs)), tasks)

    @rule(n=number)
    def end_job(self, n: int) -> None:
        if seldom(n):
            self.plane.end(str(pick(n, self.plane.jobs)))

    @precondition(lambda self: self.sent is None)  # not within the milliseconds of an answer
    @rule(n=number)
    def requeue_job(self, n: int) -> None:
        self.plane.requeue(str(pick(n, self.plane.jobs)))

    @rule(draining=st.sampled_from([True, False, False, False]))
    def drain(self, draining: bool) -> None:
        self.plane.draining = draining

    # ------------------------------------------------------------------------------------ its end

    @rule(n=number)
    def be_killed(self, n: int) -> None:
        if seldom(n):
            self.die()

    def die(self) -> None:
        """Be killed, and start again from what is on disk."""
        self.dies_after = None
        self.orphans |= {lease.lease_id for lease in self.given if lease}
        self.start()

    @rule(n=number, after=st.integers(0, 3))
    def be_killed_soon(self, n: int, after: int) -> None:
        """Be killed in the middle of what it does next."""
        self.dies_after = after if seldom(n) else None

    @rule(n=number, how=outcomes)
    def stop(self, n: int, how: str) -> None:
        """End in good order, and start again."""
        if not seldom(n):
            return
        self.dies_after = None
        self.do(self.workload.stop())
        assert self.stopped >= set(self.running.values())
        assert self.workload.begin(0.0, always) is None
        for run in list(self.running.values()):
            self.do_finish(run, how)
        if self.ask and self.given:
            self.take_work()
        self.do(self.workload.hand_back())
        self.deliver_all()
        assert self.journal == {}
        held = {name for name, lease in self.plane.leases.items() if lease.state == "held"}
        assert held <= self.orphans
        self.start()

    def deliver_all(self) -> None:
        while self.outbox:
            if not self.sent:
                self.send(3)
            self.hear_answer()

    # -------------------------------------------------------------------------------- invariants

    @invariant()
    def slots_are_never_exceeded(self) -> None:
        assert all(run.slots >= 1 for run in self.running.values())
        assert sum(run.slots for run in self.running.values()) <= self.slots
        assert self.workload.runs == self.running

    @invariant()
    def every_task_of_a_held_lease_is_accounted_for(self) -> None:
        """It waits, runs, or has been reported, has failed or was handed back."""
        under_way = {lease.lease_id for lease in self.given if lease} | self.orphans
        for name, lease in self.plane.leases.items():
            if lease.state != "held" or name in under_way:
                continue
            known = set(lease.tasks) if name in self.released() else self.told(name)
            if held := self.workload.leases.get(name):
                known |= {task.index for task in held.waiting} | held.running
            assert lease.tasks <= known, (name, lease.tasks - known)

    def released(self) -> set[str]:
        return {
            message.lease_id
            for message in self.outbox
            if message.kind == "release" and message.returned is None
        }

    def told(self, lease_id: str) -> set[int]:
        """Tasks of a lease of which the outbox tells."""
        found: set[int] = set()
        for message in self.outbox:
            if message.lease_id == lease_id:
                found |= {message.report.task} if message.report else set()
                found |= set((message.failure and message.failure.tasks) or message.returned or ())
        return found

    @invariant()
    def a_task_waits_or_runs_in_one_place_only(self) -> None:
        waiting = [
            (lease.job_id, task.index) for lease in self.workload.leases.values() for task in lease.waiting
        ]
        everything = [*waiting, *self.running]
        assert len(everything) == len(set(everything))

    @invariant()
    def the_journal_tells_what_runs(self) -> None:
        if self.workload.leases or self.journal:
            assert self.journal == {name: lease.entry for name, lease in self.workload.leases.items()}
        for (job_id, task), run in self.running.items():
            assert run.lease.job_id == job_id
            assert task in run.lease.running

    @invariant()
    def what_was_cancelled_is_stopped(self) -> None:
        for run in self.running.values():
            assert self.told_ended.get(run.lease.lease_id) != "cancelled" or run in self.stopped

    def teardown(self) -> None:
        """Whatever has happened, all jobs get done once nothing happens any more."""
        if not hasattr(self, "plane"):
            return
        self.dies_after, self.plane.draining = None, False
        if self.given:
            self.take_work()
        for lease_id in self.orphans:
            self.plane.expire(lease_id)
        for _ in range(200):
            if self.idle():
                break
            self.deliver_all()
            for job_id in self.plane.jobs:
                self.plane.requeue(job_id)
            if not self.beaten:
                self.beat()
            self.hear_beat()
            if not self.ask:
                self.ask_for_work()
            if self.ask:
                self.give_work()
                self.take_work()
            self.begin(set())
            if run := pick(0, self.running.values()):
                self.do_finish(run, "stopped" if run in self.stopped else "report")
        assert self.idle()
        assert (self.workload.leases, self.running, self.journal) == ({}, {}, {})

    def idle(self) -> bool:
        return all(job.complete for job in self.plane.jobs.values()) and not self.outbox and not self.running


def test_no_task_is_lost_or_done_twice_whatever_happens() -> None:
    with capture_logs():
        run_state_machine_as_test(
            Process,
            settings=settings(
                max_examples=EXAMPLES or 300,
                stateful_step_count=60,
                derandomize=not EXAMPLES,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                print_blob=True,
            ),
        )
