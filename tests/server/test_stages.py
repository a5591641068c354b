"""Jobs of several kinds and stages, with workers that tell of them by hand."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from tests.processes import ControlPlane, h2, wait_until
from zpe_sdk.wire import JobPayload, RelaxationState, Task, TaskReport
from zpe_sdk.worker.engines import StepTaken
from zpe_sdk.worker.engines.mock import MockEngine
from zpe_sdk.worker.settings import WorkerSettings

JOBS, COMPUTE = "/calc/zpe/jobs", "/calc/zpe/compute/jobs"
ABLE = {"engine": "mock", "relaxes": True}
HELD = h2().replace("H 0.0 0.0 0.0\n", "H 0.0 0.0 0.0 0 0 0\n").replace("0.75\n", "0.75 0 0 0\n")


@dataclass
class Relaxation:
    """One that a worker has leased, computed as far as a test wants it."""

    client: httpx.Client
    lease: dict[str, Any]
    steps: list[StepTaken]
    report: TaskReport

    def tell(self, index: int) -> dict[str, Any]:
        """Report one step; return the reply."""
        taken = self.steps[index]
        body = {
            "task": 0,
            "step": taken.step.model_dump(),
            "next_positions": taken.next_positions,
            "history": f"history {taken.step.index}",
            "fingerprint": taken.fingerprint.model_dump(),
        }
        return dict(self.post("steps", **body).raise_for_status().json())

    def end(self) -> dict[str, Any]:
        """Report how it ended; return the reply."""
        return dict(self.post("tasks", reports=[self.report.model_dump()]).raise_for_status().json())

    def post(self, what: str, **body: Any) -> httpx.Response:
        path = f"{COMPUTE}/{self.lease['job_id']}/{what}"
        return self.client.post(path, json={"lease_id": self.lease["lease_id"], **body})


class Lab:
    """A control plane, and workers of springs."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self.plane = plane
        self.engine = MockEngine(WorkerSettings(work_dir=folder))

    @contextmanager
    def worker(self, name: str = "one") -> Iterator[httpx.Client]:
        with self.plane.api(self.plane.register(name=name)["worker_token"]) as client:
            client.headers["X-ZPE-Instance"] = name
            yield client

    def submit(self, content: str = "", **more: Any) -> str:
        with self.plane.api() as api:
            reply = api.post(JOBS, json={"content": content or h2(), **more}).raise_for_status()
            return str(reply.json()["job_id"])

    def get(self, job: str, what: str = "") -> dict[str, Any]:
        with self.plane.api() as api:
            return dict(api.get(f"{JOBS}/{job}{what}").raise_for_status().json())

    def lease(self, client: httpx.Client) -> dict[str, Any]:
        asked = {"max_tasks": 100, "capabilities": ABLE}
        reply = client.post(f"{COMPUTE}/lease", json=asked).raise_for_status()
        assert reply.status_code == 200, "there is nothing to do"
        return dict(reply.json())

    def relax(self, client: httpx.Client) -> Relaxation:
        """Lease a relaxation and compute it to its end, without telling of it."""
        lease = self.lease(client)
        steps: list[StepTaken] = []
        report = self.engine.relax(
            JobPayload(**lease["payload"]),
            RelaxationState(**lease["relaxation"]),
            job_id=lease["job_id"],
            stop=Event(),
            on_step=steps.append,
        )
        return Relaxation(client, lease, steps, report)

    def compute(self, client: httpx.Client) -> dict[str, Any]:
        """Lease SCFs, compute all and report them; return the lease."""
        lease = self.lease(client)
        payload = JobPayload(**lease["payload"])
        reports = [
            self.engine.run(payload, Task.from_json(task), job_id=lease["job_id"], stop=Event()).model_dump()
            for task in lease["tasks"]
        ]
        body = {"lease_id": lease["lease_id"], "reports": reports}
        client.post(f"{COMPUTE}/{lease['job_id']}/tasks", json=body).raise_for_status()
        return lease


@pytest.fixture
def lab(control_plane: ControlPlane, tmp_path: Path) -> Iterator[Lab]:
    yield Lab(control_plane, tmp_path)
    with control_plane.api() as api:  # the next test's workers get no work of this one
        for job in api.get(JOBS).raise_for_status().json()["jobs"]:
            if job["status"] in ("queued", "started"):
                api.post(f"{JOBS}/{job['job_id']}/cancel").raise_for_status()


