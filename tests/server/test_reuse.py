"""SCFs done once are taken over by later jobs of their owner, if and only if the physics are the same."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from tests.processes import ControlPlane, h2
from zpe_sdk.espresso.environ import EnvironInput
from zpe_sdk.espresso.fingerprint import environ_mark
from zpe_sdk.wire import JobPayload, Task
from zpe_sdk.worker.engines.mock import MockEngine
from zpe_sdk.worker.settings import WorkerSettings

Json = dict[str, Any]
LEASE, JOBS = "/calc/zpe/compute/jobs/lease", "/calc/zpe/jobs"


class Lab:
    """Researchers, and a worker whose forces are of springs but pass for those of a pw.x."""

    def __init__(self, plane: ControlPlane, folder: Path) -> None:
        self.plane = plane
        self.engine = MockEngine(WorkerSettings(work_dir=folder))
        self.worker = plane.api(plane.register()["worker_token"])
        self.people: dict[str, httpx.Client] = {}

    def __call__(self, owner: str) -> httpx.Client:
        if owner not in self.people:
            self.people[owner] = self.plane.api(self.plane.researcher_token(owner))
        return self.people[owner]

    def submit(self, owner: str, **more: Any) -> str:
        reply = self(owner).post(JOBS, json={"content": h2(), "symmetry": False} | more)
        return str(reply.raise_for_status().json()["job_id"])

    def status(self, owner: str, job: str) -> Json:
        return dict(self(owner).get(f"{JOBS}/{job}").json())

    def tasks_of(self, owner: str, job: str, atom: int) -> list[int]:
        """List the tasks that displace an atom."""
        tasks = self(owner).get(f"{JOBS}/{job}/detail").json()["tasks"]
        return [task["index"] for task in tasks if task["atom"] == atom]

    def ask(self, most: int, files: str | None, worker: httpx.Client | None = None) -> httpx.Response:
        able = {"engine": "espresso", "environ": True, "files_sha256": files}
        request = {"max_tasks": most, "capabilities": able}
        return (worker or self.worker).post(LEASE, json=request).raise_for_status()

    def compute(
        self,
        version: str = "7.2",
        most: int = 100,
        worker: httpx.Client | None = None,
        files: str | None = "same",
    ) -> list[int]:
        """Take a lease, with files of this hash, and report all of its tasks; return them."""
        leased = self.ask(most, files, worker)
        if leased.status_code == 204:
            return []
        self.report(leased.json(), version, worker)
        return [task["index"] for task in leased.json()["tasks"]]

    def report(self, lease: Json, version: str = "7.2", worker: httpx.Client | None = None) -> None:
        """Report all tasks of a lease."""
        reports = []
        for task in lease["tasks"]:
            payload = JobPayload(**lease["payload"])
            report = self.engine.run(
                payload, Task.from_json(task), job_id=lease["job_id"], stop=Event()
            ).model_dump()
            report["fingerprint"] |= {
                "engine": "espresso",
                "engine_version": version,
                "pseudopotentials": {"H.pbe-kjpaw.UPF": "0" * 64},
            }
            if payload.use_environ:
                given = payload.environ and EnvironInput.parse(payload.environ).physics_hash()
                report["fingerprint"]["environ"] = environ_mark("3", given or "1" * 64)
            reports.append(report)
        (worker or self.worker).post(
            f"/calc/zpe/compute/jobs/{lease['job_id']}/tasks",
            json={"lease_id": lease["lease_id"], "reports": reports},
        ).raise_for_status()


@pytest.fixture(scope="module")
def plane_settings() -> dict[str, object]:
    return {"ZPE_DEFAULT_ENGINE": "espresso"}


# One worker for all: with several, each would get only its share of a job.
@pytest.fixture(scope="module")
def lab(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Any:
    found = Lab(control_plane, tmp_path_factory.mktemp("lab"))
    yield found
    for client in [found.worker, *found.people.values()]:
        client.close()


def test_the_same_job_again_takes_no_scf_and_gives_the_same_result(lab: Lab) -> None:
    first = lab.submit("ann")
    assert len(lab.compute()) == 13
    again = lab.submit("ann")
    status = lab.status("ann", again)
    assert (status["status"], status["progress"]["reused"]) == ("finished", 13)
    results = [lab("ann").get(f"{JOBS}/{job}/result").json()["result"] for job in (first, again)]
    assert results[0]["freqs_cm"] == results[1]["freqs_cm"]
    assert all(task["reused"] for task in results[1]["tasks"])
    assert "13 taken over from earlier jobs" in lab("ann").get(f"{JOBS}/{again}/files?kind=summary").text
    fresh = lab.submit("ann", calc_mode="new")
    assert lab.status("ann", fresh)["status"] == "queued"
    assert len(lab.compute()) == 13


def test_after_a_change_of_the_machines_files_one_scf_shows_whether_the_others_still_hold(lab: Lab) -> None:
    lab.submit("hal")
    assert len(lab.compute()) == 13
    # Asking for work is enough to tell of the change, whether or not there is any.
    lab.ask(1, "another UPF")
    again = lab.submit("hal")
    assert lab.status("hal", again)["status"] == "queued"
    # The new file is of another element: the same program, the same files of this job.
    assert lab.compute(files="another UPF") == [0]
    status = lab.status("hal", again)
    assert (status["status"], status["progress"]["reused"]) == ("finished", 12)
    # That worker has shown it now.
    assert lab.status("hal", lab.submit("hal"))["status"] == "finished"
    # An upgraded pw.x computes everything anew.
    lab.ask(1, "another pw.x")
    upgraded = lab.submit("hal")
    assert lab.compute(version="7.5", files="another pw.x") == [0]
    assert lab.status("hal", upgraded)["status"] == "queued"
    assert len(lab.compute(version="7.5", files="another pw.x")) == 12
    assert lab.status("hal", upgraded)["progress"]["reused"] == 0


def test_a_worker_that_tells_nothing_of_its_files_shows_nothing(lab: Lab) -> None:
    lab.submit("ida")
    assert len(lab.compute(files=None)) == 13
    again = lab.submit("ida")
    assert lab.status("ida", again)["status"] == "queued"
    assert lab.compute(files=None) == [0]
    assert lab.status("ida", again)["progress"]["reused"] == 12


WATER = "&ENVIRON\n environ_type = 'water'\n/\n&BOUNDARY\n/\n"


def test_scfs_in_another_solvent_are_not_taken_over(lab: Lab) -> None:
    able = {"engine": "espresso", "environ": True, "environ_input": True}
    lab.submit("jon", environ=WATER)
    # A worker that does not know of such inputs would compute with its own.
    assert lab.compute() == []
    leased = lab.worker.post(LEASE, json={"max_tasks": 100, "capabilities": able}).raise_for_status().json()
    assert leased["payload"]["environ"] == WATER
    assert leased["payload"]["use_environ"]
    lab.report(leased)
    for environ, known in ((WATER.replace("water", "vacuum"), 0), ("! the same\n" + WATER, 12)):
        job = lab.submit("jon", environ=environ)
        leased = (
            lab.worker.post(LEASE, json={"max_tasks": 100, "capabilities": able}).raise_for_status().json()
        )
        assert leased["job_id"] == job
        assert len(leased["tasks"]) == 13 - known
        lab.report(leased)
    bad = lab("jon").post(JOBS, json={"content": h2(), "environ": WATER.replace("_type", "_typ")})
    assert bad.status_code == 400
    assert "environ_type?" in bad.json()["detail"]


def test_another_mobile_atom_runs_only_what_is_new(lab: Lab) -> None:
    lab.submit("bob", mobile_indices=[0])
    assert len(lab.compute()) == 7
    more = lab.submit("bob", mobile_indices=[0, 1])
    assert lab.status("bob", more)["progress"]["total"] == 13
    # The equilibrium and the first atom's displacements are known.
    assert lab.compute() == lab.tasks_of("bob", more, atom=1)
    status = lab.status("bob", more)
    assert (status["status"], status["progress"]["reused"]) == ("finished", 7)


def test_forces_of_another_pw_are_computed_again_rather_than_mixed(lab: Lab) -> None:
    lab.submit("carol", mobile_indices=[0])
    lab.compute(version="6.7")
    more = lab.submit("carol", mobile_indices=[0, 1])
    assert lab.compute(version="7.2") == lab.tasks_of("carol", more, atom=1)
    assert lab.status("carol", more)["status"] == "queued"
    assert lab.compute(version="7.2") == [0, *lab.tasks_of("carol", more, atom=0)]
    status = lab.status("carol", more)
    assert (status["status"], status["progress"]["reused"]) == ("finished", 0)


def test_forces_of_a_version_that_a_job_may_not_have_are_not_taken_over(lab: Lab) -> None:
    lab.submit("gus", mobile_indices=[0])
    lab.compute(version="6.7MaX")
    newer = lab.submit("gus", mobile_indices=[0], requires={"pw": ">=7.1"})
    assert lab.status("gus", newer)["status"] == "queued"
    assert len(lab.compute(version="7.2")) == 7
    assert lab.status("gus", newer)["progress"]["reused"] == 0
    old = lab.submit("gus", mobile_indices=[0], requires={"pw": "<7"})
    assert lab.status("gus", old)["progress"]["reused"] == 7


def test_what_differs_in_physics_or_owner_is_not_taken_over(lab: Lab) -> None:
    lab.submit("dora")
    lab.compute()
    for owner, change in (
        ("eve", {}),
        ("dora", {"content": h2().replace("20.0", "25.0")}),
        ("dora", {"content": h2().replace("0.75", "0.7534")}),
        ("dora", {"delta": 0.02, "mobile_indices": [0]}),
        ("dora", {"use_environ": True}),
    ):
        job = lab.submit(owner, **change)
        status = lab.status(owner, job)
        assert status["status"] == "queued", change
        done = len(lab.compute())
        # The equilibrium alone does not depend on the displacement.
        assert done == status["progress"]["total"] - (1 if "delta" in change else 0), change


def test_a_worker_of_whole_jobs_computes_all_of_a_job_that_is_partly_known(lab: Lab) -> None:
    lab.submit("gil", mobile_indices=[0])
    lab.compute()
    lab.submit("gil", mobile_indices=[0, 1])
    whole = lab.worker.post(LEASE, json={}).json()
    assert [task["index"] for task in whole["tasks"]] == list(range(13))
    result = {"freqs_cm": [0.0] * 5 + [4400.0], "zpe_ev": 0.2728, "s_vib_jmol_k": 0, "mobile_indices": [0, 1]}
    done = {"result": result, "summary_text": "s", "freqs_csv": "f"}
    body = done | {"lease_id": whole["lease_id"]}
    lab.worker.post(f"/calc/zpe/compute/jobs/{whole['job_id']}/result", json=body).raise_for_status()
    assert lab.status("gil", whole["job_id"])["status"] == "finished"


def test_springs_never_pass_for_an_scf(lab: Lab) -> None:
    job = lab.submit("fay")
    lease = lab.worker.post(LEASE, json={"max_tasks": 100}).json()
    payload = JobPayload(**lease["payload"])
    reports = [
        lab.engine.run(payload, Task.from_json(task), job_id=job, stop=Event()).model_dump()
        for task in lease["tasks"]
    ]
    body = {"lease_id": lease["lease_id"], "reports": reports}
    path = f"/calc/zpe/compute/jobs/{job}/tasks"
    reply = lab.worker.post(path, json=body).raise_for_status().json()
    assert (reply["accepted"], reply["reason"]) == ([], "wrong_engine")
    assert "mock 1 instead of espresso" in lab.status("fay", job)["detail"]
    lab("fay").post(f"{JOBS}/{job}/cancel").raise_for_status()
    # Where a job asks for springs they are taken, but not over into a later job.
    job = lab.submit("fay", engine="mock")
    lease = lab.worker.post(LEASE, json={"max_tasks": 100}).json()
    body["lease_id"] = lease["lease_id"]
    lab.worker.post(f"/calc/zpe/compute/jobs/{job}/tasks", json=body).raise_for_status()
    assert lab.status("fay", job)["status"] == "finished"
    again = lab.submit("fay", engine="mock")
    assert lab.status("fay", again)["status"] == "queued"
    lab("fay").post(f"{JOBS}/{again}/cancel").raise_for_status()


def test_what_a_worker_computed_can_be_taken_back_with_it(lab: Lab) -> None:
    enrolled = lab.plane.register(name="broken")
    admin = lab.plane.api()
    scfs = "/calc/zpe/admin/scfs"
    with admin, lab.plane.api(enrolled["worker_token"]) as broken:
        before = admin.get(scfs).json()["total"]
        finished = lab.submit("leo", mobile_indices=[0])
        while lab.compute(worker=broken):
            pass
        reused = lab.submit("leo", mobile_indices=[0], low_cut_cm=10)
        status = lab.status("leo", reused)
        assert status["status"] == "finished"
        assert status["zpe_ev"] == lab("leo").get(f"{JOBS}/{reused}/result").json()["result"]["zpe_ev"]
        half = lab.submit("leo", delta=0.02, calc_mode="new")
        taken = lab.compute(worker=broken, most=2)
        assert taken
        untouched = lab.submit("kim", mobile_indices=[1])
        kept = admin.get(scfs, params={"worker": "broken"}).json()["scfs"]
        assert {group["server_id"] for group in kept} == {enrolled["server_id"]}
        assert sum(group["count"] for group in kept) == 7 + len(taken) - 1  # the equilibrium is the same
        assert admin.delete(scfs).json()["error"]["code"] == "bad_selection"

        path = f"/calc/zpe/compute/servers/{enrolled['server_id']}"
        reply = admin.delete(path, params={"and_its_results": True}).raise_for_status().json()
        assert (reply["jobs_reopened"], reply["jobs_marked"]) == (1, 2)
        assert reply["scfs_dropped"] == 7 + len(taken) - 1
        again = admin.delete(path, params={"and_its_results": True}).raise_for_status().json()
        assert (again["jobs_reopened"], again["jobs_marked"], again["scfs_dropped"]) == (0, 0, 0)
        assert admin.get(scfs).json()["total"] == before
        [entry, *_] = admin.get("/calc/zpe/admin/audit").json()["entries"]
        assert (entry["what"], entry["subject"]) == ("worker revoked with its results", enrolled["server_id"])

    for job in (finished, reused):
        status = lab.status("leo", job)
        assert (status["status"], status["taken_back"]) == ("finished", ["broken"])
        assert status["zpe_ev"] is None
        assert "from broken, revoked" in status["detail"]
        result = lab("leo").get(f"{JOBS}/{job}/result").json()["result"]
        assert "from broken, revoked" in result["warnings"][0]
        assert "NOT TO BE TRUSTED" in lab("leo").get(f"{JOBS}/{job}/files?kind=summary").text
    assert lab.status("leo", half)["progress"]["done"] == 0
    assert lab.status("kim", untouched)["taken_back"] == []
    # Another pw.x may take up the job now: what had decided its physics is gone.
    while lab.compute(version="6.7"):
        pass
    status = lab.status("leo", half)
    assert (status["status"], status["taken_back"]) == ("finished", [])
    # Nothing is left of it for a later job.
    assert lab.status("leo", lab.submit("leo", mobile_indices=[0], low_cut_cm=20))["progress"]["reused"] == 0
