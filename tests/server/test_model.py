"""The transitions on a real Redis against a model of what they promise, in random sequences.

A long campaign, with new sequences each time::

    ZPE_TEST_EXAMPLES=5000 pytest --timeout=0 tests/server/test_model.py
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from itertools import product
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from tests.processes import RedisServer
from tests.server import calls
from tests.server.model import Ability, Job, Lease, Model, Physics
from zpe_server.store import Store, items, key

EXAMPLES = int(os.environ.get("ZPE_TEST_EXAMPLES", "0"))

WORKERS = ("w1", "w2", "w3")
ABILITIES = (
    Ability("all", "espresso", frozenset({"H", "O"})),
    Ability("no oxygen", "espresso", frozenset({"H"})),
    Ability("unknown", "", None),
    Ability("mock", "mock", frozenset()),
)
USUAL = Physics("a", "espresso")
PHYSICS = (USUAL, Physics("b", "espresso"), Physics("a", "mock"))
STATUSES = ("queued", "started", "finished", "failed", "cancelled", "*")

jobs = Bundle("jobs")
leases = Bundle("leases")
workers = st.sampled_from(WORKERS)
# One index may be beyond a job's last task, and one may come twice.
tasks = st.lists(st.integers(0, 5), min_size=1, max_size=4)
physics = st.one_of(st.just(USUAL), st.just(USUAL), st.just(USUAL), st.sampled_from(PHYSICS))


class ControlPlane(RuleBasedStateMachine):
    """Each rule does one thing to Redis and the same to the model, and compares the replies."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.store = Store(url)
        self.run(self.store.redis.flushdb())
        self.model = Model(list(WORKERS))
        self.done: dict[str, set[int]] = {}
        self.count = 0

    def run(self, call: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(call)

    def name(self, letter: str) -> str:
        self.count += 1
        return f"{letter}{self.count:04}"

    def job(self, name: str) -> Job | None:
        return self.model.jobs.get(name)

    @initialize()
    def enrol(self) -> None:
        for worker in WORKERS:
            self.run(self.store.redis.hset(key("worker", worker), mapping={"name": worker}))
            self.run(self.store.redis.zadd(key("workers"), {worker: 0}))

    # ------------------------------------------------------------------------------------------ work

    @rule(
        target=jobs,
        total=st.integers(1, 5),
        priority=st.integers(-1, 1),
        needs=st.sampled_from([(), ("H",), ("H", "O")]),
        idempotency_key=st.sampled_from(["", "", "k1", "k2"]),
    )
    def submit(self, total: int, priority: int, needs: tuple[str, ...], idempotency_key: str) -> Any:
        name, digest = self.name("j"), str(total)
        expected = self.model.submit(name, total, priority, frozenset(needs), idempotency_key, digest)
        reply = self.run(
            calls.submit(
                self.store,
                name,
                total,
                needs,
                priority=priority,
                idempotency_key=idempotency_key,
                digest=digest,
            )
        )
        if expected is None:
            assert reply == {"conflict": True}
            return multiple()
        assert reply == {"job": expected, "created": expected == name}
        return expected if expected == name else multiple()

    def ask(self, name: str, worker: str, ability: Ability, max_tasks: int) -> Lease | None:
        expected, passed = self.model.lease(name, worker, ability, max_tasks)
        files = None if ability.files is None else dict.fromkeys(ability.files, True)
        reply = self.run(
            calls.lease(
                self.store,
                name,
                worker,
                max_tasks=max_tasks,
                engine=ability.engine,
                pseudopotentials=files,
                digest=ability.digest,
            )
        )
        if expected is None:
            assert reply == ({"blocked": True} if passed else {})
        else:
            assert (reply["job"], {int(task) for task in reply["tasks"]}) == (expected.job, expected.tasks)
        for job in passed:
            if job.status == "queued":
                detail = self.run(self.store.redis.hget(key("job", job.name), "detail"))
                assert detail.startswith("waiting for a worker that can run it: ")
        return expected

    @rule(
        target=leases,
        worker=workers,
        ability=st.sampled_from(ABILITIES),
        max_tasks=st.sampled_from([0, 1, 2, 10]),
    )
    def lease(self, worker: str, ability: Ability, max_tasks: int) -> Any:
        lease = self.ask(self.name("l"), worker, ability, max_tasks)
        return lease.name if lease else multiple()

    @rule(name=leases, ability=st.sampled_from(ABILITIES))
    def ask_for_a_lease_again(self, name: str, ability: Ability) -> None:
        self.ask(name, self.model.leases[name].worker, ability, 10)

    @rule(name=leases, data=st.data(), whose=tasks, alien=st.booleans())
    def report(self, name: str, data: st.DataObject, whose: list[int], alien: bool) -> None:
        lease = self.model.leases[name]
        # Mostly what the lease holds, and at times anything.
        chosen = data.draw(
            st.sampled_from([sorted(lease.tasks) or whose, sorted(lease.tasks)[:1] or whose, whose])
        )
        self.do_report(lease, chosen, [data.draw(physics) if alien else USUAL for _ in chosen])

    def do_report(self, lease: Lease, chosen: list[int], seen: list[Physics]) -> None:
        reply = self.run(
            calls.report(
                self.store,
                lease.job,
                lease.name,
                chosen,
                lease.worker,
                fingerprints=[calls.physics(each.name, each.engine) for each in seen],
            )
        )
        job = self.job(lease.job)
        if job is None:
            assert reply == {"error": "not_found"}
            return
        expected = self.model.report(lease, chosen, seen)
        for verdict in ("accepted", "idempotent", "refused"):
            assert items(reply[verdict]) == getattr(expected, verdict)
        assert (reply.get("reason") == "wrong_physics") == expected.wrong_physics
        assert bool(reply.get("difference")) == expected.wrong_physics
        assert bool(reply.get("complete")) == expected.complete
        assert reply["status"] == job.status
        assert reply["lease_held"] == (lease.state == "held")
        assert reply["progress"]["done"] == (job.total if job.stage == "finished" else len(job.done))
        assert reply["progress"]["running"] == len(job.held)

    @rule(name=leases, of=leases, worker=workers, chosen=tasks)
    def report_with_a_lease_of_somebody_else(
        self, name: str, of: str, worker: str, chosen: list[int]
    ) -> None:
        job = self.model.leases[of].job
        if self.job(job) is not None and self.model.own(name, worker, job) is None:
            for call in (
                calls.report(self.store, job, name, chosen, worker),
                calls.fail(self.store, job, name, chosen, worker),
                calls.settle(self.store, job, name, worker),
                calls.release(self.store, job, name, worker),
            ):
                assert self.run(call) == {"error": "lease_not_yours"}

    @rule(
        name=leases,
        chosen=st.one_of(st.none(), tasks),
        kind=st.sampled_from(["compute", "compute", "compute", "capability", "input"]),
    )
    def fail(self, name: str, chosen: list[int] | None, kind: str) -> None:
        lease = self.model.leases[name]
        reply = self.run(calls.fail(self.store, lease.job, name, chosen, lease.worker, **{"class": kind}))
        job = self.job(lease.job)
        if job is None:
            assert reply == {"error": "not_found"}
        else:
            assert reply["requeued"] == self.model.fail(lease, chosen, kind)
            assert reply["status"] == job.status

    @rule(name=leases)
    def settle(self, name: str) -> None:
        lease = self.model.leases[name]
        reply = self.run(calls.settle(self.store, lease.job, name, lease.worker))
        if self.job(lease.job) is None:
            assert reply == {"error": "not_found"}
            return
        expected = self.model.settle(lease)
        assert reply == ({expected: True} if expected in ("settled", "idempotent") else {"error": expected})

    @rule(name=leases)
    def release(self, name: str) -> None:
        lease = self.model.leases[name]
        assert self.run(calls.release(self.store, lease.job, name, lease.worker)) == {"job": lease.job}
        self.model.release(lease)

    @rule(worker=workers, names=st.lists(leases, max_size=3))
    def heartbeat(self, worker: str, names: list[str]) -> None:
        reply = self.run(calls.heartbeat(self.store, names, worker))
        for name in names:
            lease = self.model.leases[name]
            told = lease.state if lease.worker == worker and lease.state in ("held", "cancelled") else "lost"
            assert reply["leases"][name] == told
        assert reply["draining"] == self.model.workers[worker].draining

    # ---------------------------------------------------------------------------------------- losses

    @rule(names=st.lists(leases, min_size=1, max_size=4, unique=True))
    def expire(self, names: list[str]) -> None:
        held = [name for name in sorted(names) if self.model.leases[name].state == "held"]
        if held:
            self.run(self.store.redis.zadd(key("leases"), dict.fromkeys(held, 0)))
        assert self.run(calls.sweep(self.store))["expired"] == len(held)
        for name in held:
            self.model.expire(self.model.leases[name])

    @rule(name=leases, times=st.integers(1, 4))
    def lose_again_and_again(self, name: str, times: int) -> None:
        """The same tasks, with one worker after the other: the way into the dead-letter queue."""
        job = self.job(self.model.leases[name].job)
        for _ in range(times):
            if job is None or job.stage != "living":
                return
            self.let_time_pass(job.name)
            lease = self.ask(self.name("x"), "w1", ABILITIES[0], 10)
            if lease is not None:
                self.expire([lease.name])

    @rule(name=jobs)
    def let_time_pass(self, name: str) -> None:
        job = self.job(name)
        if job is None:
            return
        if job.delayed:
            self.run(
                self.store.redis.zadd(key("job", name, "open"), {str(task): task for task in job.delayed})
            )
            self.run(self.store.redis.zadd(key("delayed"), {name: 0}, xx=True))
        job.delayed.clear()
        self.run(calls.sweep(self.store))

    @rule(worker=workers, drain=st.booleans())
    def drain(self, worker: str, drain: bool) -> None:
        assert self.run(self.store.transition("drain", worker=worker, drain=drain)) == {}
        self.model.workers[worker].draining = drain

    @rule(worker=st.just("w3"))
    def revoke(self, worker: str) -> None:
        self.run(self.store.transition("revoke", worker=worker))
        self.model.revoke(worker)

    # ------------------------------------------------------------------------------------- decisions

    def decide(self, name: str, what: str, refusal: str, **more: Any) -> None:
        reply = self.run(self.store.transition(what, job=name, by="ann", **more))
        job = self.job(name)
        if job is None:
            assert reply == {"error": "not_found"}
        else:
            assert reply.get("error") == (None if getattr(self.model, what)(job) else refusal)

    @rule(name=jobs)
    def cancel(self, name: str) -> None:
        self.decide(name, "cancel", "over", retire_ms=calls.LATER_MS)

    @rule(name=jobs)
    def requeue(self, name: str) -> None:
        self.decide(name, "requeue", "not_in_dlq")

    @rule(name=jobs)
    def discard(self, name: str) -> None:
        self.decide(name, "discard", "not_in_dlq", retire_ms=calls.LATER_MS)

    @rule(name=jobs)
    def finish(self, name: str) -> None:
        job, reply = self.job(name), self.run(calls.over(self.store, "finish", name))
        assert reply["finished"] == (job is not None and self.model.finish(job))

    @rule(name=jobs)
    def finish_failed(self, name: str) -> None:
        job, reply = self.job(name), self.run(calls.finish_failed(self.store, name))
        assert reply["failed"] == (job is not None and self.model.finish_failed(job))

    @rule(name=consumes(jobs))
    def retire(self, name: str) -> None:
        job = self.job(name)
        if job is not None and not job.keeps_forces:
            self.run(self.store.redis.zadd(key("retire"), {name: 0}, xx=True))
            due = self.run(self.store.transition("due", limit=10))["jobs"]
            assert due == [name]
            self.run(self.store.transition("retire", jobs=due))
            self.model.retire(job)

    # ------------------------------------------------------------------------------------ invariants

    @invariant()
    def redis_holds_what_the_model_says(self) -> None:
        found = self.run(self.found())
        for name, expected in self.expected().items():
            assert found[name] == expected, name

    @invariant()
    def tasks_are_neither_lost_nor_done_again(self) -> None:
        for job in self.model.jobs.values():
            assert self.done.get(job.name, set()) <= job.done
            self.done[job.name] = set(job.done)
            if job.stage in ("living", "dead") and not job.settled_by:
                assert sorted([*job.open, *job.held, *job.done]) == list(range(job.total))

    def expected(self) -> dict[str, Any]:
        model = self.model
        by_stage = {
            stage: {job.name for job in model.jobs.values() if job.stage in stage.split()}
            for stage in ("assembling", "dead", "finished cancelled discarded")
        }
        return {
            "ready": [job.name for job in model.line()],
            "delayed": {
                job.name for job in model.jobs.values() if job.stage == "living" and job.open and not job.due
            },
            "assemble": by_stage["assembling"],
            "dlq": by_stage["dead"],
            "retire": by_stage["finished cancelled discarded"],
            "index": {
                owner + status: {job.name for job in model.jobs.values() if status in (job.status, "*")}
                for owner, status in product(("ann", "*"), STATUSES)
            },
            "leases": {lease.name for lease in model.leases.values() if lease.state == "held"},
            "worker leases": {
                name: {le.name for le in model.leases.values() if le.state == "held" and le.worker == name}
                for name in WORKERS
            },
            "worker counts": {name: (worker.done, worker.failed) for name, worker in model.workers.items()},
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
                    "reports": job.done if job.keeps_forces else set(),
                    "runs": job.done,
                    "attempts": {f"{task}:{kind}": n for (task, kind), n in job.attempts.items()},
                    "avoid": {f"{worker} {digest}" for worker, digest in job.avoided},
                    "pinned": job.pinned and calls.physics(job.pinned.name, job.pinned.engine),
                    "error and end": (job.status == "failed", not job.keeps_forces or job.stage == "dead"),
                }
                for job in model.jobs.values()
            },
        }

    async def found(self) -> dict[str, Any]:
        """Read everything in one round trip."""
        model, names = self.model, []
        async with self.store.redis.pipeline(transaction=False) as redis:

            def want(call: object, *name: str) -> None:
                names.append(name)

            want(redis.time(), "now")
            for name in ("ready", "delayed", "assemble", "dlq", "retire", "leases"):
                want(redis.zrange(key(name), 0, -1), name)
            for owner, status in product(("ann", "*"), STATUSES):
                want(redis.zrange(key("index", owner, status), 0, -1), "index", owner, status)
            for name in WORKERS:
                want(redis.smembers(key("worker", name, "leases")), "worker leases", name)
                want(redis.hmget(key("worker", name), ["scf_done", "scf_failed"]), "worker counts", name)
            for name in model.leases:
                want(redis.hget(key("lease", name), "state"), "lease", name)
                want(redis.smembers(key("lease", name, "tasks")), "lease tasks", name)
                want(redis.pttl(key("lease", name)), "lease ttl", name)
            for name in model.jobs:
                fields = ["status", "fingerprint", "error", "finished"]
                want(redis.hmget(key("job", name), fields), "job", name)
                want(redis.zrange(key("job", name, "open"), 0, -1, withscores=True), "open", name)
                for part in ("held", "reports", "runs", "attempts", "avoid"):
                    want(redis.hgetall(key("job", name, part)), part, name)
            got = dict(zip(names, await redis.execute(), strict=True))

        now = calls.milliseconds(got["now",])

        def job(name: str) -> dict[str, Any]:
            status, pinned, error, finished = got["job", name]
            return {
                "status": status,
                "due": {int(task) for task, score in got["open", name] if score <= now},
                "delayed": {int(task) for task, score in got["open", name] if score > now},
                "held": {int(task): lease for task, lease in got["held", name].items()},
                "reports": {int(task) for task in got["reports", name]},
                "runs": {int(task) for task in got["runs", name]},
                "attempts": {name: int(n) for name, n in got["attempts", name].items()},
                "avoid": set(got["avoid", name]),
                "pinned": pinned,
                # While a job is being tried again, its last error stays to be seen.
                "error and end": (status == "failed" and error is not None, finished is not None),
            }

        return {
            "ready": got["ready",],
            **{name: set(got[name,]) for name in ("delayed", "assemble", "dlq", "retire", "leases")},
            "index": {
                owner + status: set(got["index", owner, status])
                for owner, status in product(("ann", "*"), STATUSES)
            },
            "worker leases": {name: set(got["worker leases", name]) for name in WORKERS},
            "worker counts": {
                name: tuple(int(n or 0) for n in got["worker counts", name]) for name in WORKERS
            },
            "lease records": {
                name: (
                    got["lease", name],
                    {int(task) for task in got["lease tasks", name]},
                    got["lease ttl", name] == -1,
                )
                for name in model.leases
            },
            "jobs": {name: job(name) for name in model.jobs},
        }

    def teardown(self) -> None:
        try:
            for job in list(self.model.jobs.values()):
                self.cancel(job.name)
                self.discard(job.name)
                self.retire(job.name)
            left = self.run(calls.names(self.store))
            kept = {key("workers"), *(key("worker", name) for name in WORKERS)}
            # Ended leases are remembered for a while, so that late reports are answered well.
            assert left - kept == {key("lease", name) for name in self.model.leases}
        finally:
            self.run(self.store.close())
            self.runner.close()


def test_any_sequence_of_transitions_does_what_the_model_says(redis_server: RedisServer) -> None:
    run_state_machine_as_test(
        lambda: ControlPlane(redis_server.url),
        settings=settings(
            max_examples=EXAMPLES or 60,
            stateful_step_count=40,
            derandomize=not EXAMPLES,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
