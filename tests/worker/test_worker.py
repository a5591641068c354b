"""Worker processes and a control plane process: what happens to jobs when things go wrong."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.processes import PATIENCE, Process, environment, h2, wait_until
from tests.processes import ControlPlane as Plane
from zpe_sdk.worker.settings import WorkerSettings

ALL = set(range(13))  # the equilibrium and six displacements of each atom
NEVER = 3600.0
LEASE_SECONDS = 12.0  # of several heartbeats; a busy machine may be late with one


@pytest.fixture(scope="module")
def plane_settings() -> dict[str, object]:
    return {
        "ZPE_LEASE_TTL_SECONDS": LEASE_SECONDS,
        "ZPE_RETRY_BASE_DELAY_SECONDS": 0.05,
        "ZPE_RETRY_MAX": 2,
    }


@pytest.fixture
def plane(control_plane: Plane) -> Iterator[Plane]:
    """The module's control plane; whatever a test leaves running on it is ended."""
    for file in control_plane.folder.glob("*/worker.log"):
        file.unlink()
    yield control_plane
    for process in control_plane.workers:
        process.kill()
        process.wait()
    control_plane.workers.clear()
    with control_plane.api() as api:
        for job in api.get("/calc/zpe/jobs?limit=100").json()["jobs"]:
            api.post(f"/calc/zpe/jobs/{job['job_id']}/cancel")


def submit(plane: Plane, title: str = "") -> str:
    with plane.api() as api:
        request = {"content": h2(title), "symmetry": False, "calc_mode": "new"}
        return str(api.post("/calc/zpe/jobs", json=request).raise_for_status().json()["job_id"])


def status(plane: Plane, job_id: str) -> dict[str, Any]:
    with plane.api() as api:
        return dict(api.get(f"/calc/zpe/jobs/{job_id}").raise_for_status().json())


def detail(plane: Plane, job_id: str) -> dict[str, Any]:
    with plane.api() as api:
        return dict(api.get(f"/calc/zpe/jobs/{job_id}/detail").raise_for_status().json())


def leases(plane: Plane) -> list[dict[str, Any]]:
    with plane.api() as api:
        return list(api.get("/calc/zpe/compute/leases").raise_for_status().json()["leases"])


def until_over(plane: Plane, job_id: str, wanted: str = "finished") -> dict[str, Any]:
    def over() -> bool:
        return status(plane, job_id)["status"] in ("finished", "failed", "cancelled")

    wait_until(over)
    found = status(plane, job_id)
    assert found["status"] == wanted, found
    return found


def computed(plane: Plane, job_id: str, name: str = "worker") -> Counter[int]:
    """How often the workers have computed each task, by their own account."""
    log = plane.folder / name / "mock.log"
    lines = log.read_text().splitlines() if log.exists() else []
    return Counter(int(line.split()[1]) for line in lines if line.startswith(job_id))


def acknowledged(plane: Plane, job_id: str) -> set[int]:
    return {task["index"] for task in detail(plane, job_id)["tasks"] if task["state"] == "done"}


def start(plane: Plane, name: str = "worker", scf_seconds: float = 0.0, **settings: object) -> Process:
    defaults = {"ZPE_MOCK_LOG": plane.folder / name / "mock.log", "ZPE_SLOTS": 2}
    return plane.worker(name, ZPE_MOCK_SCF_SECONDS=scf_seconds, **(defaults | settings))


def log(plane: Plane, name: str = "worker") -> str:
    return (plane.folder / name / "worker.log").read_text()


def test_a_job_is_computed_once_and_its_worker_keeps_nothing(plane: Plane) -> None:
    job_id = submit(plane)
    worker = start(plane, ZPE_DRAIN=1)
    assert worker.wait() == 0  # no work left
    until_over(plane, job_id)
    assert computed(plane, job_id) == dict.fromkeys(ALL, 1)
    folder = plane.folder / "worker"
    assert not list((folder / "outbox").glob("*.json"))
    assert not list((folder / "leases").iterdir())
    assert leases(plane) == []


def test_two_workers_share_a_job_without_doing_anything_twice(plane: Plane) -> None:
    workers = [start(plane, name, scf_seconds=1.0) for name in ("one", "two")]
    wait_until(lambda: all("worker starts" in log(plane, name) for name in ("one", "two")))
    job_id = submit(plane)
    until_over(plane, job_id)
    one, two = (computed(plane, job_id, name) for name in ("one", "two"))
    assert one + two == dict.fromkeys(ALL, 1)
    assert one
    assert two
    assert all(worker.poll() is None for worker in workers)


