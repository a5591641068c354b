"""The transitions on a real Redis against a model of what they promise, in random sequences.

A long campaign, with new sequences each time::

    ZPE_TEST_EXAMPLES=5000 pytest --timeout=0 tests/server/test_model.py
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Iterable
from itertools import product
from typing import Any, ClassVar, TypeVar

import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.processes import RedisServer
from tests.server import calls
from tests.server.model import Ability, Job, Lease, Model, Physics, Stage
from zpe_sdk.wire import Accepts, Limits
from zpe_server.store import Store, key
from zpe_server.transitions.base import items
from zpe_server.transitions.jobs import ListDue, Retire
from zpe_server.transitions.researchers import Limit, ReadOwners, Regroup
from zpe_server.transitions.workers import Accept, Drain, Revoke, TakeBack

EXAMPLES = int(os.environ.get("ZPE_TEST_EXAMPLES", "0"))

WORKERS = ("w1", "w2", "w3")
ABILITIES = (
    Ability("all", "espresso", frozenset({"H", "O"}), "7.2", tells=True),
    Ability("no oxygen", "espresso", frozenset({"H"}), tells=True),
    Ability("unknown", "", None),
    Ability("mock", "mock", frozenset()),
    Ability("own only", "espresso", frozenset({"H", "O"}), "7.2", accepts="own"),
)
PHYSICS = (
    Physics("a", "espresso"),
    Physics("b", "espresso"),
    Physics("a", "espresso", "6.7"),
    Physics("a", "espresso", files=frozenset({"H"})),
    Physics("a", "mock"),
)
OWNERS = ("ann", "bob", "*")
STATUSES = ("queued", "started", "finished", "failed", "cancelled", "*")

# What a job stores of the workers that it is for.
ONLY: dict[str, Any] = {"mine": {"mine": True}, "g": {"group": "g"}} | {
    worker: {"workers": {worker: True}} for worker in WORKERS
}

# What goes for all, and an administrator's word about one; None: an administrator's own job.
USUAL = (None, None, Limits(priority=0), Limits(priority=0), Limits(priority=0, jobs=4, bytes=60))
SAID = (
    Limits(),
    Limits(),
    Limits(scfs=1),
    Limits(scfs=0, priority=-1),
    Limits(scfs=3, jobs=3),
    Limits(bytes=30, priority=1),
)

workers = st.sampled_from(WORKERS)
abilities = st.sampled_from(ABILITIES)
# One index may be beyond a job's last task, and one may come twice.
tasks = st.lists(st.sampled_from([0, 1, 2, 3, 0, 1, 2, 5]), min_size=1, max_size=4)
number = st.integers(0, 999)

Thing = TypeVar("Thing")


def pick(n: int, likely: Iterable[Thing], possible: Iterable[Thing]) -> Thing | None:
    """Return one of the likely things three times out of four, else one of the possible ones."""
    pool = (list(likely) if n % 4 else []) or list(possible)
    return pool[n // 4 % len(pool)] if pool else None


def fitting(job: Job | None) -> Physics:
    """Return physics that a job takes, until it has other ones."""
    if job is None:
        return PHYSICS[0]
    return job.pinned or Physics(
        "a", job.engine, files=job.needs if job.engine == "espresso" else frozenset()
    )


class ControlPlane(RuleBasedStateMachine):
    """Each rule does one thing to Redis and the same to the model, and compares the replies."""

    url: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.store = Store(self.url)
        self.model = Model(list(WORKERS))
        self.done: dict[str, set[int]] = {}
        self.count = 0

    def run(self, call: Awaitable[Any]) -> Any:
        self.model.look_at_line()
        return self.runner.get_loop().run_until_complete(call)

    def name(self, letter: str) -> str:
        self.count += 1
        return f"{letter}{self.count:04}"

    def pick_lease(self, n: int) -> Lease | None:
        """Return a lease, mostly one in force; its job may be forgotten."""
        every = self.model.leases.values()
        return pick(n, [lease for lease in every if lease.state == "held"], every)

    def pick_job(self, n: int, *stages: Stage) -> Job | None:
        every = self.model.jobs.values()
        return pick(n, [job for job in every if job.stage in stages], every)

    @initialize(
        totals=st.lists(st.integers(1, 5), min_size=1, max_size=2),
        verified=st.integers(0, 2),
        owners=st.lists(st.sampled_from([None, None, "ann", "bob"]), min_size=3, max_size=3),
    )
    def begin(self, totals: list[int], verified: int, owners: list[str | None]) -> None:
        self.run(self.store.redis.flushdb())
        for worker, owner in zip(WORKERS, owners, strict=True):
            node = self.model.workers[worker]
            record = {"name": worker}
            if owner:
                node.owner, node.accepts = owner, "own"
                record |= {"owner": owner, "accepts": "own"}
                self.run(self.store.redis.sadd(key("owned"), worker))
            self.run(self.store.redis.hset(key("worker", worker), mapping=record))
            self.run(self.store.redis.zadd(key("workers"), {worker: 0}))
        for total in totals:
            self.submit(total, 0, (), "espresso", None, verified, "", "ann", known=False)

    # ------------------------------------------------------------------------------------------ work

    @rule(
        total=st.integers(1, 5),
        priority=st.integers(-1, 1),
        needs=st.sampled_from([(), ("H",), ("H", "O")]),
        engine=st.sampled_from(["espresso", "espresso", "espresso", "mock"]),
        physics=st.sampled_from([None, "a"]),
        verified=st.sampled_from([0, 0, 1, 2]),
        idempotency_key=st.sampled_from(["", "", "k1", "k2"]),
        owner=st.sampled_from(["ann", "ann", "bob"]),
        known=st.booleans(),
        only=st.sampled_from([None, None, None, "mine", "w1", "w2", "g"]),
        usual=st.sampled_from(USUAL),
        size=st.sampled_from([6, 20]),
    )
    def submit(
        self,
        total: int,
        priority: int,
        needs: tuple[str, ...],
        engine: str,
        physics: str | None,
        verified: int,
        idempotency_key: str,
        owner: str,
        known: bool,
        only: str | None = None,
        usual: Limits | None = None,
        size: int = 6,
    ) -> None:
        """With ``known``, the job asks for the same SCFs as the others of its owner, as far as it goes."""
        name, digest = self.name("j"), str(total)
        copies = list(range(min(verified, total)))
        scf = [f"scf{task}" for task in range(total)] + [""] * len(copies) if known else []
        total += len(copies)
        expected = self.model.submit(
            name,
            total,
            priority,
            frozenset(needs),
            engine,
            physics,
            copies,
            idempotency_key,
            digest,
            owner,
            scf,
            only,
            usual,
            size,
        )
        reply = self.run(
            calls.submit(
                self.store,
                name,
                total,
                needs,
                engine=engine,
                physics=physics,
                copies=copies,
                owner=owner,
                priority=priority,
                idempotency_key=idempotency_key,
                digest=digest,
                scf_keys=scf,
                reuse=known,
                only=None if only is None else json.dumps(ONLY[only]),
                limits=usual,
                payload="{}".ljust(size - 4),
            )
        )
        if isinstance(expected, dict):
            assert reply == expected
            return
        if expected is None:
            assert reply == {"conflict": True}
            return
        assert (reply["job"], reply["created"]) == (expected, expected == name)
        if expected == name:
            assert reply["complete"] == (self.model.jobs[name].stage == "assembling")

    @rule(
        total=st.integers(1, 3),
        worker=st.sampled_from(("w1", "w2", "w3")),
        ability=st.sampled_from((*ABILITIES[:3], ABILITIES[0])),
        physics=st.sampled_from((None, None, PHYSICS[1])),
        then=st.sampled_from(("nothing", "another machine", "revoke")),
    )
    def ask_for_the_same_again(
        self, total: int, worker: str, ability: Ability, physics: Physics | None, then: str
    ) -> None:
        """Have a worker do a job that goes first, let it change or go, and submit the same job."""
        self.submit(total, 1, (), "espresso", None, 0, "", "ann", known=True)
        if (lease := self.ask(self.name("l"), worker, ability, 10)) and lease.tasks:
            chosen = sorted(lease.tasks)
            usual = fitting(self.model.jobs.get(lease.job))
            self.do_report(lease, chosen, [physics or usual] * len(chosen))
        if then == "another machine":
            self.ask(self.name("l"), worker, ABILITIES[1], 1)
        elif then == "revoke" and worker == "w3":
            self.revoke(worker)
        self.submit(total, 1, (), "espresso", None, 0, "", "ann", known=True)

    def ask(
        self, name: str, worker: str, ability: Ability, max_tasks: int, max_scfs: int | None = None
    ) -> Lease | None:
        expected, passed = self.model.lease(name, worker, ability, max_tasks, max_scfs)
        reply = self.run(
            calls.lease(
                self.store,
                name,
                worker,
                max_tasks=max_tasks,
                max_scfs=max_scfs,
                engine=ability.engine,
                engine_version=ability.version,
                pseudopotentials=None if ability.files is None else dict.fromkeys(ability.files, True),
                digest=ability.digest,
                files_sha256="f" if ability.tells else None,
                accepts=ability.accepts,
            )
        )
        if expected is None:
            assert reply == ({"blocked": True} if self.model.line() else {})
        else:
            assert (reply["job"], {int(task) for task in reply["tasks"]}) == (expected.job, expected.tasks)
        for job in passed:
            if job.status == "queued" and self.model.is_equipped(job, ability):
                detail = self.run(self.store.redis.hget(key("job", job.name), "detail"))
                assert detail.startswith("waiting for a worker that can run it: ")
        return expected

    @rule(
        worker=workers,
        ability=abilities,
        max_tasks=st.sampled_from([0, 1, 2, 10]),
        max_scfs=st.sampled_from([None, 2]),
    )
    def lease(self, worker: str, ability: Ability, max_tasks: int, max_scfs: int | None) -> None:
        self.ask(self.name("l"), worker, ability, max_tasks, max_scfs)

    @rule(worker=workers, max_tasks=st.sampled_from([0, 1, 2, 10]), max_scfs=st.sampled_from([None, 2]))
    def lease_to_an_able_worker(self, worker: str, max_tasks: int, max_scfs: int | None) -> None:
        self.ask(self.name("l"), worker, ABILITIES[0], max_tasks, max_scfs)

    @rule(n=number, ability=abilities)
    def ask_for_a_lease_again(self, n: int, ability: Ability) -> None:
        if lease := self.pick_lease(n):
            self.ask(lease.name, lease.worker, ability, 10)

    def do_report(self, lease: Lease, chosen: list[int], seen: list[Physics]) -> None:
        reply = self.run(
            calls.report(
                self.store,
                lease.job,
                lease.name,
                chosen,
                lease.worker,
                fingerprints=[each.canonical for each in seen],
                setups=[each.setup for each in seen],
                run=self.name("r"),
            )
        )
        job = self.model.jobs.get(lease.job)
        if job is None:
            assert reply == {"error": "not_found"}
            return
        if self.model.workers[lease.worker].revoked:
            assert reply == {"error": "lease_not_yours"}
            return
        expected = self.model.report(lease, chosen, seen)
        for verdict in ("accepted", "idempotent", "refused"):
            assert items(reply[verdict]) == getattr(expected, verdict)
        if expected.offence:
            assert reply["reason"] == expected.offence
        assert bool(reply.get("difference")) == (expected.offence is not None)
        assert bool(reply.get("complete")) == expected.complete
        assert reply["status"] == job.status
        assert reply["lease_held"] == (lease.state == "held")
        assert reply["progress"]["done"] == (job.total if job.stage == "finished" else len(job.done))
        assert reply["progress"]["running"] == len(job.held)

    @rule(n=number, most=st.sampled_from([1, 2, 5]))
    def report_what_a_lease_holds(self, n: int, most: int) -> None:
        lease = self.pick_lease(n)
        if lease and lease.tasks:
            chosen = sorted(lease.tasks)[:most]
            self.do_report(lease, chosen, [fitting(self.model.jobs.get(lease.job))] * len(chosen))

    @rule(n=number, chosen=tasks)
    def report_anything(self, n: int, chosen: list[int]) -> None:
        if lease := self.pick_lease(n):
            self.do_report(lease, chosen, [fitting(self.model.jobs.get(lease.job))] * len(chosen))

    @rule(
        n=number,
        seen=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(PHYSICS)), min_size=1, max_size=4),
    )
    def report_any_physics(self, n: int, seen: list[tuple[int, Physics]]) -> None:
        if lease := self.pick_lease(n):
            self.do_report(lease, [task for task, _ in seen], [physics for _, physics in seen])

    @rule(n=number, late=number)
    def report_late(self, n: int, late: int) -> None:
        """From a lost lease, for what is open, held by others or done."""
        lost = [le for le in self.model.leases.values() if le.state != "held" and le.job in self.model.jobs]
        if lease := pick(n, [le for le in lost if self.model.jobs[le.job].stage != "finished"], lost):
            job = self.model.jobs[lease.job]
            chosen = pick(late, [[task] for task in [*job.open, *job.held]], [list(range(job.total))])
            assert chosen
            self.do_report(lease, chosen, [fitting(job)] * len(chosen))

    @rule(n=number, other=number, worker=workers, chosen=tasks)
    def come_with_a_lease_of_somebody_else(self, n: int, other: int, worker: str, chosen: list[int]) -> None:
        lease, job = self.pick_lease(n), self.pick_job(other)
        if lease and job and (lease.worker, lease.job) != (worker, job.name):
            for call in (
                calls.report(self.store, job.name, lease.name, chosen, worker),
                calls.fail(self.store, job.name, lease.name, chosen, worker),
                calls.settle(self.store, job.name, lease.name, worker),
                calls.release(self.store, job.name, lease.name, worker),
            ):
                assert self.run(call) == {"error": "lease_not_yours"}

    @rule(
        n=number,
        chosen=st.one_of(st.none(), tasks),
        kind=st.sampled_from(["compute", "compute", "capability", "input"]),
    )
    def fail(self, n: int, chosen: list[int] | None, kind: str) -> None:
        if lease := self.pick_lease(n):
            self.do_fail(lease, chosen, kind)

    def do_fail(self, lease: Lease, chosen: list[int] | None, kind: str) -> None:
        reply = self.run(calls.fail(self.store, lease.job, lease.name, chosen, lease.worker, failure=kind))
        job = self.model.jobs.get(lease.job)
        if job is None:
            assert reply == {"error": "not_found"}
        elif self.model.workers[lease.worker].revoked:
            assert reply == {"error": "lease_not_yours"}
        else:
            assert reply["requeued"] == self.model.fail(lease, chosen, kind)
            assert reply["status"] == job.status

    @rule(n=number)
    def settle(self, n: int) -> None:
        every = self.model.leases.values()
        if lease := pick(n, [le for le in every if le.job in self.model.jobs and len(le.given) > 1], every):
            reply = self.run(calls.settle(self.store, lease.job, lease.name, lease.worker))
            if lease.job not in self.model.jobs:
                assert reply == {"error": "not_found"}
                return
            revoked = self.model.workers[lease.worker].revoked
            expected = "lease_not_yours" if revoked else self.model.settle(lease)
            good = expected in ("settled", "idempotent")
            assert reply == ({expected: True} if good else {"error": expected})

    @rule(n=number, chosen=st.one_of(st.none(), tasks))
    def release(self, n: int, chosen: list[int] | None) -> None:
        if lease := self.pick_lease(n):
            reply = self.run(calls.release(self.store, lease.job, lease.name, lease.worker, tasks=chosen))
            assert reply == {"job": lease.job}
            self.model.release(lease, chosen)

    @rule(worker=workers)
    def heartbeat(self, worker: str) -> None:
        reply = self.run(calls.heartbeat(self.store, [*self.model.leases, "unknown"], worker))
        assert reply["leases"].pop("unknown") == "lost"
        assert reply["draining"] == self.model.workers[worker].draining
        for lease in self.model.leases.values():
            told = lease.state if lease.worker == worker and lease.state in ("held", "cancelled") else "lost"
            assert (reply["leases"] or {})[lease.name] == told

    # ---------------------------------------------------------------------------------------- losses

    @rule(chosen=st.lists(number, min_size=1, max_size=3))
    def expire(self, chosen: list[int]) -> None:
        held = sorted(lease.name for lease in self.model.leases.values() if lease.state == "held")
        self.do_expire(sorted({held[n % len(held)] for n in chosen} if held else []))

    def do_expire(self, names: list[str]) -> None:
        if names:
            self.run(self.store.redis.zadd(key("leases"), dict.fromkeys(names, 0)))
        assert self.run(calls.sweep(self.store))["expired"] == len(names)
        for name in names:
            self.model.expire(self.model.leases[name])

    @rule(
        n=number,
        times=st.integers(1, 5),
        kind=st.sampled_from(["lost", "compute"]),
        share=st.sampled_from([1, 2, 10]),
    )
    def have_bad_luck(self, n: int, times: int, kind: str, share: int) -> None:
        """One attempt after the other, by two workers at once: the way into the dead-letter queue."""
        job = self.pick_job(n, "living")
        for _ in range(times if job else 0):
            self.do_let_time_pass(job)
            given = [self.ask(self.name("l"), worker, ABILITIES[2], share) for worker in ("w1", "w2")]
            held = [lease for lease in given if lease]
            if kind == "lost":
                self.do_expire([lease.name for lease in held])
            else:
                for lease in held:
                    self.do_fail(lease, None, kind)

    @rule(n=number, worker=st.sampled_from(["w1", "w2"]))
    def work_off(self, n: int, worker: str) -> None:
        """Do all that is left of a job, with the leases that there are and a new one."""
        if job := self.pick_job(n, "living"):
            self.do_let_time_pass(job)
            self.ask(self.name("l"), worker, ABILITIES[2], 10)
            for lease in list(self.model.leases.values()):
                if lease.job == job.name and lease.tasks:
                    chosen = sorted(lease.tasks)
                    self.do_report(lease, chosen, [fitting(job)] * len(chosen))

    @rule(n=number)
    def let_time_pass(self, n: int) -> None:
        self.do_let_time_pass(self.pick_job(n, "living"))

    def do_let_time_pass(self, job: Job | None) -> None:
        if job and job.delayed:
            due = {str(task): task for task in job.delayed}
            self.run(self.store.redis.zadd(key("job", job.name, "open"), due))
            self.run(self.store.redis.zadd(key("delayed"), {job.name: 0}, xx=True))
            job.delayed.clear()
            self.run(calls.sweep(self.store))

    @rule(worker=workers, drain=st.sampled_from([True, False, False]))
    def drain(self, worker: str, drain: bool) -> None:
        assert self.run(self.store.transition(Drain(worker=worker, drain=drain))) == {}
        self.model.workers[worker].draining = drain

    @rule(worker=workers, accepts=st.sampled_from(["own", "group", "all", "all"]), by_owner=st.booleans())
    def accept(self, worker: str, accepts: Accepts, by_owner: bool) -> None:
        node = self.model.workers[worker]
        reply = self.run(
            self.store.transition(
                Accept(worker=worker, by=(node.owner or "ann") if by_owner else "", accepts=accepts)
            )
        )
        if node.owner:
            assert reply == {}
            node.accepts = accepts
        else:
            assert reply == {"error": "not_found" if by_owner else "no_owner"}

    @rule(worker=workers, owner=st.sampled_from(["ann", "bob"]))
    def decide_about_a_worker_of_somebody_else(self, worker: str, owner: str) -> None:
        if self.model.workers[worker].owner != owner:
            for act in (
                Accept(worker=worker, by=owner, accepts="all"),
                Drain(worker=worker, by=owner, drain=True),
                Revoke(worker=worker, by=owner),
            ):
                assert self.run(self.store.transition(act)) == {"error": "not_found"}

    @rule(owner=st.sampled_from(["ann", "bob"]), joins=st.sampled_from([True, True, False]))
    def regroup(self, owner: str, joins: bool) -> None:
        members = self.model.groups.setdefault("g", set())
        members.symmetric_difference_update({owner} if (owner in members) != joins else ())
        change = {"add" if joins else "remove": [owner]}
        reply = self.run(self.store.transition(Regroup(group="g", **change)))
        assert set(items(reply["members"])) == members

    @rule(owner=st.sampled_from(["ann", "bob"]), said=st.sampled_from(SAID))
    def limit(self, owner: str, said: Limits) -> None:
        assert self.run(self.store.transition(Limit(owner=owner, limits=said))) == {}
        self.model.limits[owner] = said

    @rule(worker=st.just("w3"))
    def revoke(self, worker: str) -> None:
        self.run(self.store.transition(Revoke(worker=worker)))
        self.model.revoke(worker)

    @rule(worker=st.sampled_from(WORKERS))
    def take_back_what_a_worker_computed(self, worker: str) -> None:
        reply = self.run(
            self.store.transition(
                TakeBack(worker=worker, jobs=[*self.model.jobs, "unknown"], retire_ms=calls.LATER_MS)
            )
        )
        reopened, marked = self.model.take_back(worker)
        assert (set(reply["reopened"]), set(reply["marked"])) == (reopened, marked)
        for name in reopened:
            self.done[name] = set(self.model.jobs[name].done)

    # ------------------------------------------------------------------------------------- decisions

    def decide(self, job: Job | None, what: str, refusal: str) -> None:
        if job:
            reply = self.run(getattr(calls, what)(self.store, job.name))
            assert reply.get("error") == (None if getattr(self.model, what)(job) else refusal)

    @rule(n=number)
    def cancel(self, n: int) -> None:
        if n % 3 == 0:
            self.decide(self.pick_job(n, "living", "assembling"), "cancel", "over")

    @rule(n=number)
    def requeue(self, n: int) -> None:
        self.decide(self.pick_job(n, "dead"), "requeue", "not_in_dlq")

    @rule(n=number)
    def discard(self, n: int) -> None:
        self.decide(self.pick_job(n, "dead"), "discard", "not_in_dlq")

    @rule(n=number)
    def finish(self, n: int) -> None:
        if job := self.pick_job(n, "assembling"):
            reply = self.run(calls.finish(self.store, job.name))
            assert reply["finished"] == self.model.finish(job)

    @rule(n=number, doubtful=st.sampled_from([[], [], [0]]))
    def finish_failed(self, n: int, doubtful: list[int]) -> None:
        if job := self.pick_job(n, "assembling"):
            reply = self.run(calls.finish_failed(self.store, job.name, doubtful))
            assert reply["failed"] == self.model.finish_failed(job, doubtful)
            self.done[job.name] = set(job.done)

    @rule(n=number, chosen=tasks)
    def rerun(self, n: int, chosen: list[int]) -> None:
        job = self.pick_job(n, "assembling")
        if job and not job.settled_by:
            some = {task for task in chosen if task < job.total} or {0}
            reply = self.run(calls.rerun(self.store, job.name, dict.fromkeys(some, "scratch")))
            assert (reply["rerun"] == len(some)) == self.model.rerun(job, some)
            self.done[job.name] = set(job.done)

    @rule(n=number)
    def retire(self, n: int) -> None:
        job = self.pick_job(n, "finished", "cancelled", "discarded")
        if job and not job.keeps_forces:
            self.do_retire(job)

    def do_retire(self, job: Job) -> None:
        self.run(self.store.redis.zadd(key("retire"), {job.name: 0}, xx=True))
        due = self.run(self.store.transition(ListDue(limit=10)))["jobs"]
        assert due == [job.name]
        self.run(self.store.transition(Retire(jobs=due)))
        self.model.retire(job)
        for decide in (calls.cancel, calls.requeue, calls.discard):
            assert self.run(decide(self.store, job.name)) == {"error": "not_found"}

    # ------------------------------------------------------------------------------------ invariants

    @invariant()
    def redis_holds_what_the_model_says(self) -> None:
        found = self.found(self.run(calls.dump(self.store)))
        for name, expected in self.expected().items():
            assert found[name] == expected, (name, found[name], expected)

    @invariant()
    def owners_have_what_the_model_says(self) -> None:
        model, usual = self.model, Limits(jobs=9)
        found = items(self.run(self.store.transition(ReadOwners(usual=usual, month=calls.MONTH)))["owners"])
        told = {
            one["name"]: (
                one["has"],
                one["seconds"] / calls.SCF_SECONDS,
                one["may"],
                one["said"],
                one["workers"],
                sorted(items(one["groups"])),
            )
            for one in found
        }
        expected = {}
        for owner in OWNERS[:2]:
            said = model.limits.get(owner, Limits()).model_dump(exclude_none=True)
            jobs = sum(job.owner == owner for job in model.jobs.values())
            own = sum(node.owner == owner and not node.revoked for node in model.workers.values())
            groups = sorted(name for name, members in model.groups.items() if owner in members)
            if jobs or said or own or groups or model.spent[owner]:
                has = {
                    "jobs": model.jobs_in_line(owner),
                    "scfs": model.scfs_running(owner),
                    "bytes": model.bytes_kept(owner),
                }
                may = usual.model_dump(exclude_none=True) | said
                expected[owner] = (has, model.spent[owner], may, said, own, groups)
        assert told == expected

    @invariant()
    def tasks_are_neither_lost_nor_done_again(self) -> None:
        for job in self.model.jobs.values():
            assert self.done.get(job.name, set()) <= job.done
            self.done[job.name] = set(job.done)
            if job.stage in ("living", "dead") and not job.settled_by:
                everything = [*job.open, *job.held, *job.reserved, *job.done]
                assert sorted(everything) == list(range(job.total))
            for task, twin in job.twins.items():
                assert task not in job.by or job.by[task] != job.by.get(twin)

    def expected(self) -> dict[str, Any]:
        model = self.model
        model.look_at_line()
        by_stage = {
            stage: {job.name for job in model.jobs.values() if job.stage in stage.split()}
            for stage in ("assembling", "dead", "finished cancelled discarded")
        }
        return {
            "ready": [job.name for job in model.line()],
            "own lines": {owner: [job.name for job in model.own_line(owner)] for owner in OWNERS[:2]},
            "delayed": {
                job.name for job in model.jobs.values() if job.stage == "living" and job.open and not job.due
            },
            "assemble": by_stage["assembling"],
            "dlq": by_stage["dead"],
            "retire": by_stage["finished cancelled discarded"],
            "index": {
                owner + status: {
                    job.name
                    for job in model.jobs.values()
                    if status in (job.status, "*") and owner in (job.owner, "*")
                }
                for owner, status in product(OWNERS, STATUSES)
            },
            "leases": {lease.name for lease in model.leases.values() if lease.state == "held"},
            "worker leases": {
                name: {le.name for le in model.leases.values() if le.state == "held" and le.worker == name}
                for name in WORKERS
            },
            "worker counts": {name: (worker.done, worker.failed) for name, worker in model.workers.items()},
            "shown": {
                name: {f"{digest} {setup}" for digest, setup in worker.shown}
                for name, worker in model.workers.items()
            },
            "scfs": {
                f"{owner}:{name}": {each.canonical for each in done}
                for (owner, name), done in model.scfs.items()
            },
            "lease records": {
                lease.name: (lease.state, lease.tasks, lease.state == "held")
                for lease in model.leases.values()
            },
            "jobs": {
                job.name: {
                    "status": job.status,
                    "due": job.due,
                    "delayed": job.delayed,
                    "held": job.held,
                    "reserved": job.reserved,
                    "reports": job.done if job.keeps_forces else set(),
                    "runs": job.done,
                    "by": {str(task): worker for task, worker in job.by.items()},
                    "taken back": job.taken_back,
                    "attempts": {f"{task}:{kind}": n for (task, kind), n in job.attempts.items()},
                    "avoid": {f"{worker} {digest}" for worker, digest in job.avoided},
                    "pinned": job.pinned and job.pinned.canonical,
                    "turn": job.turn,
                    "error and end": (job.status == "failed", not job.keeps_forces or job.stage == "dead"),
                }
                for job in model.jobs.values()
            },
            "all jobs": set(model.jobs),
            "idempotency": {f"{owner}:{name}" for owner, name in model.idempotency},
            "turns": {str(priority): turn for priority, turn in model.clock.items() if turn}
            | {f"{priority} {owner}": turn for (priority, owner), turn in model.ends.items()},
        }

    def found(self, at: calls.Dump) -> dict[str, Any]:
        def job(name: str) -> dict[str, Any]:
            record = at["job", name]
            waiting = {int(task): float(score) for task, score in at["job", name, "open"].items()}
            return {
                "status": record["status"],
                "due": {task for task, score in waiting.items() if score <= at.now},
                "delayed": {task for task, score in waiting.items() if score > at.now},
                "held": {int(task): lease for task, lease in at["job", name, "held"].items()},
                "reserved": {int(task) for task in at["job", name, "reserved"]},
                "reports": {int(task) for task in at["job", name, "reports"]},
                "by": at["job", name, "by"],
                "taken back": set(json.loads(record.get("taken_back", "[]"))),
                "runs": {int(task) for task in at["job", name, "runs"]},
                "attempts": {attempt: int(n) for attempt, n in at["job", name, "attempts"].items()},
                "avoid": set(at["job", name, "avoid"]),
                "pinned": record.get("fingerprint"),
                "turn": int(record["turn"]),
                # While a job is being tried again, its last error stays to be seen.
                "error and end": (record["status"] == "failed" and "error" in record, "finished" in record),
            }

        return {
            "ready": list(at["ready",]),
            "own lines": {owner: list(at["ready", owner]) for owner in OWNERS[:2]},
            **{name: set(at[name,]) for name in ("delayed", "assemble", "dlq", "retire", "leases")},
            "index": {
                owner + status: set(at["index", owner, status]) for owner, status in product(OWNERS, STATUSES)
            },
            "worker leases": {name: set(at["worker", name, "leases"]) for name in WORKERS},
            "worker counts": {
                name: tuple(int(at["worker", name].get(n, 0)) for n in ("scf_done", "scf_failed"))
                for name in WORKERS
            },
            "shown": {name: set(at["worker", name, "shown"]) for name in WORKERS},
            "scfs": {
                name.partition("scf:")[2]: {
                    field.partition(" ")[2] for field in at.keys[name] if field.startswith("report ")
                }
                for name in at.keys
                if name.startswith(key("scf", ""))
            },
            "lease records": {
                name: (
                    at["lease", name]["state"],
                    {int(task) for task in at["lease", name, "tasks"]},
                    key("lease", name) not in at.passing,
                )
                for name in self.model.leases
            },
            "jobs": {name: job(name) for name in self.model.jobs},
            "all jobs": {name.split(":")[2] for name in at.keys if name.startswith(key("job", ""))},
            "idempotency": {
                name.partition("idem:")[2] for name in at.keys if name.startswith(key("idem", ""))
            },
            "turns": {name: int(turn) for name, turn in at["turns",].items()} if at["turns",] else {},
        }

    def teardown(self) -> None:
        try:
            for job in list(self.model.jobs.values()):
                self.decide(job, "discard", "not_in_dlq")
                self.run(calls.cancel(self.store, job.name))
                self.model.cancel(job)
                self.do_retire(job)
            for owner in self.model.limits:
                self.limit(owner, Limits())
            # Nobody waits any more: turns begin anew. Who has nothing is not listed any more.
            self.owners_have_what_the_model_says()
            self.drain("w1", False)
            self.ask(self.name("l"), "w1", ABILITIES[0], 1)
            left = set(self.run(calls.dump(self.store)).keys)
            kept = {
                key(name)
                for name in (
                    *("workers", "present", "counters", "epoch", "finished", "owned", "groups", "owners"),
                )
            }
            kept.add(key("spent", calls.MONTH))
            kept |= {key("group", "g"), *(key("groups", owner) for owner in OWNERS)}
            kept |= {key("worker", name, *part) for name in WORKERS for part in ((), ("shown",))}
            kept |= {key("scf", owner, name) for owner, name in self.model.scfs}
            assert left - kept == set()
        finally:
            self.run(self.store.close())
            self.runner.close()


def test_any_sequence_of_transitions_does_what_the_model_says(redis_cluster: RedisServer) -> None:
    with redis.Redis.from_url(redis_cluster.url) as connection:
        # Nobody pulls the plug here: waiting for the disk would take most of the time.
        connection.config_set("appendfsync", "no")
        try:
            run_state_machine_as_test(
                type("Here", (ControlPlane,), {"url": redis_cluster.url}),
                settings=settings(
                    max_examples=EXAMPLES or 80,
                    stateful_step_count=50,
                    derandomize=not EXAMPLES,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                    print_blob=True,
                ),
            )
        finally:
            connection.config_set("appendfsync", "always")
