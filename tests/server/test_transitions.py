"""The atomic transitions, on a real Redis."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.processes import RedisServer
from tests.server.calls import (
    LATER_MS,
    MONTH,
    RETRY,
    TTL_MS,
    cancel,
    discard,
    dump,
    fail,
    finish,
    finish_failed,
    heartbeat,
    lease,
    physics,
    release,
    report,
    requeue,
    rerun,
    settle,
    submit,
    sweep,
)
from zpe_sdk.errors import StoreError
from zpe_sdk.wire import ErrorInfo
from zpe_server.store import Store, key
from zpe_server.transitions.base import items
from zpe_server.transitions.jobs import Finish, ListDue, ReadStatuses, Retire
from zpe_server.transitions.leases import Heartbeat, Told
from zpe_server.transitions.tokens import Authenticate, ListTokens, Mint
from zpe_server.transitions.workers import Drain, Register, Revoke, Rotate, TakeBack

Scenario = Callable[[Store], Awaitable[None]]


@pytest.fixture
def play(redis_cluster: RedisServer) -> Callable[[Scenario], None]:
    def run(scenario: Scenario) -> None:
        async def whole() -> None:
            store = Store(redis_cluster.url)
            await store.redis.flushdb()
            try:
                await scenario(store)
            finally:
                await store.close()

        asyncio.run(whole())

    return run


def test_two_workers_get_disjoint_tasks_and_finish_the_job(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        await submit(store, "j")
        one, two = await lease(store, "l1", max_tasks=2), await lease(store, "l2", "w2")
        assert (one["tasks"], two["tasks"]) == (["0", "1"], ["2"])
        assert await lease(store, "l3", "w3") == {}
        await report(store, "j", "l1", [0, 1])
        last = await report(store, "j", "l2", [2], worker="w2")
        assert last["complete"]
        assert last["progress"]["done"] == 3

    play(scenario)


def test_a_heartbeat_tells_how_far_the_scfs_are(play: Callable[[Scenario], None]) -> None:
    def told(iteration: int, seconds: float) -> Told:
        scfs = [{"task": 1, "iteration": iteration, "accuracy_ry": 1e-6, "seconds": seconds}]
        return Told(scfs=json.dumps(scfs), mark=f"1:{iteration}")

    async def beat(store: Store, running: dict[str, Told]) -> dict[str, Any]:
        await store.transition(
            Heartbeat(worker="w1", ttl_ms=TTL_MS, leases=["l1", "unknown"], running=running)
        )
        [record] = (await store.transition(ReadStatuses(jobs=["j"])))["jobs"]
        assert isinstance(record, dict)
        return record

    async def scenario(store: Store) -> None:
        await submit(store, "j")
        await lease(store, "l1", max_tasks=2)
        first = await beat(store, {"l1": told(8, 20.0), "unknown": told(1, 1.0)})
        [scf] = first["running"]
        assert (scf["task"], scf["iteration"], scf["worker"]) == (1, 8, "w1")
        # Seconds that pass wake nobody; an iteration does.
        same = await beat(store, {"l1": told(8, 30.0)})
        assert same["version"] == first["version"]
        assert same["running"][0]["seconds"] >= 30.0
        assert int((await beat(store, {"l1": told(9, 40.0)}))["version"]) > int(first["version"])
        await report(store, "j", "l1", [1])
        [record] = (await store.transition(ReadStatuses(jobs=["j"])))["jobs"]
        assert isinstance(record, dict)
        assert items(record["running"]) == []

    play(scenario)


def test_a_replayed_report_changes_nothing(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        await submit(store, "j")
        await lease(store, "l1")
        assert (await report(store, "j", "l1", [1]))["accepted"] == [1]
        replay = await report(store, "j", "l1", [1])
        assert replay["idempotent"] == [1]
        assert replay["progress"]["done"] == 1

    play(scenario)


def test_a_lease_of_somebody_else_is_refused(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        await submit(store, "j")
        await lease(store, "l1")
        assert (await report(store, "j", "l1", [0], worker="w2"))["error"] == "lease_not_yours"
        assert await store.redis.hlen(key("job", "j", "reports")) == 0

    play(scenario)


def test_forces_of_other_physics_are_refused_and_the_task_goes_elsewhere(
    play: Callable[[Scenario], None],
) -> None:
    async def scenario(store: Store) -> None:
        await submit(store, "j")
        await lease(store, "l1", max_tasks=1)
        await report(store, "j", "l1", [0])
        await lease(store, "l2", "w2")
        refused = await report(store, "j", "l2", [1], worker="w2", fingerprints=[physics("other")])
        assert (refused["refused"], refused["reason"]) == ([1], "wrong_physics")
        assert await lease(store, "l3", "w2") == {"blocked": True}
        assert (await lease(store, "l4", "w3"))["tasks"] == ["1", "2"]

    play(scenario)


@pytest.mark.parametrize(
    ("tasks", "claim", "reason", "told"),
    [
        ([0, 2], {}, "not_leased", "its lease does not have them"),
        ([0], {"name": "other"}, "wrong_physics", "physics: other instead of p"),
        ([0], {"engine": "mock"}, "wrong_engine", "mock 7.2 instead of espresso 7.2"),
        ([0], {"version": "6.7"}, "wrong_engine", "espresso 6.7 instead of espresso 7.2"),
        ([0], {"files": ["H"]}, "wrong_pseudopotentials", "H instead of H, O"),
        ([0], {"files": ["H", "O", "C"]}, "wrong_pseudopotentials", "C, H, O instead of H, O"),
    ],
)
def test_what_was_not_leased_is_refused_and_goes_to_others(
    play: Callable[[Scenario], None], tasks: list[int], claim: dict[str, Any], reason: str, told: str
) -> None:
    async def scenario(store: Store) -> None:
        await submit(store, "j", needs=["H", "O"], physics="p")
        right: dict[str, Any] = {"files": ["H", "O"]}
        await lease(store, "l1", max_tasks=2, engine_version="7.2")
        prints = [physics(**(right | claim))] * len(tasks)
        reply = await report(store, "j", "l1", tasks, fingerprints=prints)
        assert reply["refused"] == tasks[len(reply["accepted"] or []) :]
        assert (reply["reason"], reply["lease_held"]) == (reason, False)
        assert told in reply["difference"]
        assert told in await detail(store, "j")
        [event] = await store.redis.lrange(key("job", "j", "history"), 0, -1)
        assert reason in event
        # It is not offered the job again; nothing of it is lost.
        assert await lease(store, "l2") == {"blocked": True}
        rest = (await lease(store, "l3", "w2"))["tasks"]
        assert len(rest) + len(reply["accepted"] or []) == 3
        done = [int(task) for task in rest]
        last = await report(store, "j", "l3", done, "w2", fingerprints=[physics(**right)] * len(done))
        assert last["complete"]

    play(scenario)


def test_a_result_made_of_forces_that_were_taken_back_is_not_the_jobs(
    play: Callable[[Scenario], None],
) -> None:
    async def scenario(store: Store) -> None:
        async def finish(generation: str) -> bool:
            reply = await store.transition(
                Finish(job="j", bytes=1, retire_ms=LATER_MS, generation=generation, zpe_ev="0.25")
            )
            return bool(reply["finished"])

        await submit(store, "j")
        await lease(store, "l1")
        assert (await report(store, "j", "l1", [0, 1, 2]))["complete"]
        taken = await store.transition(TakeBack(worker="w1", jobs=["j"], retire_ms=LATER_MS))
        assert taken["reopened"] == ["j"]
        assert not await finish("0")
        # Nothing of it is left, so other physics may take its place.
        await lease(store, "l2", "w2")
        assert (await report(store, "j", "l2", [0, 1, 2], "w2", fingerprints=[physics("new")] * 3))[
            "complete"
        ]
        assert not await finish("0")  # of a process that was slow to store the first one
        assert await finish("1")

    play(scenario)


def test_a_revoked_worker_reports_nothing_any_more(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        await enrol(store, "w1")
        await submit(store, "j")
        await lease(store, "l1")
        await store.transition(Revoke(worker="w1"))
        assert await report(store, "j", "l1", [0]) == {"error": "lease_not_yours"}
        assert await settle(store, "j", "l1") == {"error": "lease_not_yours"}

    play(scenario)


def test_expiry_returns_only_unfinished_tasks_and_a_late_result_is_kept(
    play: Callable[[Scenario], None],
) -> None:
    async def scenario(store: Store) -> None:
        await submit(store, "j")
        await lease(store, "l1")
        await report(store, "j", "l1", [0])
        await store.redis.zadd(key("leases"), {"l1": 0})
        swept = await sweep(store)
        assert swept["expired"] == 1
        assert await store.redis.zrange(key("job", "j", "open"), 0, -1) == ["1", "2"]
        assert await store.redis.hgetall(key("job", "j", "attempts")) == {"1:lost": "1", "2:lost": "1"}
        assert (await report(store, "j", "l1", [1]))["accepted"] == [1]

    play(scenario)


def test_a_task_that_keeps_failing_ends_in_the_dlq_and_requeueing_keeps_what_is_done(
    play: Callable[[Scenario], None],
) -> None:
    async def scenario(store: Store) -> None:
        await submit(store, "j")
        at_once = replace(RETRY, base_ms=0)
        outcomes = []
        for attempt in range(4):
            await lease(store, f"l{attempt}")
            if attempt == 0:
                await report(store, "j", "l0", [0])
            outcomes.append((await fail(store, "j", f"l{attempt}", [1], retry=at_once))["requeued"])
            await release(store, "j", f"l{attempt}")
        assert outcomes == [True, True, True, False]
        assert await store.redis.zrange(key("dlq"), 0, -1) == ["j"]
        assert await store.redis.hget(key("job", "j"), "status") == "failed"

        back = await requeue(store, "j")
        assert (back["status"], back["progress"]["done"]) == ("queued", 1)
        assert (await lease(store, "again"))["tasks"] == ["1", "2"]

    play(scenario)


def test_a_retry_waits_for_its_delay(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        await submit(store, "j", tasks=1)
        await lease(store, "l1")
        assert (await fail(store, "j", "l1", [0]))["requeued"]
        assert await lease(store, "l2") == {}
        seconds, micros = await store.redis.time()
        due = await store.redis.zscore(key("delayed"), "j")
        assert due == pytest.approx(seconds * 1000 + micros / 1000 + 60_000, abs=10_000)

    play(scenario)


def test_an_input_error_is_not_retried(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        await submit(store, "j")
        await lease(store, "l1")
        assert (await fail(store, "j", "l1", [0], failure="input"))["requeued"] is False
        assert await store.redis.zrange(key("dlq"), 0, -1) == ["j"]
        told = {"leases": {"l1": "cancelled"}, "left": {}, "draining": False}
        assert await heartbeat(store, ["l1"]) == told

    play(scenario)


def test_same_idempotency_key_gives_the_same_job_and_other_content_a_conflict(
    play: Callable[[Scenario], None],
) -> None:
    async def scenario(store: Store) -> None:
        keyed: dict[str, Any] = {"idempotency_key": "k", "digest": "one"}
        assert (await submit(store, "j1", **keyed))["created"]
        assert await submit(store, "j2", **keyed) == {"job": "j1", "created": False}
        assert await submit(store, "j3", **(keyed | {"digest": "two"})) == {"conflict": True}
        assert await store.redis.zcard(key("index", "*", "*")) == 1

    play(scenario)


def test_an_enroll_token_works_once(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        seconds, _ = await store.redis.time()
        await store.redis.hset(
            key("enroll", "hash"), mapping={"label": "lab", "expires": (seconds + 60) * 1000}
        )
        first = Register(enroll="hash", worker="w1", name="", token="t", token_ttl_ms=1000, meta="{}")
        assert "registered" in await store.transition(first)
        again = await store.transition(replace(first, worker="w2"))
        assert again == {"error": "invalid"}
        assert await store.redis.exists(key("worker", "w2")) == 0

    play(scenario)


def test_cancelling_leaves_no_lease_and_no_place_in_line(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        await submit(store, "j")
        await lease(store, "l1", max_tasks=1)
        await cancel(store, "j", retire_ms=0)
        assert await store.redis.zcard(key("leases")) == 0
        assert await store.redis.zcard(key("ready")) == 0
        due = await store.transition(ListDue(limit=10))
        await store.transition(Retire(jobs=due["jobs"]))
        assert await lease(store, "l2") == {}  # with nobody in line, turns begin anew
        left = [name async for name in store.redis.scan_iter(key("*"))]
        assert sorted(left) == sorted([key("owners"), key("present"), key("worker", "w1"), key("workers")])

    play(scenario)


async def detail(store: Store, job: str) -> str:
    [found] = (await store.transition(ReadStatuses(jobs=[job])))["jobs"]
    return str(found["detail"])


async def expire(store: Store, *names: str) -> None:
    await store.redis.zadd(key("leases"), dict.fromkeys(names, 0))
    await sweep(store)


async def enrol(store: Store, worker: str, token: str = "t") -> None:
    await store.transition(Mint(kind="enroll", token="e", ttl_ms=LATER_MS, fields={"label": "lab"}))
    await store.transition(
        Register(enroll="e", worker=worker, name="", token=token, token_ttl_ms=LATER_MS, meta="{}")
    )


# ------------------------------------------------------------------------- a job that waits says why


def test_refused_physics_are_named_where_everybody_sees_them(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        await submit(store, "j")
        await lease(store, "l1", max_tasks=1)
        await lease(store, "l2", "w2")
        await report(store, "j", "l1", [0])
        mixed = [physics("other"), physics(), physics("other")]
        # A refusal for another reason comes first, and must not hide this one.
        reply = await report(store, "j", "l2", [9, 1, 2], "w2", fingerprints=mixed)
        assert (reply["accepted"], reply["refused"], reply["lease_held"]) == ([1], [9, 2], False)
        difference = "physics: other instead of p"
        assert (reply["reason"], reply["difference"]) == ("wrong_physics", difference)
        assert difference in await detail(store, "j")
        [event] = await store.redis.lrange(key("job", "j", "history"), 0, -1)
        assert difference in event
        assert await lease(store, "l3", "w2") == {"blocked": True}
        assert difference in await detail(store, "j")
        assert (await lease(store, "l4", "w2", digest="a new pw.x"))["tasks"] == ["2"]

    play(scenario)


def test_a_version_that_cannot_run_a_job_has_no_results_for_it(play: Callable[[Scenario], None]) -> None:
    # From a worker that did not tell its version, and did not notice what its pw.x ignored.
    async def scenario(store: Store) -> None:
        needs = {"pseudopotentials": [], "versions": [{"condition": ">=7.1"}]}
        await submit(store, "j", fields={"nat": 1, "needs": json.dumps(needs)})
        await lease(store, "l1")
        old = json.dumps({"engine": "espresso", "engine_version": "6.7MaX"})
        reply = await report(store, "j", "l1", [0, 1], fingerprints=[old, old])
        assert (reply["refused"], reply["reason"]) == ([0, 1], "wrong_version")
        assert "pw.x 6.7MaX" in await detail(store, "j")
        assert await lease(store, "l2") == {"blocked": True}
        assert (await lease(store, "l3", "w2"))["tasks"] == ["0", "1", "2"]
        new = json.dumps({"engine": "espresso", "engine_version": "7.2"})
        assert (await report(store, "j", "l3", [0], "w2", fingerprints=[new]))["accepted"] == [0]

    play(scenario)


def test_a_job_that_no_worker_takes_says_what_it_waits_for(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        await submit(store, "j")
        await lease(store, "l1")
        await report(store, "j", "l1", [0])
        await release(store, "j", "l1")
        assert await lease(store, "l2", "w2", max_tasks=0) == {"blocked": True}
        assert "whole jobs only" in await detail(store, "j")
        assert (await lease(store, "l3"))["tasks"] == ["1", "2"]
        assert await detail(store, "j") == ""

    play(scenario)


def test_springs_get_no_job_that_is_for_pw_and_pw_none_that_is_for_springs(
    play: Callable[[Scenario], None],
) -> None:
    async def scenario(store: Store) -> None:
        await submit(store, "real")
        await submit(store, "for teaching", engine="mock")
        for name, engine, expected in (
            ("l1", "mock", "for teaching"),
            ("l2", "mock", None),
            ("l3", "espresso", "real"),
            ("l4", "espresso", None),
        ):
            reply = await lease(store, name, engine=engine, max_tasks=3)
            assert reply.get("job") == expected
        for name in ("l1", "l3"):
            await release(store, "real" if name == "l3" else "for teaching", name)
        # One that does not tell what it runs is offered both.
        jobs = {(await lease(store, f"u{n}", engine="", max_tasks=3))["job"] for n in range(2)}
        assert jobs == {"real", "for teaching"}

    play(scenario)


def test_a_worker_that_lacks_something_hands_over_uncounted_and_is_not_asked_again(
    play: Callable[[Scenario], None],
) -> None:
    async def scenario(store: Store) -> None:
        await submit(store, "j")
        for digest in ("one process", "another"):
            await lease(store, digest, digest=digest)
            error = ErrorInfo(side="config", code="pseudo_missing", message="no H.UPF here")
            reply = await fail(store, "j", digest, None, error=error, failure="capability")
            assert (reply["requeued"], reply["retry_count"]) == (True, 0)
        assert "no H.UPF here" in await detail(store, "j")
        for digest in ("one process", "another"):
            assert await lease(store, "again " + digest, digest=digest) == {"blocked": True}
        assert (await lease(store, "l2", "w2"))["job"] == "j"

    play(scenario)


def test_jobs_that_wait_do_not_keep_a_worker_from_those_behind_them(
    play: Callable[[Scenario], None],
) -> None:
    async def scenario(store: Store) -> None:
        for n in range(4):
            await submit(store, f"j{n}", needs=["O"], priority=1)
        await submit(store, "last")
        able: dict[str, Any] = {"scan": 2, "pseudopotentials": {"H": True}}
        reply = await lease(store, "l", **able)
        assert reply == {"blocked": True, "next": 2}
        reply = await lease(store, "l", **able, offset=2)
        assert reply == {"blocked": True, "next": 4}
        assert (await lease(store, "l", **able, offset=4))["job"] == "last"
        assert await lease(store, "l2", **able, offset=4) == {"blocked": True}

    play(scenario)


# ------------------------------------------------------------------------------ losses and retries


def test_a_whole_job_is_not_given_out_while_a_part_of_it_waits_for_its_next_try(
    play: Callable[[Scenario], None],
) -> None:
    async def scenario(store: Store) -> None:
        await submit(store, "j")
        await lease(store, "l1")
        await fail(store, "j", "l1", [1])
        await release(store, "j", "l1")
        assert await lease(store, "l2", "w2", max_tasks=0) == {"blocked": True}
        assert (await lease(store, "l3", "w2"))["tasks"] == ["0", "2"]

    play(scenario)


def test_progress_of_a_worker_resets_what_its_other_tasks_have_lost(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        await submit(store, "j")
        await lease(store, "l1")
        await store.redis.zadd(key("leases"), {"l1": 0})
        await sweep(store, retry=replace(RETRY, base_ms=0))
        assert len(await store.redis.hgetall(key("job", "j", "attempts"))) == 3
        await lease(store, "l2", max_tasks=2)
        await report(store, "j", "l2", [0])
        assert await store.redis.hgetall(key("job", "j", "attempts")) == {"2:lost": "1"}

    play(scenario)


def test_a_failed_task_that_succeeds_after_all_stands_in_line_no_more(
    play: Callable[[Scenario], None],
) -> None:
    async def scenario(store: Store) -> None:
        await submit(store, "j")
        await lease(store, "l1")
        await fail(store, "j", "l1", [1])
        assert await store.redis.zcard(key("delayed")) == 1
        assert (await report(store, "j", "l1", [1]))["accepted"] == [1]
        assert await store.redis.zcard(key("delayed")) == 0

    play(scenario)


def test_a_task_named_twice_in_a_failure_counts_once(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        await submit(store, "j")
        await lease(store, "l1")
        first = await fail(store, "j", "l1", [1, 1])
        assert first["retry_count"] == 1
        assert await fail(store, "j", "l1", [1, 1]) == first

    play(scenario)


def test_a_job_that_loses_all_its_workers_too_often_ends_in_the_dlq_with_the_reason(
    play: Callable[[Scenario], None],
) -> None:
    async def scenario(store: Store) -> None:
        await submit(store, "j", tasks=2)
        for n in range(4):
            for task in range(2):
                await store.redis.zadd(key("job", "j", "open"), {str(task): task}, xx=True)
            await store.redis.zadd(key("delayed"), {"j": 0}, xx=True)
            await sweep(store)
            pair = [f"a{n}", f"b{n}"]
            for name in pair:
                await lease(store, name, name, max_tasks=1)
            # One sweep finds both; the loss of the first has failed the job before it comes to the second.
            await expire(store, *pair)
        [job] = (await store.transition(ReadStatuses(jobs=["j"])))["jobs"]
        assert job["status"] == "failed"
        assert "dlq" in job
        assert '"code":"worker_lost"' in job["error"]
        assert (await heartbeat(store, ["b3"], "b3"))["leases"] == {"b3": "cancelled"}

    play(scenario)


@pytest.mark.parametrize("call", ["lease", "report", "fail", "settle", "release", "heartbeat", "rotate"])
def test_every_call_of_a_worker_process_renews_its_leases_and_no_others(
    play: Callable[[Scenario], None], call: str
) -> None:
    async def scenario(store: Store) -> None:
        await submit(store, "j", tasks=4)
        for name, instance in (("mine", "me"), ("mine too", "me"), ("other", "you"), ("nameless", "")):
            await lease(store, name, instance=instance, max_tasks=1)
        deadlines = dict.fromkeys(("mine", "mine too", "other", "nameless"), 4e12)
        await store.redis.zadd(key("leases"), deadlines)
        mine = {"instance": "me"}
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "lease": lambda: lease(store, "none", **mine),
            "report": lambda: report(store, "j", "mine", [9], **mine),
            "fail": lambda: fail(store, "j", "mine", [9], **mine),
            "settle": lambda: settle(store, "j", "mine", **mine),
            "release": lambda: release(store, "j", "elsewhere", **mine),
            "heartbeat": lambda: heartbeat(store, [], **mine),
            "rotate": lambda: store.transition(
                Rotate(worker="w1", **mine, ttl_ms=TTL_MS, token="t", token_ttl_ms=1, grace_ms=1)
            ),
        }
        await calls[call]()
        scores = {name: await store.redis.zscore(key("leases"), name) or 0 for name in deadlines}
        assert {name for name, score in scores.items() if score < 4e12} == {"mine", "mine too"}

    # The worker has a record: rotation reads it.
    async def enrolled(store: Store) -> None:
        await enrol(store, "w1")
        await scenario(store)

    play(enrolled)


# ------------------------------------------------------------------------- whole jobs in one go


def test_a_whole_result_is_taken_once(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        await submit(store, "j")
        await lease(store, "l1", max_tasks=0)
        assert await settle(store, "j", "l1", worker="w2") == {"error": "lease_not_yours"}
        assert await settle(store, "j", "l1") == {"settled": True}
        assert await settle(store, "j", "l1") == {"idempotent": True}
        assert await store.redis.hgetall(key("job", "j", "settled")) == {
            "result": "{}",
            "summary": "text",
            "freqs": "csv",
        }
        await finish(store, "j")
        assert await settle(store, "j", "l1") == {"idempotent": True}

    play(scenario)


def test_a_late_whole_result_is_taken_unless_others_are_at_it(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        await submit(store, "j")
        await lease(store, "l1", max_tasks=0)
        await release(store, "j", "l1")
        await lease(store, "l2", "w2", max_tasks=1)
        assert await settle(store, "j", "l2", "w2") == {"error": "partial"}
        assert await settle(store, "j", "l1") == {"error": "lease_not_yours"}
        await expire(store, "l2")
        assert await settle(store, "j", "l1") == {"settled": True}
        late = await report(store, "j", "l2", [0], "w2")
        assert (late["idempotent"], late["status"]) == ([0], "started")

    play(scenario)


def test_a_late_whole_result_saves_a_dead_job_but_no_cancelled_or_discarded_one(
    play: Callable[[Scenario], None],
) -> None:
    async def scenario(store: Store) -> None:
        for job in ("dead", "cancelled", "discarded"):
            await submit(store, job)
            await lease(store, job, max_tasks=0)
            if job != "cancelled":
                await fail(store, job, job, [0], failure="input")
        await cancel(store, "cancelled")
        await discard(store, "discarded")
        assert await settle(store, "dead", "dead") == {"settled": True}
        assert await store.redis.zcard(key("dlq")) == 0
        assert await settle(store, "cancelled", "cancelled") == {"error": "cancelled"}
        assert await settle(store, "discarded", "discarded") == {"error": "discarded"}
        late = await report(store, "discarded", "discarded", [0])
        assert (late["refused"], late["reason"]) == ([0], "discarded")

    play(scenario)


# -------------------------------------------------------------------------------- the end of a job


def test_a_job_is_finished_once_and_keeps_its_progress(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        await submit(store, "j", tasks=1, fields={"name": "water", "formula": "H2O"})
        assert await finish(store, "j") == {"finished": False}
        await lease(store, "l1")
        await report(store, "j", "l1", [0])
        assert await finish(store, "j") == {"finished": True}
        assert await finish(store, "j") == {"finished": False}
        job, unknown = (await store.transition(ReadStatuses(jobs=["j", "unknown"])))["jobs"]
        assert unknown is False
        assert (job["status"], job["name"], job["formula"]) == ("finished", "water", "H2O")
        assert (job["progress"]["done"], job["progress"]["total"]) == (1, 1)
        assert job["workers"] == ["w1"]
        assert await cancel(store, "j") == {"error": "over", "status": "finished"}

    play(scenario)


def test_a_result_that_cannot_be_made_fails_the_job_and_requeueing_tries_it_again(
    play: Callable[[Scenario], None],
) -> None:
    async def scenario(store: Store) -> None:
        await submit(store, "j", tasks=1)
        assert await finish_failed(store, "j") == {"failed": False}
        await lease(store, "l1")
        await report(store, "j", "l1", [0])
        assert await finish_failed(store, "j") == {"failed": True}
        [job] = (await store.transition(ReadStatuses(jobs=["j"])))["jobs"]
        assert (job["status"], job["detail"]) == ("failed", "no result")
        assert '"traceback":"tail"' in job["error"]
        assert (await requeue(store, "j"))["complete"]
        assert (await sweep(store, assemble_after_ms=0))["assemble"] == ["j"]
        assert await finish(store, "j") == {"finished": True}

    play(scenario)


def test_a_cancelled_job_still_says_how_far_it_was(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        await submit(store, "j")
        await lease(store, "l1")
        await report(store, "j", "l1", [0])
        await cancel(store, "j")
        [job] = (await store.transition(ReadStatuses(jobs=["j"])))["jobs"]
        assert (job["status"], job["progress"]["done"]) == ("cancelled", 1)

    play(scenario)


@pytest.mark.parametrize("end", [finish, cancel, discard])
def test_nothing_is_left_of_a_forgotten_job_but_the_memory_of_its_leases(
    play: Callable[[Scenario], None], end: Callable[..., Awaitable[object]]
) -> None:
    async def scenario(store: Store) -> None:
        await submit(store, "j", idempotency_key="k", digest="d")
        await lease(store, "l1")
        error = ErrorInfo(side="config", code="pseudo_missing", message="no")
        await fail(store, "j", "l1", [0], error=error, failure="capability")
        await fail(store, "j", "l1", [1])
        if end is finish:
            await release(store, "j", "l1")
            await report(store, "j", "l1", [0, 1, 2])
        elif end is discard:
            await fail(store, "j", "l1", [2], failure="input")
        await end(store, "j", retire_ms=0)
        await store.transition(Retire(jobs=(await store.transition(ListDue(limit=10)))["jobs"]))
        assert await lease(store, "l2", max_tasks=1) == {}  # with nobody in line, turns begin anew
        left = await dump(store)
        of_no_job = {key("worker", "w1"), key("spent", MONTH)}
        of_no_job |= set(map(key, ("workers", "owners", "present", "counters", "finished")))
        assert set(left.keys) - of_no_job == set()
        assert await report(store, "j", "l1", [0]) == {"error": "not_found"}
        assert (await submit(store, "j2", idempotency_key="k", digest="other"))["created"]

    play(scenario)


# ------------------------------------------------------------------------------- workers and tokens


def test_a_drained_worker_finishes_what_it_holds_and_gets_nothing_new(
    play: Callable[[Scenario], None],
) -> None:
    async def scenario(store: Store) -> None:
        assert await store.transition(Drain(worker="w1", drain=True)) == {"error": "not_found"}
        await enrol(store, "w1")
        await submit(store, "j")
        await lease(store, "l1", max_tasks=1)
        await store.transition(Drain(worker="w1", drain=True))
        assert await lease(store, "l2") == {"blocked": True}  # others may
        assert await heartbeat(store, ["l1"]) == {"leases": {"l1": "held"}, "left": {}, "draining": True}
        assert (await report(store, "j", "l1", [0]))["accepted"] == [0]
        await store.transition(Drain(worker="w1", drain=False))
        assert (await lease(store, "l3"))["tasks"] == ["1", "2"]

    play(scenario)


def test_a_revoked_worker_is_out_at_once_and_its_tasks_go_back_uncounted(
    play: Callable[[Scenario], None],
) -> None:
    async def scenario(store: Store) -> None:
        assert await store.transition(Revoke(worker="w1")) == {"error": "not_found"}
        await enrol(store, "w1")
        await submit(store, "j")
        await lease(store, "l1")
        assert await store.transition(Revoke(worker="w1")) == {"revoked": 1, "jobs": ["j"]}
        assert (await store.transition(Authenticate(token="t")))["role"] == "revoked"
        assert await store.redis.hgetall(key("job", "j", "attempts")) == {}
        # Requests that were let in before must not bring it back: one waits for work, one asks for a token.
        assert await lease(store, "l2") == {"blocked": True}
        rotation = Rotate(worker="w1", ttl_ms=TTL_MS, token="new", token_ttl_ms=LATER_MS, grace_ms=1)
        reply = await store.transition(rotation)
        assert reply == {"error": "revoked"}
        assert await store.transition(Authenticate(token="new")) == {}
        assert (await lease(store, "l3", "w2"))["tasks"] == ["0", "1", "2"]

    play(scenario)


def test_an_old_worker_token_outlives_a_new_one_by_its_grace_only(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        await enrol(store, "w1", token="first")
        second = Rotate(worker="w1", ttl_ms=TTL_MS, token="second", token_ttl_ms=LATER_MS, grace_ms=TTL_MS)
        reply = await store.transition(second)
        assert reply["name"] == "lab"
        for token in ("first", "second"):
            found = await store.transition(Authenticate(token=token))
            assert 0 < found.pop("left_ms") <= (TTL_MS if token == "first" else LATER_MS)
            assert found == {"role": "worker", "subject": "w1", "name": "lab"}
        assert 0 < await store.redis.pttl(key("token", "first")) <= TTL_MS
        await store.transition(replace(second, token="third", grace_ms=0))
        for token in ("first", "second"):
            assert await store.transition(Authenticate(token=token)) == {}
        await store.transition(replace(second, token="fourth"))
        assert await store.redis.smembers(key("worker", "w1", "tokens")) == {"third", "fourth"}

    play(scenario)


def test_a_researchers_token_is_in_force_until_it_ends(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        fields = {"role": "researcher", "subject": "ann", "label": ""}
        for token, ttl_ms in (("always", 0), ("a while", LATER_MS)):
            made = await store.transition(Mint(kind="token", token=token, ttl_ms=ttl_ms, fields=fields))
            assert (made["expires"] > 0) == (ttl_ms > 0)
            found = await store.transition(Authenticate(token=token))
            assert ("left_ms" in found) == (ttl_ms > 0)
            found.pop("left_ms", None)
            assert found == {"role": "researcher", "subject": "ann", "name": "ann"}
        assert await store.redis.pttl(key("token", "always")) == -1
        # By the record, not only by Redis's own memory of it.
        await store.redis.hset(key("token", "a while"), "expires", 1)
        assert await store.transition(Authenticate(token="a while")) == {}
        await store.redis.pexpire(key("token", "a while"), 0)
        [left] = (await store.transition(ListTokens(kind="token")))["tokens"]
        assert (left["token"], left["subject"]) == ("always", "ann")
        assert await store.redis.zrange(key("tokens"), 0, -1) == ["always"]
        assert await store.transition(ListTokens(kind="enroll")) == {"tokens": {}}

    play(scenario)


def test_an_unreachable_redis_is_a_store_error_without_its_url(tmp_path: Path) -> None:
    async def ask() -> None:
        await Store(f"unix://:secret@{tmp_path}/none.sock").transition(Retire(jobs=[]))

    with pytest.raises(StoreError) as caught:
        asyncio.run(ask())
    assert caught.value.code == "store_unavailable"
    assert "secret" not in str(caught.value)


def test_an_scf_that_is_run_again_is_dropped_for_good_and_its_next_lease_says_where_to_start(
    play: Callable[[Scenario], None],
) -> None:
    async def scenario(store: Store) -> None:
        await submit(store, "j", scf_keys=["a", "b", "c"])
        await lease(store, "l1")
        assert (await report(store, "j", "l1", [0, 1, 2]))["complete"]
        judged = await store.redis.hget(key("job", "j"), "generation") or "0"
        assert await rerun(store, "j", {1: "equilibrium"}) == {"rerun": 1}
        # Another process that has judged the same SCFs comes too late.
        assert await rerun(store, "j", {1: "equilibrium"}, judged) == {"rerun": 0}
        assert await store.redis.exists(key("scf", "ann", "b")) == 0  # no later job meets it
        late = await report(store, "j", "l1", [1])
        assert late["idempotent"] == [1]  # sent once more, since its reply was lost

        again = await lease(store, "l2")
        assert (again["tasks"], again["starts"]) == (["1"], {"1": "equilibrium"})
        last = await report(store, "j", "l2", [1], run="again")
        assert (last["accepted"], last["complete"]) == ([1], True)
        assert await rerun(store, "j", {1: "scratch"}, judged) == {"rerun": 0}
        assert await rerun(store, "j", {1: "scratch"}) == {"rerun": 1}
        assert (await lease(store, "l3"))["starts"] == {"1": "scratch"}

    play(scenario)