def test_a_killed_worker_loses_nothing_and_repeats_nothing_that_was_heard(
    own_control_plane: Callable[..., Plane],
) -> None:
    plane = own_control_plane(ZPE_LEASE_TTL_SECONDS=3600, ZPE_RETRY_BASE_DELAY_SECONDS=0.05)
    job_id = submit(plane)
    worker = start(plane, scf_seconds=1.5)

    def at_work() -> bool:
        """It has been heard, holds more than it runs, and its two SCFs will not end just now."""
        for path in (plane.folder / "worker" / "leases").glob("*.json"):
            with contextlib.suppress(FileNotFoundError):  # that lease is over
                begun, note = path.stat().st_mtime, json.loads(path.read_text())
                if len(note["running"]) == 2 and time.time() - begun < 0.7:
                    held = sum(len(lease["tasks"]) for lease in leases(plane))
                    return held > 2 and len(acknowledged(plane, job_id)) >= 2
        return False

    wait_until(at_work)
    worker.kill()
    worker.wait()
    heard = acknowledged(plane, job_id)
    assert heard < ALL
    start(plane)
    until_over(plane, job_id)
    counts = computed(plane, job_id)
    assert set(counts) == ALL
    assert {counts[task] for task in heard} == {1}
    # It found in its own folder what it had held, and did not wait for its leases to expire. Only the SCFs
    # that ran when it was killed count as an attempt.
    history = detail(plane, job_id)["history"]
    assert {event["what"] for event in history} == {"failed", "released"}
    assert {event["code"] for event in history if event["what"] == "failed"} == {"worker_died"}
    assert sum(len(event["tasks"]) for event in history if event["what"] == "failed") <= 2


def test_a_worker_told_to_stop_hands_its_tasks_back_and_nothing_counts_as_failed(plane: Plane) -> None:
    job_id = submit(plane)
    worker = start(plane, scf_seconds=NEVER)
    wait_until(lambda: bool(leases(plane)))
    worker.terminate()
    assert worker.wait() == 0
    assert leases(plane) == []
    found = detail(plane, job_id)
    assert found["job"]["status"] == "queued"
    assert [task["attempts"] for task in found["tasks"]] == [0] * len(ALL)
    start(plane)
    until_over(plane, job_id)


def test_a_second_signal_ends_at_once_and_the_next_start_hands_back(plane: Plane) -> None:
    job_id = submit(plane)
    worker = start(plane, scf_seconds=NEVER)
    wait_until(lambda: bool(leases(plane)))
    worker.send_signal(signal.SIGINT)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait() == 128 + signal.SIGTERM
    start(plane)
    until_over(plane, job_id)


def undelivered(plane: Plane) -> int:
    return len(list((plane.folder / "worker" / "outbox").glob("*.json")))


def test_a_worker_outlives_its_control_plane_and_delivers_later(plane: Plane) -> None:
    job_id = submit(plane)
    worker = start(plane, scf_seconds=0.3)
    wait_until(lambda: len(acknowledged(plane, job_id)) >= 3)
    plane.kill()
    wait_until(lambda: undelivered(plane) >= 2)
    plane.start()
    until_over(plane, job_id)
    assert worker.poll() is None
    assert computed(plane, job_id) == dict.fromkeys(ALL, 1)
    assert log(plane).count("is away") == 1
    assert log(plane).count("is back") == 1


def test_results_that_could_not_be_delivered_survive_a_restart(plane: Plane) -> None:
    job_id = submit(plane)
    worker = start(plane, scf_seconds=0.3)
    wait_until(lambda: len(acknowledged(plane, job_id)) >= 3)
    plane.kill()
    wait_until(lambda: undelivered(plane) >= 2)
    worker.terminate()
    assert worker.wait() == 0
    assert "not delivered yet" in log(plane)
    kept = undelivered(plane)
    start(plane)
    wait_until(lambda: "messages of an earlier process" in log(plane))
    assert undelivered(plane) == kept
    plane.start()
    until_over(plane, job_id)
    assert computed(plane, job_id) == dict.fromkeys(ALL, 1)


def test_a_cancelled_job_frees_its_worker(plane: Plane) -> None:
    job_id = submit(plane)
    start(plane, scf_seconds=NEVER)
    wait_until(lambda: bool(leases(plane)))
    with plane.api() as api:
        api.post(f"/calc/zpe/jobs/{job_id}/cancel").raise_for_status()
    wait_until(lambda: log(plane).count("SCF stopped") == 2)
    assert leases(plane) == []
    submit(plane)
    wait_until(lambda: bool(leases(plane)))
    assert computed(plane, job_id) == {}