def test_the_displacements_are_planned_on_the_relaxed_structure(lab: Lab) -> None:
    job = lab.submit(relax=True)
    with lab.worker() as worker:
        relaxation = lab.relax(worker)
        for n in range(len(relaxation.steps)):
            assert relaxation.tell(n)["lease_held"]
        status = lab.get(job)
        assert (status["kind"], status["stage"], status["status"]) == ("vibrations", "relax", "started")
        assert status["ionic_step"] == len(relaxation.steps)
        last = relaxation.steps[-1].step
        assert status["max_force_ev_ang"] == pytest.approx(last.max_force_ev_ang)
        relaxation.end()
        status = lab.get(job)
        assert (status["stage"], status["status"]) == ("vibrations", "queued")
        assert status["progress"]["total"] == 3
        while lab.get(job)["status"] != "finished":
            lab.compute(worker)
    result = lab.get(job, "/result")["result"]
    np.testing.assert_allclose(result["positions"], last.positions, atol=1e-9)
    assert [step["index"] for step in result["relaxation"]["steps"]] == list(range(len(relaxation.steps)))
    assert max(result["freqs_cm"]) > 1000


def planners(plane: ControlPlane) -> list[psutil.Process]:
    """The processes in which a control plane plans."""
    assert plane.process is not None
    found = []
    for child in psutil.Process(plane.process.pid).children():
        with suppress(psutil.Error):  # it may have ended meanwhile
            if "anyio.to_process" in child.cmdline():
                found.append(child)
    return found


def test_a_relaxed_structure_is_planned_where_others_are_and_again_if_that_was_killed(lab: Lab) -> None:
    job = lab.submit(relax=True)
    with lab.worker() as worker, ThreadPoolExecutor() as beside:
        relaxation = lab.relax(worker)
        for n in range(len(relaxation.steps)):
            relaxation.tell(n)
        for planner in planners(lab.plane):
            planner.suspend()
        told = beside.submit(relaxation.post, "tasks", reports=[relaxation.report.model_dump()])
        wait_until(lambda: lab.get(job)["progress"]["done"] == 1)  # others are answered
        assert lab.get(job)["stage"] == "relax"
        while not told.done():
            for planner in planners(lab.plane):
                with suppress(psutil.NoSuchProcess):
                    planner.kill()
        assert told.result().json()["error"]["code"] == "busy"
        wait_until(lambda: lab.get(job)["stage"] == "vibrations")


def test_another_worker_goes_on_from_the_last_step(lab: Lab) -> None:
    job = lab.submit(kind="relax")
    with lab.worker("one") as one, lab.worker("two") as two:
        first = lab.relax(one)
        first.tell(0)
        first.tell(1)
        first.post("release").raise_for_status()
        second = lab.relax(two)
        assert second.lease["relaxation"] == {
            "done": 2,
            "positions": [list(place) for place in first.steps[1].next_positions or ()],
            "history": "history 1",
            "steps": 98,
        }
        # What the first one still tells changes nothing.
        assert first.tell(2) == {
            **first.tell(2),
            "idempotent": True,
            "lease_held": False,
            "job_status": "started",
        }
        for n in range(len(second.steps)):
            second.tell(n)
        second.end()
    result = lab.get(job, "/result")["result"]
    assert result["kind"] == "relax"
    np.testing.assert_allclose(result["positions"], first.steps[-1].step.positions, atol=1e-9)
    assert {run["task"]: run["worker"] for run in result["tasks"]}[1] == "one"
    assert {run["task"]: run["worker"] for run in result["tasks"]}[2] == "two"


def test_a_step_that_is_told_twice_is_stored_once_and_none_may_be_left_out(lab: Lab) -> None:
    job = lab.submit(kind="relax")
    with lab.worker() as worker:
        relaxation = lab.relax(worker)
        with pytest.raises(httpx.HTTPStatusError) as caught:
            relaxation.tell(1)
        assert caught.value.response.json()["error"]["code"] == "step_missing"
        assert not relaxation.tell(0)["idempotent"]
        assert relaxation.tell(0)["idempotent"]
        assert lab.get(job)["ionic_step"] == 1


def test_a_report_of_the_stage_before_changes_nothing(lab: Lab) -> None:
    job = lab.submit(relax=True)
    with lab.worker("one") as one, lab.worker("two") as two:
        late = lab.relax(one)
        late.tell(0)
        late.post("release").raise_for_status()
        relaxation = lab.relax(two)
        for n in range(len(relaxation.steps)):
            relaxation.tell(n)
        relaxation.end()
        # The reply was lost, and the worker says it again; the equilibrium has the number of the relaxation.
        assert relaxation.end()["idempotent"] == [0]
        reply = late.end()
        assert (reply["accepted"], reply["reason"]) == ([], "stage_over")
        assert lab.get(job)["progress"]["done"] == 0
        while lab.get(job)["status"] != "finished":
            while lab.get(job)["status"] != "finished":
                lab.compute(two)


