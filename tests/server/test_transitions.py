"""The atomic transitions, on a real Redis."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.processes import RedisServer
from zpe_sdk.errors import StoreError
from zpe_server.store import Store, key

RETRY = {"max": 3, "base_ms": 60_000, "max_ms": 300_000, "jitter": 0.0}
Scenario = Callable[[Store], Awaitable[None]]


@pytest.fixture
def play(redis_server: RedisServer) -> Callable[[Scenario], None]:
    def run(scenario: Scenario) -> None:
        async def whole() -> None:
            store = Store(redis_server.url)
            await store.redis.flushdb()
            try:
                await scenario(store)
            finally:
                await store.close()

        asyncio.run(whole())

    return run


async def submit(store: Store, job: str, tasks: int = 3, **more: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "job": job,
        "owner": "ann",
        "priority": 0,
        "total": tasks,
        "full": tasks,
        "idempotency_key": "",
        "digest": "",
        "idempotency_ms": 1000,
        "fields": {},
    }
    return await store.transition("submit", "{}", "{}", "[]", **(arguments | more))


async def lease(store: Store, lease_id: str, worker: str = "w1", **more: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "worker": worker,
        "instance": "",
        "lease": lease_id,
        "ttl_ms": 60_000,
        "max_tasks": 10,
        "offset": 0,
        "scan": 100,
        "engine": "mock",
        "environ": False,
        "pseudopotentials": None,
        "digest": "d",
    }
    return await store.transition("lease", "{}", **(arguments | more))


async def report(
    store: Store, job: str, lease_id: str, tasks: list[int], worker: str = "w1", physics: str = "p"
) -> dict[str, Any]:
    return await store.transition(
        "report",
        *[text for task in tasks for text in (json.dumps({"task": task, "by": worker}), "{}")],
        job=job,
        worker=worker,
        instance="",
        lease=lease_id,
        ttl_ms=60_000,
        tasks=tasks,
        fingerprints=[json.dumps({"engine": "mock", "physics": physics})] * len(tasks),
        seconds=[0.5] * len(tasks),
    )


async def fail(
    store: Store, job: str, lease_id: str, tasks: list[int], retry: dict[str, Any], kind: str = "compute"
) -> dict[str, Any]:
    return await store.transition(
        "fail",
        job=job,
        worker="w1",
        instance="",
        lease=lease_id,
        ttl_ms=60_000,
        tasks=tasks,
        error={"side": "compute", "code": "scf_not_converged", "message": "no luck"},
        retry=retry,
        **{"class": kind},
    )


async def release(store: Store, job: str, lease_id: str, worker: str = "w1", **more: Any) -> dict[str, Any]:
    arguments = {"instance": "", "ttl_ms": 60_000, "reason": "stopping"} | more
    return await store.transition("release", lease=lease_id, worker=worker, job=job, **arguments)


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
        refused = await report(store, "j", "l2", [1], worker="w2", physics="other")
        assert (refused["refused"], refused["reason"]) == ([1], "wrong_physics")
        assert await lease(store, "l3", "w2") == {"blocked": True}
        assert (await lease(store, "l4", "w3"))["tasks"] == ["1", "2"]

    play(scenario)


def test_expiry_returns_only_unfinished_tasks_and_a_late_result_is_kept(
    play: Callable[[Scenario], None],
) -> None:
    async def scenario(store: Store) -> None:
        await submit(store, "j")
        await lease(store, "l1")
        await report(store, "j", "l1", [0])
        await store.redis.zadd(key("leases"), {"l1": 0})
        swept = await store.transition("sweep", limit=100, retry=RETRY, assemble_after_ms=0)
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
        at_once = RETRY | {"base_ms": 0}
        outcomes = []
        for attempt in range(4):
            await lease(store, f"l{attempt}")
            if attempt == 0:
                await report(store, "j", "l0", [0])
            outcomes.append((await fail(store, "j", f"l{attempt}", [1], at_once))["requeued"])
            await release(store, "j", f"l{attempt}")
        assert outcomes == [True, True, True, False]
        assert await store.redis.zrange(key("dlq"), 0, -1) == ["j"]
        assert await store.redis.hget(key("job", "j"), "status") == "failed"

        back = await store.transition("requeue", job="j", by="admin")
        assert (back["status"], back["progress"]["done"]) == ("queued", 1)
        assert (await lease(store, "again"))["tasks"] == ["1", "2"]

    play(scenario)


def test_a_retry_waits_for_its_delay(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        await submit(store, "j", tasks=1)
        await lease(store, "l1")
        assert (await fail(store, "j", "l1", [0], RETRY))["requeued"]
        assert await lease(store, "l2") == {}
        seconds, micros = await store.redis.time()
        due = await store.redis.zscore(key("delayed"), "j")
        assert due == pytest.approx(seconds * 1000 + micros / 1000 + 60_000, abs=10_000)

    play(scenario)


def test_an_input_error_is_not_retried(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        await submit(store, "j")
        await lease(store, "l1")
        assert (await fail(store, "j", "l1", [0], RETRY, kind="input"))["requeued"] is False
        assert await store.redis.zrange(key("dlq"), 0, -1) == ["j"]
        beat = await store.transition("heartbeat", worker="w1", instance="", leases=["l1"], ttl_ms=1000)
        assert beat == {"leases": {"l1": "cancelled"}, "draining": False}

    play(scenario)


def test_same_idempotency_key_gives_the_same_job_and_other_content_a_conflict(
    play: Callable[[Scenario], None],
) -> None:
    async def scenario(store: Store) -> None:
        keyed = {"idempotency_key": "k", "digest": "one"}
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
        arguments = {"enroll": "hash", "name": "", "token": "t", "token_ttl_ms": 1000}
        assert "registered" in await store.transition("register", "{}", worker="w1", **arguments)
        again = await store.transition("register", "{}", worker="w2", **arguments)
        assert again == {"error": "invalid"}
        assert await store.redis.exists(key("worker", "w2")) == 0

    play(scenario)


def test_cancelling_leaves_no_lease_and_no_place_in_line(play: Callable[[Scenario], None]) -> None:
    async def scenario(store: Store) -> None:
        await submit(store, "j")
        await lease(store, "l1", max_tasks=1)
        await store.transition("cancel", job="j", retire_ms=0, by="ann")
        assert await store.redis.zcard(key("leases")) == 0
        assert await store.redis.zcard(key("ready")) == 0
        due = await store.transition("due", limit=10)
        await store.transition("retire", jobs=due["jobs"])
        left = [name async for name in store.redis.scan_iter(key("*"))]
        # The ended lease is remembered for a while, so that late reports are answered well.
        assert sorted(left) == sorted([key("lease", "l1"), key("worker", "w1"), key("workers")])

    play(scenario)


def test_an_unreachable_redis_is_a_store_error_without_its_url(tmp_path: Path) -> None:
    async def ask() -> None:
        await Store(f"unix://:secret@{tmp_path}/none.sock").transition("retire", limit=1)

    with pytest.raises(StoreError) as caught:
        asyncio.run(ask())
    assert caught.value.code == "store_unavailable"
    assert "secret" not in str(caught.value)