def test_a_long_scf_keeps_its_lease(plane: Plane) -> None:
    job_id = submit(plane)
    start(plane, scf_seconds=1.5 * LEASE_SECONDS, ZPE_SLOTS=16)
    until_over(plane, job_id)
    assert [event["what"] for event in detail(plane, job_id)["history"]] == []
    assert computed(plane, job_id) == dict.fromkeys(ALL, 1)


def test_what_runs_under_a_lost_lease_goes_on_under_the_next(plane: Plane) -> None:
    job_id = submit(plane)
    start(plane, scf_seconds=10, ZPE_SLOTS=16)
    wait_until(lambda: sum(len(lease["tasks"]) for lease in leases(plane)) == len(ALL))
    with plane.api() as api:
        for lease in leases(plane):
            api.delete(f"/calc/zpe/compute/leases/{lease['lease_id']}").raise_for_status()
    until_over(plane, job_id)
    assert log(plane).count("work taken") > 1
    assert log(plane).count("SCF stopped") == 0
    assert computed(plane, job_id) == dict.fromkeys(ALL, 1)


def test_a_failed_scf_is_tried_again_and_the_others_are_kept(plane: Plane) -> None:
    once = submit(plane, "mock: fail=scf_not_converged task=3 times=2")
    always = submit(plane, "mock: fail=out_of_memory task=4 times=always")
    bad = submit(plane, "mock: fail=bad_input")
    unfit = submit(plane, "mock: fail=pseudopotential_missing")
    start(plane)
    until_over(plane, once)
    assert computed(plane, once) == dict.fromkeys(ALL, 1)
    failures = [e for e in detail(plane, once)["history"] if e["what"] == "failed"]
    assert [event["code"] for event in failures] == ["scf_not_converged"] * 2
    assert "Traceback" in failures[0]["traceback"]

    assert until_over(plane, always, "failed")["error"]["code"] == "out_of_memory"
    assert computed(plane, always) == dict.fromkeys(ALL - {4}, 1)
    found = until_over(plane, bad, "failed")
    assert (found["error"]["side"], found["error"]["code"]) == ("input", "bad_input")
    # What one machine lacks another may have: the job waits and says for what.
    wait_until(lambda: "waiting for a worker" in (status(plane, unfit)["detail"] or ""))
    assert status(plane, unfit)["status"] == "queued"


def test_a_revoked_worker_says_so_and_ends(plane: Plane) -> None:
    job_id = submit(plane)
    worker = start(plane, scf_seconds=NEVER)
    wait_until(lambda: bool(leases(plane)))
    with plane.api() as api:
        server_id = leases(plane)[0]["server_id"]
        api.delete(f"/calc/zpe/compute/servers/{server_id}").raise_for_status()
    assert worker.wait() == 1
    assert "[auth/worker_revoked]" in log(plane)
    assert status(plane, job_id)["status"] == "queued"
    (plane.folder / "worker" / "identity.json").unlink()


def test_wall_time_ends_a_worker_without_a_failure(plane: Plane) -> None:
    job_id = submit(plane)
    worker = start(plane, scf_seconds=4, ZPE_MAX_SECONDS=15)
    assert worker.wait() == 0
    assert leases(plane) == []
    found = detail(plane, job_id)
    assert found["job"]["status"] == "queued"
    assert 0 < found["job"]["progress"]["done"] < len(ALL)
    assert sum(task["attempts"] for task in found["tasks"]) == 0
    # Nothing was begun that was then thrown away.
    assert computed(plane, job_id) == dict.fromkeys(acknowledged(plane, job_id), 1)


def test_the_end_of_the_wall_time_is_a_time_of_the_clock(plane: Plane) -> None:
    later = time.time() + 1000
    assert 900 < (WorkerSettings(ends_at=later).seconds_left() or 0) <= 1000
    assert WorkerSettings(ends_at=later, max_seconds=100).seconds_left() == 100
    assert WorkerSettings().seconds_left() is None
    # One whose time was over before it had started begins nothing.
    job_id = submit(plane)
    assert start(plane, scf_seconds=NEVER, ZPE_ENDS_AT=time.time()).wait() == 0
    found = detail(plane, job_id)
    assert (found["job"]["status"], found["job"]["progress"]["done"]) == ("queued", 0)
    assert sum(task["attempts"] for task in found["tasks"]) == 0


