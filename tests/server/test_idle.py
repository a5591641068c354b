"""What is not asked of Redis again and again, and what has to be known at once all the same."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx
import pytest
import redis

from tests.processes import PATIENCE, ControlPlane, RedisServer, h2, wait_until

Start = Callable[..., ControlPlane]
LEASE = "/calc/zpe/compute/jobs/lease"


def poll(api: httpx.Client, wait_seconds: float = 0, **more: Any) -> httpx.Response:
    return api.post(
        LEASE, json={"max_tasks": 1, "wait_seconds": wait_seconds, "lease_key": uuid.uuid4().hex, **more}
    )


def beat(api: httpx.Client) -> dict[str, Any]:
    return dict(api.post("/calc/zpe/compute/heartbeat", json={}).raise_for_status().json())


def hears_of_drain(api: httpx.Client, wanted: bool) -> bool:
    return beat(api)["draining"] is wanted


@pytest.fixture
def empty_redis(redis_server: RedisServer) -> RedisServer:
    """The Redis that tests share, without what others have left in it."""
    redis.Redis.from_url(redis_server.url).flushdb()
    return redis_server


@pytest.fixture
def two_planes(own_control_plane: Start, empty_redis: RedisServer) -> tuple[ControlPlane, ControlPlane]:
    """Two control planes on one Redis, with one administrator."""
    one, two = (own_control_plane(ZPE_REDIS_URL=empty_redis.url, ZPE_ADMIN_TOKEN="a" * 32) for _ in "12")
    one.admin_token = two.admin_token = "a" * 32
    return one, two


@pytest.fixture
def commands(empty_redis: RedisServer) -> Callable[[], int]:
    """Return how often the lease and the token scripts have been run."""
    connection = redis.Redis.from_url(empty_redis.url)
    return lambda: int(connection.info("commandstats")["cmdstat_evalsha"]["calls"])


def test_workers_that_wait_cost_redis_next_to_nothing(
    own_control_plane: Start, empty_redis: RedisServer, commands: Callable[[], int]
) -> None:
    plane = own_control_plane(ZPE_REDIS_URL=empty_redis.url)
    with plane.api(plane.register()["worker_token"]) as worker:
        assert poll(worker).status_code == 204
        beat(worker)
        before, began = commands(), time.monotonic()
        for _ in range(100):
            assert poll(worker).status_code == 204
            beat(worker)
        sweeps = 2 + (time.monotonic() - began)  # these go on meanwhile
        assert commands() - before <= sweeps


def test_work_that_comes_is_found_by_those_who_had_found_none(own_control_plane: Start) -> None:
    plane = own_control_plane()
    with (
        plane.api() as api,
        plane.api(plane.register()["worker_token"]) as worker,
        ThreadPoolExecutor(1) as pool,
    ):
        assert [poll(worker).status_code for _ in range(3)] == [204] * 3
        waiting = pool.submit(poll, worker, 20)
        job = api.post("/calc/zpe/jobs", json={"content": h2()}).json()["job_id"]
        assert waiting.result().json()["job_id"] == job
        while poll(worker).status_code == 200:
            pass
        # What it learns to run it is offered, though nothing has happened in the line.
        able = {"engine": "espresso", "pseudopotentials": []}
        wanted = {"content": h2(), "engine": "espresso"}
        other = api.post("/calc/zpe/jobs", json=wanted).json()["job_id"]
        assert poll(worker, capabilities=able).status_code == 204
        able["pseudopotentials"] = ["H.pbe-kjpaw.UPF"]
        assert poll(worker, capabilities=able).json()["job_id"] == other


def test_a_revoked_token_is_refused_at_the_next_call_by_every_server(
    two_planes: tuple[ControlPlane, ControlPlane],
) -> None:
    one, two = two_planes
    worker = one.register()
    ann = one.researcher_token("ann")
    with one.api() as admin:
        for plane in (one, two):
            with plane.api(worker["worker_token"]) as api:
                assert [poll(api).status_code for _ in range(2)] == [204] * 2
            with plane.api(ann) as api:
                assert api.get("/calc/zpe/jobs").status_code == 200
        admin.delete(f"/calc/zpe/compute/servers/{worker['server_id']}").raise_for_status()
        [token] = admin.get("/calc/zpe/admin/tokens").json()["tokens"]
        admin.delete(f"/calc/zpe/admin/tokens/{token['token_id']}").raise_for_status()
    for plane in (one, two):
        with plane.api(worker["worker_token"]) as api:
            assert poll(api).status_code == 403
        with plane.api(ann) as api:
            assert api.get("/calc/zpe/jobs").status_code == 401


def test_a_drain_is_heard_with_the_next_heartbeat_on_every_server(
    two_planes: tuple[ControlPlane, ControlPlane],
) -> None:
    one, two = two_planes
    worker = one.register()
    drain = f"/calc/zpe/compute/servers/{worker['server_id']}/drain"
    with (
        one.api() as admin,
        one.api(worker["worker_token"]) as here,
        two.api(worker["worker_token"]) as there,
    ):
        for wanted in (False, True, False):
            admin.post(drain, json={"drain": wanted}).raise_for_status()
            assert hears_of_drain(here, wanted)
            wait_until(partial(hears_of_drain, there, wanted))


def test_a_worker_whose_record_redis_has_lost_breaks_no_list(
    own_control_plane: Start, empty_redis: RedisServer
) -> None:
    plane = own_control_plane(ZPE_REDIS_URL=empty_redis.url)
    with plane.api() as api, plane.api(plane.register()["worker_token"]) as worker:
        assert poll(worker).status_code == 204
        redis.Redis.from_url(empty_redis.url).flushdb()
        assert poll(worker).status_code == 204  # its token is remembered here
        job = api.post("/calc/zpe/jobs", json={"content": h2()}).json()["job_id"]
        assert api.get(f"/calc/zpe/jobs/{job}").json()["status"] == "queued"
        assert api.get("/calc/zpe/compute/servers").json()["workers"] == []


def test_a_burst_of_requests_waits_for_its_turn(own_control_plane: Start) -> None:
    plane = own_control_plane()
    token = plane.register()["worker_token"]

    async def burst() -> list[int]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(
            base_url=plane.url, headers={"Authorization": f"Bearer {token}"}, limits=limits, timeout=PATIENCE
        ) as api:
            calls = (api.post(LEASE, json={"wait_seconds": 0}) for _ in range(300))
            return [reply.status_code for reply in await asyncio.gather(*calls)]

    assert set(asyncio.run(burst())) == {204}


def test_a_worker_that_need_not_look_is_still_heard_of(own_control_plane: Start) -> None:
    plane = own_control_plane()
    with plane.api() as admin, plane.api(plane.register()["worker_token"]) as worker:

        def last_seen() -> str:
            return str(admin.get("/calc/zpe/compute/servers").json()["workers"][0]["last_seen_at"])

        assert poll(worker).status_code == 204
        before = last_seen()
        assert poll(worker).status_code == 204
        wait_until(lambda: last_seen() > before)
