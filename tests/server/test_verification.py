"""A share of a job's SCFs is computed twice, by different workers, and compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from tests.processes import PATIENCE, ControlPlane, h2
from zpe_sdk.client.blocking_client import ZPEClient
from zpe_sdk.wire import Fingerprint, JobPayload, Task, TaskReport
from zpe_sdk.worker.engines.mock import MockEngine
from zpe_sdk.worker.settings import WorkerSettings
from zpe_server.verification import DisagreementError, compare, copies_of

LEASE, JOBS = "/calc/zpe/compute/jobs/lease", "/calc/zpe/jobs"
PRINT = Fingerprint(engine="mock", engine_version="1", physics="0" * 64)


@pytest.mark.parametrize(
    ("share", "originals"), [(0, []), (0.01, [6]), (0.25, [2, 6, 10]), (1, list(range(13)))]
)
def test_a_share_is_spread_over_the_job_and_at_least_one_scf(share: float, originals: list[int]) -> None:
    copies = copies_of([Task(index=n) for n in range(13)], share)
    assert [task.copy_of for task in copies] == originals
    assert [task.index for task in copies] == list(range(13, 13 + len(copies)))


@pytest.mark.parametrize(
    ("force", "energy", "agree"), [(9e-4, 1.9e-4, True), (1.1e-3, 0.0, False), (0.0, 2.1e-4, False)]
)
def test_workers_agree_within_what_convergence_leaves_open(force: float, energy: float, agree: bool) -> None:
    tasks = [Task(index=0), Task(index=1, copy_of=0)]
    reports = {
        n: TaskReport(
            task=n,
            energy_ev=-30.0 + n * energy,
            forces_ev_ang=[(0.1, 0.0, 0.0), (-0.1, n * force, 0.0)],
            fingerprint=PRINT,
            scf_seconds=1.0,
        )
        for n in range(2)
    }
    workers = {0: "lab-pc-1", 1: "lab-pc-2"}
    if agree:
        found = compare(tasks, reports, workers)
        assert found is not None
        assert (found.count, found.force_ev_ang) == (1, pytest.approx(force))
    else:
        with pytest.raises(DisagreementError, match="lab-pc-1 and lab-pc-2") as caught:
            compare(tasks, reports, workers)
        assert (caught.value.code, caught.value.tasks) == ("workers_disagree", [0, 1])


class Lab:
    """Workers of springs, of which one may be wrong by some force (eV/Å)."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self.plane = plane
        self.engine = MockEngine(WorkerSettings(work_dir=folder))

    @contextmanager
    def worker(self, name: str) -> Iterator[tuple[httpx.Client, str]]:
        enrolled = self.plane.register(name=name)
        with self.plane.api(enrolled["worker_token"]) as client:
            yield client, enrolled["server_id"]

    def compute(self, worker: httpx.Client, error: float = 0.0) -> list[int]:
        """Compute all that the worker is given, lease by lease; return the tasks."""
        done: list[int] = []
        while (leased := worker.post(LEASE, json={"max_tasks": 100}).raise_for_status()).status_code == 200:
            lease = leased.json()
            reports = []
            for task in lease["tasks"]:
                payload = JobPayload(**lease["payload"])
                job_id = lease["job_id"]
                report = self.engine.run(
                    payload, Task.from_json(task), job_id=job_id, stop=Event()
                ).model_dump()
                x, y, z = report["forces_ev_ang"][0]
                report["forces_ev_ang"][0] = (x, y, z + error)
                reports.append(report)
                done.append(task["index"])
            body = {"lease_id": lease["lease_id"], "reports": reports}
            worker.post(f"/calc/zpe/compute/jobs/{job_id}/tasks", json=body).raise_for_status()
        return done


@pytest.fixture
def lab(control_plane: ControlPlane, tmp_path: Path) -> Lab:
    return Lab(control_plane, tmp_path)


def test_the_second_time_waits_for_a_second_worker_and_stands_in_the_result(lab: Lab) -> None:
    with lab.plane.api() as api, lab.worker("one") as (one, _), lab.worker("two") as (two, _):
        request = {"content": h2(), "symmetry": False, "verify": 0.2}
        job = api.post(JOBS, json=request).json()["job_id"]
        # Whole jobs are for those who compute all of it.
        assert one.post(LEASE, json={}).status_code == 204
        done = lab.compute(one)
        status = api.get(f"{JOBS}/{job}").json()
        assert (status["status"], status["progress"]["total"], len(done)) == ("queued", 16, 13)
        assert "another worker than one" in status["detail"]
        assert len(lab.compute(two)) == 3
        assert api.get(f"{JOBS}/{job}").json()["status"] == "finished"
        detail = api.get(f"{JOBS}/{job}/detail").json()
        workers = {task["index"]: task["worker"] for task in detail["tasks"]}
        for task in detail["tasks"]:
            if task["copy_of"] is not None:
                assert {task["worker"], workers[task["copy_of"]]} == {"one", "two"}
        checks = api.get(f"{JOBS}/{job}/result").json()["result"]["checks"]
        assert (checks["scf_verified"], checks["verified_force_ev_ang"]) == (3, 0)
        assert "3 SCFs computed twice" in api.get(f"{JOBS}/{job}/files?kind=summary").text


def test_workers_that_disagree_are_named_and_the_wrong_one_can_be_taken_back(lab: Lab) -> None:
    with (
        lab.plane.api() as api,
        lab.worker("good") as (good, _),
        lab.worker("bad") as (bad, bad_id),
        lab.worker("third") as (third, _),
    ):
        request = {"content": h2(), "symmetry": False, "verify": 0.2}
        job = api.post(JOBS, json=request).json()["job_id"]
        lab.compute(good)
        lab.compute(bad, error=0.02)
        status = api.get(f"{JOBS}/{job}").json()
        assert (status["status"], status["error"]["code"]) == ("failed", "workers_disagree")
        for word in ("good", "bad", "0.02 eV/Å"):
            assert word in status["error"]["message"]
        api.delete(f"/calc/zpe/compute/servers/{bad_id}", params={"and_its_results": True}).raise_for_status()
        api.post(f"{JOBS}/{job}/requeue").raise_for_status()
        # What was in doubt is computed anew, the rest is kept.
        assert sorted([len(lab.compute(third)), len(lab.compute(good))]) == [3, 3]
        assert api.get(f"{JOBS}/{job}").json()["status"] == "finished"


@pytest.mark.qe
def test_two_workers_with_pw_agree_far_below_what_is_tolerated(
    own_control_plane: Callable[..., ControlPlane],
) -> None:
    plane = own_control_plane(ZPE_DEFAULT_ENGINE="espresso")
    settings: dict[str, Any] = {
        "ZPE_WORKER_MODE": "qe",
        "ZPE_PSEUDO_DIR": "/usr/share/espresso/pseudo",
        "ZPE_SLOTS": 1,
        "ZPE_USE_MPI": "false",
    }
    for name in ("one", "two"):
        plane.worker(name, **settings)
    with ZPEClient(plane.url, plane.admin_token) as client:
        result = client.submit(h2(), verify=1).wait(PATIENCE, progress=False).result()
    checks = result.document.checks
    assert checks["scf_verified"] == 3
    # They start from other densities, so they are not the same to the last digit.
    assert 0 < checks["verified_force_ev_ang"] < 1e-4
    assert checks["verified_energy_ev"] < 1e-5