def test_a_relaxation_that_takes_too_long_fails_with_its_steps_and_goes_on_when_requeued(lab: Lab) -> None:
    job = lab.submit(relax={"steps": 2})
    with lab.worker() as worker:
        relaxation = lab.relax(worker)
        assert relaxation.report.relaxation
        assert relaxation.report.relaxation.reason == "steps"
        relaxation.tell(0)
        relaxation.tell(1)
        relaxation.end()
        status = lab.get(job)
        assert (status["status"], status["in_dlq"]) == ("failed", True)
        assert status["error"]["code"] == "relaxation_not_converged"
        assert "after 2 steps" in status["error"]["message"]
        with lab.plane.api() as api:
            api.post(f"{JOBS}/{job}/requeue").raise_for_status()
        assert lab.lease(worker)["relaxation"]["done"] == 2
        state = lab.get(job, "/detail")
        assert state["relax"] == {"fmax": None, "steps": 2}
        api_steps = lab.get(job)["ionic_step"]
        assert api_steps == 2


def test_the_energy_of_a_structure_without_free_atoms(lab: Lab) -> None:
    job = lab.submit(HELD, kind="energy")
    with lab.worker() as worker:
        # Whole jobs are vibrational calculations.
        whole = worker.post(f"{COMPUTE}/lease", json={"capabilities": ABLE})
        assert whole.status_code == 204
        lease = lab.compute(worker)
        assert [task["index"] for task in lease["tasks"]] == [0]
    result = lab.get(job, "/result")["result"]
    assert (result["kind"], len(result["forces_ev_ang"])) == ("energy", 2)
    assert result["max_force_ev_ang"] == 0
    with lab.plane.api() as api:
        summary = api.get(f"{JOBS}/{job}/files", params={"kind": "summary"}).raise_for_status().text
    assert "MOCK" in summary.splitlines()[0]


def test_a_worker_that_does_not_know_relaxations_gets_none(lab: Lab) -> None:
    job = lab.submit(kind="relax")
    with lab.worker() as worker:
        for able in ({"engine": "mock"}, None):
            asked = {"max_tasks": 1, "capabilities": able}
            assert worker.post(f"{COMPUTE}/lease", json=asked).status_code == 204
        asked = {"max_tasks": 1, "capabilities": {"engine": "mock"}}
        worker.post(f"{COMPUTE}/lease", json=asked)
        assert lab.get(job)["status"] == "queued"


def test_a_step_of_other_physics_is_refused_and_its_worker_gets_no_more_of_the_job(lab: Lab) -> None:
    job = lab.submit(kind="relax")
    with lab.worker() as worker:
        relaxation = lab.relax(worker)
        taken = relaxation.steps[0]
        wrong = taken.fingerprint.model_copy(update={"physics": "0" * 64})
        relaxation.steps[0] = StepTaken(taken.step, taken.next_positions, None, wrong)
        reply = relaxation.tell(0)
        assert (reply["lease_held"], reply["reason"]) == (False, "wrong_physics")
        assert worker.post(f"{COMPUTE}/lease", json={"max_tasks": 1, "capabilities": ABLE}).status_code == 204
        assert lab.get(job)["ionic_step"] is None


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"kind": "relax", "content": HELD}, "ATOMIC_POSITIONS"),
        ({"kind": "energy", "relax": True}, "relax"),
        ({"kind": "dance"}, "kind"),
        ({"relax": {"fmax": -1}}, "relax"),
        ({"relax": {"fmx": 0.01}}, "relax"),
        ({"relax": {"steps": 0}}, "relax"),
    ],
)
def test_what_cannot_be_done_is_refused_at_the_door(lab: Lab, request_: dict[str, Any], field: str) -> None:
    with lab.plane.api() as api:
        reply = api.post(JOBS, json={"content": h2(), **request_})
    assert reply.status_code == (400 if "content" in request_ else 422)
    assert field in str(reply.json())


def test_a_relaxation_of_a_worker_that_is_not_to_be_trusted_is_done_anew(lab: Lab) -> None:
    relaxing, displacing = lab.submit(kind="relax"), lab.submit(relax=True)
    with lab.worker("liar") as worker:
        first = lab.relax(worker)
        first.tell(0)
        second = lab.relax(worker)
        for n in range(len(second.steps)):
            second.tell(n)
        second.end()
        assert lab.get(displacing)["stage"] == "vibrations"
        with lab.plane.api() as api:
            known = api.get("/calc/zpe/compute/servers").raise_for_status().json()["workers"]
            [liar] = [worker for worker in known if worker["name"] == "liar"]
            address = f"/calc/zpe/compute/servers/{liar['server_id']}"
            api.delete(address, params={"and_its_results": True}).raise_for_status()
    assert lab.get(relaxing)["ionic_step"] is None
    status = lab.get(displacing)
    assert (status["status"], status["in_dlq"]) == ("failed", False)
    assert status["error"]["code"] == "relaxation_taken_back"
    with lab.worker("honest") as worker:
        again = lab.relax(worker)
        assert again.lease["relaxation"]["done"] == 0
        for n in range(len(again.steps)):
            again.tell(n)
        again.end()
    assert lab.get(relaxing)["status"] == "finished"
