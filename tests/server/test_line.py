"""Who gets work next: priorities, turns, shares, and what slow workers give back."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.server.calls import MONTH, cancel, fail, heartbeat, lease, release, report, submit, sweep
from zpe_sdk.wire import LeaseRequest, Limits
from zpe_sdk.wire.versions import fits
from zpe_server.events import Events
from zpe_server.leases import Leases
from zpe_server.settings import Settings
from zpe_server.store import Store, key
from zpe_server.tokens import Principal
from zpe_server.transitions.base import items
from zpe_server.transitions.jobs import Retire
from zpe_server.transitions.researchers import Limit, ReadOwners
from zpe_server.transitions.workers import Drain, Introduce

pytestmark = pytest.mark.anyio
USUAL = Limits(priority=0)  # of a researcher


async def served(store: Store, count: int, **more: Any) -> list[str]:
    """Lease one task at a time; return the jobs they are of."""
    return [(await lease(store, f"{len(more)}-{n}", max_tasks=1, **more))["job"] for n in range(count)]


async def test_one_owners_many_jobs_do_not_keep_back_anothers_one(store: Store) -> None:
    for n in range(50):
        await submit(store, f"ann{n:02}", tasks=1)
    assert await served(store, 3) == ["ann00", "ann01", "ann02"]
    await submit(store, "bob", tasks=1, owner="bob")
    # Beside the job that was served last, not behind the fifty.
    assert "bob" in await served(store, 2, worker="w2")


async def test_owners_take_turns_counted_in_tasks(store: Store) -> None:
    await submit(store, "large", tasks=40)
    await submit(store, "small1", tasks=2, owner="bob")
    await submit(store, "small2", tasks=2, owner="bob")
    order = await served(store, 12)
    assert order.count("large") in (7, 8, 9)
    assert order.index("small2") < 9


async def test_priority_goes_before_turns(store: Store) -> None:
    await submit(store, "usual", tasks=2, owner="bob")
    for n in range(3):
        await submit(store, f"urgent{n}", tasks=2, priority=5)
    assert await served(store, 7) == ["urgent0"] * 2 + ["urgent1"] * 2 + ["urgent2"] * 2 + ["usual"]


async def test_what_is_cancelled_is_not_counted_against_its_owner(store: Store) -> None:
    for n in range(20):
        await submit(store, f"mistake{n}", tasks=10)
    for n in range(20):
        await cancel(store, f"mistake{n}")
    for n in range(3):
        await submit(store, f"bob{n}", tasks=1, owner="bob")
    await submit(store, "ann", tasks=1)
    assert "ann" in await served(store, 2)


async def test_a_worker_keeps_to_the_job_it_has_densities_of_for_a_while(store: Store) -> None:
    await submit(store, "warm", tasks=40)
    await lease(store, "first", max_tasks=4)
    await submit(store, "other", tasks=40, owner="bob")
    await lease(store, "elsewhere", worker="w2", max_tasks=1)
    order = await served(store, 12, warm=["warm"])
    assert order[:4] == ["warm"] * 4
    assert "other" in order  # but not for ever


async def test_a_job_is_shared_out_among_the_workers_that_there_are(store: Store) -> None:
    await submit(store, "job", tasks=16)
    workers = ("w1", "w2", "w3", "w4")
    for worker in workers:
        await heartbeat(store, [], worker)
    shares = [
        len((await lease(store, f"l{n}", worker, max_tasks=100, alive_ms=60_000))["tasks"])
        for n, worker in enumerate(workers * 2)
    ]
    assert shares == [4, 3, 3, 2, 1, 1, 1, 1]


async def test_a_worker_hears_whether_there_is_more_to_do(store: Store) -> None:
    await submit(store, "job", tasks=3)
    assert (await lease(store, "le1", max_tasks=2))["more"]
    assert "more" not in await lease(store, "le2", max_tasks=2)
    # What is released is there for others, and the rest stays.
    await release(store, "job", "le1", tasks=[1])
    assert items((await lease(store, "le3", worker="w2"))["tasks"]) == ["1"]
    await submit(store, "other", tasks=1)
    assert (await lease(store, "le4", max_tasks=1)).get("more") is None


async def test_with_jobs_enough_for_all_each_worker_gets_a_whole_one(store: Store) -> None:
    for n in range(6):
        await submit(store, f"job{n}", tasks=16)
    for worker in ("w1", "w2", "w3"):
        await heartbeat(store, [], worker)
        reply = await lease(store, f"of {worker}", worker, max_tasks=100, alive_ms=60_000)
        assert len(reply["tasks"]) == 16


async def test_tasks_that_a_slow_worker_has_not_begun_go_to_others(store: Store) -> None:
    await submit(store, "job", tasks=6)
    await lease(store, "slow", max_tasks=6, slots=2)
    assert (await sweep(store))["recalled"] == 0  # it has just begun
    assert (await lease(store, "nothing", "w2")).get("job") is None

    assert (await sweep(store, patience_ms=-1))["recalled"] == 4
    reply = await heartbeat(store, ["slow"])
    assert sorted(reply["left"]["slow"]) == [0, 1]  # those that it runs
    assert len((await lease(store, "quick", "w2"))["tasks"]) == 4

    told = await report(store, "job", "slow", [0])
    assert (told["accepted"], items(told["left"])) == ([0], [1])
    # What it began all the same before it heard: too late, somebody else has it.
    assert (await report(store, "job", "slow", [2]))["refused"] == [2]


async def test_the_tasks_of_a_dead_process_take_no_slots_of_its_successor(store: Store) -> None:
    await submit(store, "old", tasks=2)
    await lease(store, "dead", max_tasks=2, slots=2, instance="before")
    await submit(store, "job", tasks=4)
    await lease(store, "live", max_tasks=4, slots=2, instance="now")
    assert (await sweep(store, patience_ms=-1))["recalled"] == 2
    assert (await lease(store, "other", "w2"))["tasks"] == ["2", "3"]


async def test_nothing_is_taken_from_a_worker_that_makes_progress_or_while_there_is_other_work(
    store: Store,
) -> None:
    await submit(store, "job", tasks=6)
    await lease(store, "busy", max_tasks=6, slots=1)
    await store.redis.zadd(key("spare"), {"busy": 0})
    await report(store, "job", "busy", [0])
    assert (await sweep(store, patience_ms=5000))["recalled"] == 0
    await submit(store, "other")
    assert (await sweep(store, patience_ms=-1))["recalled"] == 0


async def test_of_several_leases_the_oldest_has_the_slots(store: Store) -> None:
    await submit(store, "one", tasks=3)
    await submit(store, "two", tasks=3)
    await lease(store, "first", max_tasks=3, slots=2)
    await store.redis.hset(key("lease", "first"), "issued", "1000000000000")
    await lease(store, "second", max_tasks=3, slots=2)
    assert (await sweep(store, patience_ms=-1))["recalled"] == 1 + 3
    reply = await heartbeat(store, ["first", "second"])
    assert reply["leases"] == {"first": "held", "second": "lost"}


@pytest.mark.parametrize(
    ("needs", "able"),
    [
        ({"tags": ["bigmem"]}, {"tags": {"bigmem": True}}),
        ({"cores": 16}, {"cores": 16}),
        ({"memory_gb": 64.0}, {"memory_gb": 125.6}),
    ],
)
async def test_a_job_goes_to_a_machine_that_has_what_it_requires(
    store: Store, needs: dict[str, Any], able: dict[str, Any]
) -> None:
    await submit(store, "job", fields={"nat": 1, "needs": json.dumps({"pseudopotentials": [], **needs})})
    assert await lease(store, "small") == {"blocked": True}
    assert (await lease(store, "large", "w2", **able))["job"] == "job"


@pytest.mark.parametrize(
    ("condition", "refused", "taken"),
    [
        (">=7.1", ["6.7MaX", "7.0", "7"], ["7.1", "7.1.0", "7.3.1", "10.0", "unknown", ""]),
        ("<7.1", ["7.1", "7.10"], ["6.7MaX", "7.0.9"]),
        (">=6.7,<7.3", ["6.6", "6.4.1", "7.3", "7.3.1"], ["6.7MaX", "7.2"]),
        ("==7.3", ["7.3.1", "7.2"], ["7.3", "7.3.0"]),
        (">7.2", ["7.2", "7.2.0"], ["7.2.1"]),
        ("<= 7.2", ["7.2.1"], ["7.2", "6.8"]),
    ],
)
async def test_a_job_goes_to_a_version_of_pw_that_it_can_run_with(
    store: Store, condition: str, refused: list[str], taken: list[str]
) -> None:
    needs = {"pseudopotentials": [], "versions": [{"condition": condition}]}
    await submit(store, "job", tasks=len(taken) + 1, fields={"nat": 1, "needs": json.dumps(needs)})
    for version in refused:
        assert await lease(store, f"no {version}", engine_version=version) == {"blocked": True}
        assert not fits(version, condition)
    for version in taken:
        assert (await lease(store, f"yes {version}", engine_version=version, max_tasks=1))["job"] == "job"
        assert fits(version, condition)


@pytest.mark.parametrize("first", ["disconnected", "drained"])
async def test_news_that_one_can_do_nothing_with_wakes_the_next(store: Store, first: str) -> None:
    events = Events(store)
    leases = Leases(store, events, Settings())
    listening = asyncio.create_task(events.listen())
    await submit(store, "job", tasks=1)
    await lease(store, "held", "busy")

    async def waits(worker: str) -> None:
        async def disconnected() -> bool:
            return (worker, first) == ("one", "disconnected")

        request = LeaseRequest(max_tasks=1, wait_seconds=30)
        who = Principal("worker", worker, worker)
        await leases.lease(who, request, instance="", disconnected=disconnected)

    both: list[asyncio.Task[None]] = []
    try:
        while not events.listening:
            await asyncio.sleep(0.01)
        both += [asyncio.create_task(waits(worker)) for worker in ("one", "two")]
        for worker in ("one", "two"):
            while await store.redis.zscore(key("workers"), worker) is None:
                await asyncio.sleep(0.01)
        if first == "drained":
            await store.transition(Introduce(worker="one", name="one"))
            await store.transition(Drain(worker="one", drain=True))
        await release(store, "job", "held", "busy")
        async with asyncio.timeout(25):
            while not (held := await store.redis.hget(key("job", "job", "held"), "0")):
                await asyncio.sleep(0.01)
        assert await store.redis.hget(key("lease", held), "worker") == "two"
    finally:
        for task in (listening, *both):
            task.cancel()
        await asyncio.gather(listening, *both, return_exceptions=True)


async def test_a_priority_above_the_limit_counts_among_ones_own_jobs_alone(store: Store) -> None:
    usual = Limits(priority=0)
    for n in range(4):
        await submit(store, f"ann{n}", tasks=2, limits=usual)
    for n in range(2):
        await submit(store, f"bob{n}", tasks=2, owner="bob", limits=usual)
    reply = await submit(store, "ann-urgent", tasks=2, priority=100, limits=usual)
    assert reply["priority"] == 0
    order = await served(store, 8)
    # Ann's turns come as before; she spends the first ones on what is urgent to her.
    assert order[:4] in (["ann-urgent", "bob0"] * 2, ["ann-urgent", "bob0", "bob0", "ann-urgent"])
    assert [job[:3] for job in order].count("ann") == 4


async def test_many_urgent_jobs_gain_nothing_against_others(store: Store) -> None:
    for n in range(30):
        await submit(store, f"ann{n:02}", tasks=1, priority=n, limits=Limits(priority=0))
    for n in range(10):
        await submit(store, f"bob{n}", tasks=1, owner="bob", limits=Limits(priority=0))
    order = await served(store, 20)
    assert sum(job.startswith("bob") for job in order) in (9, 10)
    assert [job for job in order if job.startswith("ann")][:3] == ["ann29", "ann28", "ann27"]


async def test_below_zero_one_gives_way_to_all_and_an_administrators_word_goes_before(store: Store) -> None:
    usual = Limits(priority=0)
    await store.transition(Limit(owner="carol", limits=Limits(priority=3)))
    for owner, priority in (("ann", -5), ("bob", 50), ("carol", 50)):
        await submit(store, owner, tasks=1, owner=owner, priority=priority, limits=usual)
    assert await served(store, 3) == ["carol", "bob", "ann"]


async def test_an_owner_has_as_many_jobs_and_bytes_as_allowed(store: Store) -> None:
    usual = Limits(priority=0, jobs=2, bytes=100)
    for n in range(2):
        assert (await submit(store, f"ann{n}", limits=usual))["created"]
    over = {"over": "jobs", "may": 2}
    assert await submit(store, "ann2", limits=usual) == over
    assert (await submit(store, "bob", owner="bob", limits=usual))["created"]
    assert (await submit(store, "admins", limits=None))["created"]  # of an administrator
    await cancel(store, "ann0")
    await cancel(store, "admins")
    assert (await submit(store, "ann2", limits=usual))["created"]
    await store.transition(Limit(owner="ann", limits=Limits(jobs=3)))
    assert (await submit(store, "ann3", payload="x" * 200, limits=usual))["created"]
    assert await submit(store, "ann4", limits=usual) == over | {"may": 3}
    await cancel(store, "ann2")
    assert await submit(store, "ann4", limits=usual) == {"over": "bytes", "may": 100}
    # What is forgotten is kept no more.
    await cancel(store, "ann3")
    await store.transition(Retire(jobs=["ann3"]))
    assert (await submit(store, "ann4", limits=usual))["created"]


async def test_the_same_request_again_is_no_more_than_one_job(store: Store) -> None:
    one = {"idempotency_key": "k", "digest": "d", "limits": Limits(priority=0, jobs=1)}
    assert (await submit(store, "ann0", **one))["created"]
    assert await submit(store, "ann1", **one) == {"job": "ann0", "created": False}


async def test_an_owner_runs_as_many_scfs_on_workers_of_others_as_allowed(store: Store) -> None:
    await store.redis.hset(key("worker", "anns"), mapping={"name": "anns", "owner": "ann", "accepts": "own"})
    await store.redis.sadd(key("owned"), "anns")
    await submit(store, "job", tasks=12, limits=USUAL)
    await submit(store, "other", tasks=1, owner="bob", limits=USUAL)
    assert len((await lease(store, "l1", max_tasks=10, max_scfs=4))["tasks"]) == 4
    assert (await lease(store, "l2", "w2", max_tasks=10, max_scfs=4))["job"] == "other"
    assert await lease(store, "l3", "w2", max_tasks=10, max_scfs=4) == {"blocked": True}
    # One's own machine is not counted.
    assert len((await lease(store, "l4", "anns", max_tasks=3, max_scfs=4))["tasks"]) == 3
    reply = await store.transition(ReadOwners(owner="ann", usual=Limits(priority=0, scfs=4), month=MONTH))
    [ann] = items(reply["owners"])
    assert (ann["has"]["scfs"], ann["may"]["scfs"]) == (4, 4)

    async with store.redis.pubsub() as news:
        await news.subscribe(key("events"))
        await news.get_message(timeout=10)
        await report(store, "job", "l1", [0])
        told = [(await news.get_message(timeout=10))["data"] for _ in range(2)]
    assert "work 1000000" in told  # who was passed over looks again
    assert len((await lease(store, "l5", "w2", max_tasks=10, max_scfs=4))["tasks"]) == 1


@pytest.mark.parametrize("how", ["fails", "is lost"])
async def test_what_is_tried_again_later_makes_room_for_the_owners_other_jobs(store: Store, how: str) -> None:
    await submit(store, "first", tasks=1, limits=USUAL)
    await submit(store, "second", tasks=1, limits=USUAL)
    await lease(store, "l1", max_scfs=1)
    assert await lease(store, "l2", "w2", max_scfs=1) == {"blocked": True}
    async with store.redis.pubsub() as news:
        await news.subscribe(key("events"))
        await news.get_message(timeout=10)
        if how == "fails":
            await fail(store, "first", "l1", [0])
        else:
            await store.redis.zadd(key("leases"), {"l1": 0})
            await sweep(store)
        told = []
        while "work 1000000" not in told:
            message = await news.get_message(timeout=10)
            assert message is not None, told
            told.append(message["data"])
    assert (await lease(store, "l3", "w2", max_scfs=1))["job"] == "second"


async def test_an_administrators_job_runs_as_many_scfs_as_there_are_workers_for(store: Store) -> None:
    await submit(store, "anns", tasks=6, limits=USUAL)
    await submit(store, "admins", tasks=6, owner="admin", limits=None)
    given = [await lease(store, name, name, max_tasks=6, max_scfs=2) for name in ("w1", "w2")]
    assert {reply["job"]: len(reply["tasks"]) for reply in given} == {"anns": 2, "admins": 6}


async def test_a_job_that_waits_for_its_owners_other_scfs_says_so(store: Store) -> None:
    await submit(store, "first", tasks=2, limits=USUAL)
    await submit(store, "second", tasks=2, limits=USUAL)
    await lease(store, "l1", max_tasks=2, max_scfs=2)
    await lease(store, "l2", "w2", max_scfs=2)
    detail = await store.redis.hget(key("job", "second"), "detail")
    assert detail.endswith("you run as many SCFs on workers of others as you may")
