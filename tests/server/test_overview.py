"""What administrators see of many jobs at once: the overview, reasons of failures, a search through all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.processes import RedisServer
from tests.server.calls import fail, finish, lease, report, submit
from zpe_sdk.wire import ErrorInfo, JobOrder
from zpe_server.plane import Plane
from zpe_server.search import STEP, Wanted
from zpe_server.settings import Settings
from zpe_server.store import key
from zpe_server.tokens import ADMIN
from zpe_server.transitions.jobs import ReadReasons
from zpe_server.transitions.service import ReadOverview

Play = Callable[[Callable[[Plane], Awaitable[None]]], None]
NEEDS = '{"environ": false, "pseudopotentials": []}'


@pytest.fixture
def play(redis_server: RedisServer) -> Play:
    def run(scenario: Callable[[Plane], Awaitable[None]]) -> None:
        async def whole() -> None:
            plane = Plane.build(Settings(), redis_server.url)
            await plane.store.redis.flushdb()
            try:
                await scenario(plane)
            finally:
                await plane.store.close()

        asyncio.run(whole())

    return run


def test_the_overview_counts_what_finished_within_each_hour_of_the_last_day(play: Play) -> None:
    async def scenario(plane: Plane) -> None:
        store = plane.store
        seconds, _ = await store.redis.time()
        minute = seconds // 60
        earlier = {minute - 61: 2, minute - 23 * 60: 3, minute - 24 * 60: 5, minute - 100_000: 7}
        await store.redis.hset(key("finished"), mapping={str(m): n for m, n in earlier.items()})
        assert sum((await store.transition(ReadOverview()))["finished"]) == 5

        for job in ("j1", "j2"):
            await submit(store, job)
        await lease(store, "l1")
        assert (await store.transition(ReadOverview()))["running"] == 1  # in its one slot
        await report(store, "j1", "l1", [0, 1, 2])
        await finish(store, "j1")
        # Told twice, it counts once.
        await finish(store, "j1")
        found = await store.transition(ReadOverview())
        assert (found["finished"][0], sum(found["finished"])) == (1, 6)
        assert (found["jobs"]["finished"], found["jobs"]["queued"]) == (1, 1)
        assert (found["running"], found["oldest"]) == (0, "j2")
        # The days before are forgotten.
        assert set(await store.redis.hkeys(key("finished"))) <= {str(minute + n) for n in (-1380, -61, 0, 1)}

    play(scenario)


def test_reasons_are_those_of_all_dead_jobs_whatever_the_page(play: Play) -> None:
    async def scenario(plane: Plane) -> None:
        store = plane.store
        for n, code in enumerate(["often", "often", "often", "once"]):
            error = ErrorInfo(side="input", code=code, message="no")
            await submit(store, f"j{n}")
            await lease(store, f"l{n}")
            await fail(store, f"j{n}", f"l{n}", [0], error=error, failure="input")
        await submit(store, "alive")
        for wanted, total in ((None, 4), ("once", 1), ("never", 0)):
            found = await plane.dead.find(code=wanted, limit=1, offset=0)
            assert (len(found.jobs), found.total) == (min(total, 1), total)
            assert [(r.side, r.code, r.count) for r in found.reasons] == [
                ("input", "often", 3),
                ("input", "once", 1),
            ]
        reply = await store.transition(ReadReasons(jobs=["j3", "alive", "forgotten"]))
        assert reply["reasons"] == [["input", "once"], False, False]

    play(scenario)


def test_a_search_goes_through_all_jobs_and_keeps_their_order(play: Play) -> None:
    async def scenario(plane: Plane) -> None:
        total = 2 * STEP + 1
        for n in range(total):
            needle = n in (0, STEP, total - 1)
            fields = {"name": f"ÄTHANOL {n}" if needle else f"water {n}", "formula": "H2O", "needs": NEEDS}
            await submit(plane.store, f"j{n:04}", owner="ann" if n else "bob", fields=fields)
            # The order is that of the milliseconds in which they came.
            await plane.store.redis.hset(key("job", f"j{n:04}"), "created", n)
            for index in ("ann" if n else "bob", "*"):
                await plane.store.redis.zadd(key("index", index, "*"), {f"j{n:04}": n})

        async def found(search: str, order: JobOrder, owner: str | None = None) -> list[str]:
            jobs, count = await plane.jobs.find(
                ADMIN, Wanted(text=search), owner=owner, order=order, limit=10, offset=0
            )
            assert count == len(jobs)
            return [job.job_id for job in jobs]

        three = ["j0000", f"j{STEP:04}", f"j{total - 1:04}"]
        assert await found("äthanol", "oldest") == three
        assert await found("äthanol", "newest") == three[::-1]
        assert await found("äthanol", "oldest", owner="ann") == three[1:]
        assert await found("bob", "newest") == three[:1]
        assert await found("propanol", "newest") == []

    play(scenario)


def test_jobs_are_ordered_by_values_and_those_without_come_last(play: Play) -> None:
    async def scenario(plane: Plane) -> None:
        # name, formula, owner, status, seconds, ZPE
        jobs: list[tuple[str, str, str, str, int | None, str]] = [
            ("run 10", "H2O", "ann", "finished", 7, "0.56"),
            ("Run 2", "CO", "bob", "failed", 100, ""),
            ("", "N2", "bob", "queued", None, ""),
            ("run 1", "H2", "ann", "finished", 20, "0.273"),
            ("run 3", "", "cy", "finished", 3, "1e-05"),
        ]
        for n, (name, formula, owner, status, seconds, zpe_ev) in enumerate(jobs):
            fields = {"name": name, "formula": formula, "needs": NEEDS}
            await submit(plane.store, f"j{n}", owner=owner, fields=fields)
            record: dict[str, str | int] = {"status": status, "zpe_ev": zpe_ev, "started": 1000}
            if seconds is not None:
                record["finished"] = 1000 + 1000 * seconds
            await plane.store.redis.hset(key("job", f"j{n}"), mapping=record)
            await plane.store.redis.zadd(key("index", "*", "*"), {f"j{n}": n})

        async def order(by: JobOrder, limit: int = 9, offset: int = 0) -> str:
            found, total = await plane.jobs.find(
                ADMIN, Wanted(), owner=None, order=by, limit=limit, offset=offset
            )
            assert total == len(jobs)
            return "".join(job.job_id[1:] for job in found)

        assert (await order("name"), await order("-name")) == ("31402", "04132")
        assert (await order("formula"), await order("-formula")) == ("13024", "20314")
        # Among equals, the newest first.
        assert (await order("owner"), await order("-owner")) == ("30214", "42130")
        assert (await order("status"), await order("-status")) == ("24301", "14302")
        assert (await order("duration"), await order("-duration")) == ("40312", "13042")
        assert (await order("zpe"), await order("-zpe")) == ("43021", "03421")
        assert await order("zpe", limit=2, offset=1) == "30"

    play(scenario)