def test_the_first_batch_job_enrols_and_later_ones_do_without_the_token(plane: Plane, tmp_path: Path) -> None:
    squeue = tmp_path / "squeue"  # the end of the walltime, as Slurm tells it
    squeue.write_text("#!/bin/sh\ndate -d '+10 minutes' +%Y-%m-%dT%H:%M:%S\n")
    squeue.chmod(0o700)
    token = tmp_path / "enroll-token"
    token.write_text(plane.enroll_token())
    settings = {
        "ZPE_CONTROL_API_URL": plane.url,
        "ZPE_ENROLL_FILE": token,
        "ZPE_WORKER_MODE": "mock",
        "ZPE_WORK_DIR": tmp_path / "work",
    }
    (tmp_path / "compute.env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    script = Path(__file__).parents[2] / "deploy/slurm/zpe-worker.sbatch"
    env = environment(ZPE_ENV_FILE=tmp_path / "compute.env", ZPE_PYTHON=sys.executable, SLURM_JOB_ID=1)
    env["PATH"] = f"{tmp_path}:{env['PATH']}"
    for _ in range(2):
        job_id = submit(plane)
        subprocess.run(["bash", script], env=env, check=True, timeout=PATIENCE)
        until_over(plane, job_id)
        token.unlink(missing_ok=True)


def test_no_new_work_for_a_worker_that_an_administrator_drains(plane: Plane) -> None:
    start(plane)
    wait_until(lambda: "worker starts" in log(plane))
    with plane.api() as api:
        # Those of other tests are in the list too.
        server_id = json.loads((plane.folder / "worker" / "identity.json").read_text())["server_id"]
        drain = f"/calc/zpe/compute/servers/{server_id}/drain"
        api.post(drain, json={"drain": True}).raise_for_status()
        wait_until(lambda: "no new work here" in log(plane))
        job_id = submit(plane)
        assert leases(plane) == []
        assert status(plane, job_id)["status"] == "queued"
        api.post(drain, json={"drain": False}).raise_for_status()
    until_over(plane, job_id)


def test_no_token_reaches_a_log(plane: Plane) -> None:
    enroll_token = plane.enroll_token()
    worker = start(plane, "secretive", ZPE_ENROLL_TOKEN=enroll_token, ZPE_DRAIN=1, ZPE_LOG_LEVEL="DEBUG")
    assert worker.wait() == 0
    identity = (plane.folder / "secretive" / "identity.json").read_text()
    worker_token = identity.split('"worker_token":"')[1].split('"')[0]
    assert "enrolled" in log(plane, "secretive")
    assert enroll_token not in log(plane, "secretive")
    assert worker_token not in log(plane, "secretive")
    assert enroll_token not in identity


def test_a_wrong_setting_ends_a_worker_with_one_line(plane: Plane) -> None:
    wrong: dict[str, dict[str, object]] = {
        "[config/insecure_url]": {"ZPE_CONTROL_API_URL": "http://zpe.example.org"},
        "ZPE_SLOTS: Input should be 'auto' or a whole number from 1 to 4096": {"ZPE_SLOTS": 0},
        "ZPE_LOG_LEVEL: Input should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'": {"ZPE_LOG_LEVEL": "LOUD"},
        "[auth/bad_token]": {"ZPE_WORKER_TOKEN": "zpew_of-nobody-at-all-0000000"},
        "[config/pw_not_found]": {"ZPE_WORKER_MODE": "qe", "ZPE_PW_PATH": "/nowhere/pw.x"},
    }
    workers = [start(plane, f"wrong{i}", **settings) for i, settings in enumerate(wrong.values())]
    for i, (worker, said) in enumerate(zip(workers, wrong, strict=True)):
        assert worker.wait() == 1
        last = log(plane, f"wrong{i}").splitlines()[-1]
        assert last.startswith("zpe worker: ")
        assert said in last
        assert "Traceback" not in log(plane, f"wrong{i}")


def test_another_service_is_not_taken_for_a_control_plane(plane: Plane) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as other:
        Thread(target=other.serve_forever).start()
        worker = start(plane, "lost", ZPE_CONTROL_API_URL=f"http://127.0.0.1:{other.server_port}")
        code = worker.wait()
        other.shutdown()
    assert code == 1
    assert "[config/not_a_control_plane]" in log(plane, "lost")
