"""A Redis that is full: refused as the store's fault, nothing lost, and work goes on when there is room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import redis

from tests.processes import ControlPlane, RedisServer, h2, wait_until


def test_a_full_redis_is_503_and_loses_nothing(
    own_control_plane: Callable[..., ControlPlane], tmp_path: Path
) -> None:
    server = RedisServer(tmp_path)
    server.start()
    try:
        plane = own_control_plane(ZPE_REDIS_URL=server.url)
        with plane.api() as api, redis.Redis.from_url(server.url) as connection:
            before = submit(api).raise_for_status().json()["job_id"]
            connection.config_set("maxmemory", "1mb")
            refused = submit(api)
            assert refused.status_code == 503
            assert refused.json()["error"]["side"] == "store"
            assert refused.headers["Retry-After"]
            assert api.get(f"/calc/zpe/jobs/{before}").json()["status"] == "queued"
            not_ready = api.get("/readyz")
            assert not_ready.status_code == 503
            assert not_ready.json()["error"]["side"] == "store"
            connection.config_set("maxmemory", "0")
            assert api.get("/readyz").status_code == 200
            after = submit(api).raise_for_status().json()["job_id"]
            listed = {job["job_id"] for job in api.get("/calc/zpe/jobs").json()["jobs"]}
        assert listed == {before, after}
    finally:
        server.kill()


def test_a_redis_that_only_reads_is_not_ready(
    own_control_plane: Callable[..., ControlPlane], tmp_path: Path
) -> None:
    server = RedisServer(tmp_path)
    server.start()
    try:
        plane = own_control_plane(ZPE_REDIS_URL=server.url)
        with plane.api() as api, redis.Redis.from_url(server.url) as connection:
            assert api.get("/readyz").status_code == 200
            connection.replicaof("127.0.0.1", 1)  # of a primary that is not there
            assert api.get("/readyz").status_code == 503
            assert api.get("/healthz").status_code == 200  # to restart the control plane would be no help
            connection.replicaof("NO", "ONE")
            assert api.get("/readyz").status_code == 200
    finally:
        server.kill()


def test_a_token_that_was_remembered_ends_with_the_store_that_knew_it(
    own_control_plane: Callable[..., ControlPlane], tmp_path: Path
) -> None:
    server = RedisServer(tmp_path)
    server.start()
    try:
        plane = own_control_plane(ZPE_REDIS_URL=server.url)
        token = plane.researcher_token("ada")
        with plane.api(token) as ada, redis.Redis.from_url(server.url) as connection:
            wait_until(lambda: connection.exists("{zpe}:epoch") == 1)
            assert ada.get("/calc/zpe/jobs").status_code == 200
            connection.flushall()
            wait_until(lambda: ada.get("/calc/zpe/jobs").status_code == 401)
    finally:
        server.kill()


def submit(api: httpx.Client) -> httpx.Response:
    return api.post("/calc/zpe/jobs", json={"content": h2()})
