"""What an operator sees: metrics, why jobs wait, readiness."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.processes import PATIENCE, ControlPlane, h2
from zpe_sdk.client.blocking_client import ZPEClient

Start = Callable[..., ControlPlane]
METRICS_TOKEN = "a-token-for-prometheus-alone"


def samples(plane: ControlPlane, token: str) -> dict[tuple[str, str], float]:
    """Return metrics by name and by the values of their labels."""
    with plane.api(token) as api:
        text = api.get("/metrics").raise_for_status().text
    return {
        (
            sample.name,
            sample.labels.get("state") or sample.labels.get("class") or sample.labels.get("worker", ""),
        ): (sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_count_jobs_attempts_and_scfs_by_worker(own_control_plane: Start) -> None:
    plane = own_control_plane(ZPE_METRICS_TOKEN=METRICS_TOKEN, ZPE_RETRY_MAX=0)
    before = samples(plane, METRICS_TOKEN)
    assert before["zpe_jobs", "queued"] == 0
    with plane.api() as api, plane.api(plane.register(name="lab")["worker_token"]) as worker:
        job = api.post("/calc/zpe/jobs", json={"content": h2()}).json()["job_id"]
        leased = worker.post("/calc/zpe/compute/jobs/lease", json={"max_tasks": 1}).json()
        body = {"lease_id": leased["lease_id"], "error_code": "pw_crashed", "error_message": "it broke"}
        worker.post(f"/calc/zpe/compute/jobs/{job}/failed", json=body)
        api.post("/calc/zpe/jobs", json={"content": h2()})
    found = samples(plane, METRICS_TOKEN)
    assert (found["zpe_jobs", "queued"], found["zpe_jobs", "failed"], found["zpe_dlq", ""]) == (1, 1, 1)
    assert found["zpe_scf_failed_total", "lab"] == 1
    assert found["zpe_attempts_total", "compute"] == 1
    assert found["zpe_oldest_queued_seconds", ""] >= 0
    assert found["zpe_workers_alive", ""] == 1


def test_metrics_are_for_their_own_token_and_the_administrator(own_control_plane: Start) -> None:
    plane = own_control_plane(ZPE_METRICS_TOKEN=METRICS_TOKEN)
    assert httpx.get(f"{plane.url}/metrics").status_code == 401
    assert samples(plane, plane.admin_token)
    with plane.api(METRICS_TOKEN) as scraper, plane.api(plane.researcher_token("ann")) as ann:
        assert scraper.get("/calc/zpe/jobs").status_code == 401
        assert ann.get("/metrics").status_code == 403


def test_a_queued_job_says_what_it_waits_for(own_control_plane: Start) -> None:
    plane = own_control_plane(ZPE_DEFAULT_ENGINE="espresso")
    able: dict[str, Any] = {"engine": "mock", "environ": True}
    with plane.api() as api:
        job = api.post("/calc/zpe/jobs", json={"content": h2(), "use_environ": True}).json()["job_id"]

        def detail() -> str:
            return str(api.get(f"/calc/zpe/jobs/{job}").json()["detail"])

        assert detail() == "no worker has enrolled yet"
        with plane.api(plane.register()["worker_token"]) as worker:
            request = {"max_tasks": 1, "capabilities": able}
            assert worker.post("/calc/zpe/compute/jobs/lease", json=request).status_code == 204
            assert detail() == "1 worker, none runs pw.x (they are in mock mode)"
            able |= {"engine": "espresso", "pseudopotentials": ["O.upf"], "environ": False}
            assert worker.post("/calc/zpe/compute/jobs/lease", json=request).status_code == 204
            assert detail() == "1 worker, none has H.pbe-kjpaw.UPF and Environ with an environ.in"
            able["pseudopotentials"] = ["H.pbe-kjpaw.UPF"]
            worker.post("/calc/zpe/compute/jobs/lease", json=request)
            assert detail() == "1 worker, none has Environ with an environ.in"
            brings = {"content": h2(), "environ": "&ENVIRON\n environ_type = 'water'\n/\n&BOUNDARY\n/\n"}
            other = api.post("/calc/zpe/jobs", json=brings).json()["job_id"]
            assert api.get(f"/calc/zpe/jobs/{other}").json()["detail"] == "1 worker, none has Environ"
            api.patch("/calc/zpe/admin/flags", json={"dequeue_enabled": False})
            assert "an administrator has stopped" in detail()


def test_springs_serve_only_jobs_that_ask_for_them_and_their_results_say_so(
    own_control_plane: Start,
) -> None:
    plane = own_control_plane(ZPE_DEFAULT_ENGINE="")
    with ZPEClient(plane.url, plane.admin_token) as client:
        real, mock = client.submit(h2()), client.submit(h2(), engine="mock")
        assert (real.status().engine, mock.status().engine) == ("espresso", "mock")
        plane.worker()
        result = mock.wait(PATIENCE, progress=False).result()
        assert real.status().detail == "1 worker, none runs pw.x (they are in mock mode)"
        assert real.detail().engine == "espresso"
    assert "MOCK" in mock.summary().splitlines()[0]
    assert "MOCK" in mock.freqs_csv().splitlines()[1]
    assert "MOCK" in repr(result)


def test_a_job_waits_for_a_machine_that_has_what_it_requires(own_control_plane: Start) -> None:
    plane = own_control_plane()
    requires = {"tags": ["bigmem"], "cores": 16, "memory_gb": 64}
    with plane.api() as api, plane.api(plane.register()["worker_token"]) as worker:
        job = api.post("/calc/zpe/jobs", json={"content": h2(), "requires": requires}).json()["job_id"]
        able: dict[str, Any] = {"engine": "mock", "cores": 8, "memory_gb": 31.5, "tags": ["bigmem"]}
        request = {"max_tasks": 1, "capabilities": able}
        assert worker.post("/calc/zpe/compute/jobs/lease", json=request).status_code == 204
        detail = api.get(f"/calc/zpe/jobs/{job}").json()["detail"]
        assert detail == "1 worker, none has 16 cores and 64 GB of memory"
        able |= {"cores": 16, "memory_gb": 128}
        assert worker.post("/calc/zpe/compute/jobs/lease", json=request).json()["job_id"] == job


def test_a_job_waits_for_a_version_of_pw_that_knows_its_cards(own_control_plane: Start) -> None:
    plane = own_control_plane()
    hubbard = {"content": h2() + "HUBBARD (atomic)\nU H-1s 1.0\n", "engine": "espresso"}
    able: dict[str, Any] = {"engine": "espresso", "engine_version": "6.7MaX"}
    with (
        plane.api() as api,
        plane.api(plane.register()["worker_token"]) as one,
        plane.api(plane.register()["worker_token"]) as other,
    ):
        job = api.post("/calc/zpe/jobs", json=hubbard).json()["job_id"]

        def detail() -> str:
            return str(api.get(f"/calc/zpe/jobs/{job}").json()["detail"])

        for worker in (one, other):
            request = {"max_tasks": 1, "capabilities": able}
            assert worker.post("/calc/zpe/compute/jobs/lease", json=request).status_code == 204
        needs = "needs pw.x 7.1 or newer for the card HUBBARD; "
        assert detail() == needs + "the 2 workers here have 6.7MaX"
        able["engine_version"] = "7.0"
        other.post("/calc/zpe/compute/jobs/lease", json=request)
        assert detail() == needs + "the 2 workers here have 6.7MaX and 7.0"
        able["engine_version"] = "7.2"
        leased = other.post("/calc/zpe/compute/jobs/lease", json=request).json()
        assert leased["job_id"] == job
