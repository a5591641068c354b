"""All that a store holds goes into a file, and from there into a store of another kind."""

from __future__ import annotations

import gzip
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from tests.processes import ZPE, ControlPlane, RedisServer, environment, h2, wait_until
from zpe_server.archive import export_to, import_from, open_store, records_of

Start = Callable[..., ControlPlane]
NEVER = "mock: fail=scf_not_converged task=1 times=always"


@pytest.fixture
def debians(tmp_path: Path) -> Iterator[RedisServer]:
    """An empty redis-server of the system, as somebody has it who runs a Redis of their own."""
    (tmp_path / "debians").mkdir()
    server = RedisServer(tmp_path / "debians")
    server.start()
    yield server
    server.kill()


def zpe(*arguments: object, **settings: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ZPE, *map(str, arguments)], env=environment(**settings), capture_output=True, text=True, check=False
    )


def told(file: Path) -> dict[str, dict[str, Any]]:
    return {record["key"]: record for record in records_of(file)}


def assert_same(one: Path, other: Path) -> None:
    """Compare two exported files record by record; when a key expires, nobody knows to the millisecond."""
    ours, theirs = told(one), told(other)
    assert ours.keys() == theirs.keys()
    for name, record in ours.items():
        there = theirs[name]
        assert (record["type"], record["value"]) == (there["type"], there["value"]), name
        assert ("expires_ms" in record) == ("expires_ms" in there), name
        assert abs(record.get("expires_ms", 0) - there.get("expires_ms", 0)) < 5000, name


def state(api: httpx.Client, job: str) -> str:
    return str(api.get(f"/calc/zpe/jobs/{job}").raise_for_status().json()["status"])


def submit(api: httpx.Client, title: str = "", **more: object) -> str:
    request = {"content": h2(title), "calc_mode": "new"} | more
    return str(api.post("/calc/zpe/jobs", json=request).raise_for_status().json()["job_id"])


def jobs_in_all_states(plane: ControlPlane) -> tuple[dict[str, str], dict[str, Any], str]:
    """Return a job of each state, the lease of the one that runs, and the token of its worker."""
    with plane.api() as api:
        jobs = {"finished": submit(api, name="done"), "failed": submit(api, NEVER)}
        worker = plane.worker("first")
        wait_until(lambda: [state(api, job) for job in jobs.values()] == ["finished", "failed"])
        worker.terminate()
        worker.wait()
        jobs["started"] = submit(api)
        node = plane.register(name="second")["worker_token"]
        with plane.api(node) as compute:
            able = {"engine": "mock", "engine_version": "1"}
            asked = {"max_tasks": 1, "capabilities": able}
            lease = compute.post("/calc/zpe/compute/jobs/lease", json=asked).json()
        assert lease["job_id"] == jobs["started"]
        jobs["cancelled"] = submit(api)
        api.post(f"/calc/zpe/jobs/{jobs['cancelled']}/cancel").raise_for_status()
        jobs["queued"] = submit(api, name="waits", requires={"tags": ["big"]})
        return jobs, lease, node


def test_a_service_moves_from_the_embedded_store_to_another_and_back(
    own_control_plane: Start, debians: RedisServer, tmp_path: Path
) -> None:
    before = own_control_plane(ZPE_RETRY_MAX=0, ZPE_ADMIN_TOKEN="a" * 32)
    before.admin_token = "a" * 32
    jobs, lease, node = jobs_in_all_states(before)
    ann = before.researcher_token("ann")
    data, file, again, back = before.folder / "data", tmp_path / "one", tmp_path / "two", tmp_path / "three"
    with before.api() as api:
        statuses = {job: api.get(f"/calc/zpe/jobs/{job}").json() for job in jobs.values()}
        result = api.get(f"/calc/zpe/jobs/{jobs['finished']}/result").json()
        assert zpe("export", tmp_path / "running", "--data-dir", data).returncode == 0
        submit(api, name="later")  # writes go on
    before.stop()

    exported = zpe("export", file, "--data-dir", data)
    assert exported.returncode == 0, exported.stderr
    assert "6 jobs, 1 results, 3 tokens, 2 workers" in exported.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    imported = zpe("import", file, ZPE_REDIS_URL=debians.url)
    assert imported.returncode == 0, imported.stderr
    zpe("export", again, ZPE_REDIS_URL=debians.url)
    assert_same(file, again)

    after = own_control_plane(ZPE_REDIS_URL=debians.url, ZPE_RETRY_MAX=0, ZPE_ADMIN_TOKEN="a" * 32)
    after.admin_token = before.admin_token
    with after.api() as api, after.api(node) as compute, after.api(ann) as researcher:
        for job, status in statuses.items():
            assert api.get(f"/calc/zpe/jobs/{job}").json() == status
        assert api.get(f"/calc/zpe/jobs/{jobs['finished']}/result").json() == result
        assert researcher.get("/calc/zpe/jobs").status_code == 200
        beat = compute.post("/calc/zpe/compute/heartbeat", json={"lease_ids": [lease["lease_id"]]}).json()
        assert beat["leases"] == {lease["lease_id"]: "held"}
        told_of = {"lease_id": lease["lease_id"], "reason": "ends"}
        compute.post(f"/calc/zpe/compute/jobs/{jobs['started']}/release", json=told_of).raise_for_status()
        assert len(api.get("/calc/zpe/admin/dlq").json()["jobs"]) == 1
        after.worker("third", ZPE_TAGS="big")
        wait_until(lambda: {state(api, jobs[job]) for job in ("started", "queued")} == {"finished"})
    after.stop()

    zpe("export", tmp_path / "four", ZPE_REDIS_URL=debians.url)
    moved = zpe("import", tmp_path / "four", "--data-dir", tmp_path / "home")
    assert moved.returncode == 0, moved.stderr
    zpe("export", back, "--data-dir", tmp_path / "home")
    assert_same(tmp_path / "four", back)


