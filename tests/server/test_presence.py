"""Workers in sight: what each runs now, and that one which has ended is not waited for."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.processes import ControlPlane, h2, wait_until


@pytest.fixture
def plane(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """The module's control plane, without the workers and jobs of earlier tests."""
    yield control_plane
    for process in control_plane.workers:
        process.terminate()
        process.wait()
    control_plane.workers.clear()
    with control_plane.api() as api:
        for job in api.get("/calc/zpe/jobs?limit=100").json()["jobs"]:
            api.post(f"/calc/zpe/jobs/{job['job_id']}/cancel")


def workers(api: httpx.Client, **params: object) -> dict[str, dict[str, Any]]:
    found = api.get("/calc/zpe/compute/servers", params={k: str(v) for k, v in params.items()})
    return {worker["name"]: worker for worker in found.raise_for_status().json()["workers"]}


def submit(api: httpx.Client, **more: object) -> str:
    request = {"content": h2(), "symmetry": False, "calc_mode": "new"} | more
    return str(api.post("/calc/zpe/jobs", json=request).raise_for_status().json()["job_id"])


def test_what_a_worker_runs_is_told_with_its_job_and_no_more_counts_as_running(plane: ControlPlane) -> None:
    with plane.api() as api:
        job = submit(api, name="water")
        plane.worker("busy", ZPE_MOCK_SCF_SECONDS=3600, ZPE_SLOTS=2, ZPE_TAGS="bigmem")

        def runs() -> list[dict[str, Any]]:
            return list(workers(api).get("busy", {}).get("running", []))

        wait_until(lambda: len(runs()) == 2)
        first = min(runs(), key=lambda scf: int(scf["task"]))
        assert (first["job_id"], first["job_name"], first["job_owner"]) == (job, "water", "admin")
        assert first["task"] == 0
        before = float(first["seconds"])
        wait_until(lambda: float(runs()[0]["seconds"]) > before)
        assert workers(api)["busy"]["capabilities"]["tags"] == ["bigmem"]
        overview = api.get("/calc/zpe/admin/overview").json()
        assert overview["scfs_running"] == 2
        api.post(f"/calc/zpe/jobs/{job}/cancel")
        assert runs() == []  # at once, whatever it has told before


def test_of_a_worker_that_tells_nothing_as_many_scfs_run_as_it_has_slots(plane: ControlPlane) -> None:
    old = plane.register(name="old")
    with plane.api() as api, plane.api(old["worker_token"]) as node:
        submit(api)
        able = {"engine": "mock", "engine_version": "1", "slots": 2}
        leased = node.post("/calc/zpe/compute/jobs/lease", json={"capabilities": able, "max_tasks": 10})
        assert len(leased.raise_for_status().json()["tasks"]) == 10
        assert api.get("/calc/zpe/admin/overview").json()["scfs_running"] == 2
        api.delete(f"/calc/zpe/compute/servers/{old['server_id']}").raise_for_status()


def test_a_worker_tells_how_much_memory_is_free_at_work_and_at_rest(plane: ControlPlane) -> None:
    node = plane.register(name="node")
    with plane.api() as api, plane.api(node["worker_token"]) as worker:

        def told() -> Any:
            return workers(api)["node"]["memory_free_gb"]

        def beat(**more: object) -> None:
            worker.post("/calc/zpe/compute/heartbeat", json=more).raise_for_status()

        assert told() is None
        beat(memory_free_gb=12.3)
        assert told() == 12.3
        # Answered without a question to Redis, it is noted a little later.
        beat(memory_free_gb=4.0)
        wait_until(lambda: bool(told() == 4.0))
        # What it had free when it was heard of last says nothing of now.
        beat(memory_free_gb=4.0, ending=True)
        assert told() is None
        plane.worker("real")
        wait_until(lambda: (workers(api).get("real", {}).get("memory_free_gb") or 0) > 0)
        beat(lease_ids=["ofnobody"])  # one that tells nothing any more
        assert told() is None
        api.delete(f"/calc/zpe/compute/servers/{node['server_id']}").raise_for_status()


def test_a_worker_that_ends_says_goodbye_and_no_job_waits_for_it(plane: ControlPlane) -> None:
    with plane.api() as api:
        process = plane.worker("leaving")
        wait_until(lambda: workers(api).get("leaving", {}).get("alive", False))
        process.terminate()
        assert process.wait() == 0
        left = workers(api)["leaving"]
        assert (left["alive"], left["ended"]) == (False, True)  # and not a minute later
        assert api.get("/calc/zpe/admin/overview").json()["workers_alive"] == 0
        job = submit(api)
        detail = api.get(f"/calc/zpe/jobs/{job}").json()["detail"]
        assert "no worker connected" in detail
        plane.worker("leaving")  # it comes back
        wait_until(lambda: api.get(f"/calc/zpe/jobs/{job}").json()["status"] == "finished")
        back = workers(api)["leaving"]
        assert (back["alive"], back["ended"]) == (True, False)


def test_a_question_that_outlives_its_worker_brings_no_work_to_it(plane: ControlPlane) -> None:
    node = plane.register(name="leaving")
    process, again = {"X-ZPE-Instance": "a process"}, {"X-ZPE-Instance": "the next one"}
    able = {"engine": "mock", "engine_version": "1", "slots": 1}
    lease, beat = "/calc/zpe/compute/jobs/lease", "/calc/zpe/compute/heartbeat"
    with plane.api() as api, plane.api(node["worker_token"]) as worker, ThreadPoolExecutor() as threads:
        ask = {"capabilities": able, "max_tasks": 1, "lease_key": "1" * 16, "wait_seconds": 5}
        waiting = threads.submit(worker.post, lease, json=ask, headers=process)
        wait_until(lambda: bool(workers(api)["leaving"]["capabilities"]))
        worker.post(beat, json={"ending": True}, headers=process).raise_for_status()
        submit(api)
        assert waiting.result().status_code == 204
        left = workers(api)["leaving"]
        assert (left["alive"], left["ended"], left["leases"]) == (False, True, [])
        # Sent again after a lost reply, a question is answered as before.
        found = worker.post(lease, json=ask | {"lease_key": "2" * 16}, headers=again)
        assert found.status_code == 200
        worker.post(beat, json={"ending": True}, headers=again).raise_for_status()
        repeated = worker.post(lease, json=ask | {"lease_key": "2" * 16}, headers=again)
        assert repeated.json()["lease_id"] == found.json()["lease_id"]
        api.delete(f"/calc/zpe/compute/servers/{node['server_id']}").raise_for_status()


def test_a_worker_that_was_shut_out_leaves_the_list(plane: ControlPlane) -> None:
    gone = plane.register(name="gone")
    with plane.api() as api:
        assert "gone" in workers(api)
        api.delete(f"/calc/zpe/compute/servers/{gone['server_id']}").raise_for_status()
        assert "gone" not in workers(api)
        assert workers(api, revoked=True)["gone"]["revoked"]
