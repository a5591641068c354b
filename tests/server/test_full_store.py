"""A Redis that is full: refused as the store's fault, nothing lost, and work goes on when there is room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import redis

from tests.processes import ControlPlane, RedisServer, h2


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
            connection.config_set("maxmemory", "0")
            after = submit(api).raise_for_status().json()["job_id"]
            listed = {job["job_id"] for job in api.get("/calc/zpe/jobs").json()["jobs"]}
        assert listed == {before, after}
    finally:
        server.kill()


def submit(api: httpx.Client) -> httpx.Response:
    return api.post("/calc/zpe/jobs", json={"content": h2()})