def test_what_is_not_whole_or_not_for_this_store_changes_nothing(
    debians: RedisServer, tmp_path: Path
) -> None:
    whole, cut, changed = tmp_path / "whole", tmp_path / "cut", tmp_path / "changed"
    with open_store(debians.url) as store:
        store.hset("{zpe}:job:a", mapping={"name": b"H\xff", "n": 1})  # a byte that is no UTF-8
        store.zadd("{zpe}:turns", {"a": 0.1, "b": float("inf")})
        store.rpush("{zpe}:job:a:history", "x", "y", "x")
        store.sadd("{zpe}:owned", "w")
        store.set("{zpe}:token:t", "é", px=10**9)
        store.set("of another service", "1")
        store.set("{zpe}:import:left over", "1")
        export_to(store, whole)
        store.flushall()
        text = gzip.decompress(whole.read_bytes())
        assert b"another service" not in text
        assert b"left over" not in text
        cut.write_bytes(whole.read_bytes()[:-20])
        changed.write_bytes(gzip.compress(text.replace(b'"x"', b'"z"')))
        for file in (cut, changed, Path(__file__)):
            refused = zpe("import", file, ZPE_REDIS_URL=debians.url)
            assert (refused.returncode, "input/bad_archive" in refused.stderr) == (1, True)
        assert store.dbsize() == 0
        store.set("{zpe}:import:left over", "1")  # by an import that was interrupted
        assert import_from(whole, store)["job"] == 1
        assert store.hget("{zpe}:job:a", "name") == "H\udcff"
        assert store.lrange("{zpe}:job:a:history", 0, -1) == ["x", "y", "x"]
        assert store.zscore("{zpe}:turns", "b") == float("inf")
        assert 9e8 < store.pttl("{zpe}:token:t") <= 1e9
        assert not store.exists("{zpe}:import:left over")
        again = zpe("import", whole, ZPE_REDIS_URL=debians.url)
        assert "input/store_not_empty" in again.stderr
    assert "input/file_unwritable" in zpe("export", whole, ZPE_REDIS_URL=debians.url).stderr
    assert "config/bad_data_dir" in zpe("export", tmp_path / "new", "--data-dir", tmp_path / "nothing").stderr
    assert not (tmp_path / "new").exists()


def test_a_redis_that_cannot_let_writes_wait_is_exported_when_nobody_uses_it(
    own_control_plane: Start, debians: RedisServer, tmp_path: Path
) -> None:
    redis.Redis.from_url(debians.url).execute_command(
        "ACL", "SETUSER", "default", "-client|pause", "-client|unpause"
    )
    plane = own_control_plane(ZPE_REDIS_URL=debians.url)
    refused = zpe("export", tmp_path / "file", ZPE_REDIS_URL=debians.url)
    assert "store/store_in_use" in refused.stderr
    plane.stop()
    assert zpe("export", tmp_path / "file", ZPE_REDIS_URL=debians.url).returncode == 0
    assert json.loads(gzip.decompress((tmp_path / "file").read_bytes()).splitlines()[0])["format"] == 1
