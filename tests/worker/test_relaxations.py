"""Relaxations on worker processes that are killed, cut off and cancelled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.processes import ControlPlane, Process, h2, wait_until

JOBS = "/calc/zpe/jobs"
STEPS = 8  # of the springs' relaxation of H2
NAMES = ("one", "two", "three", "four")


@pytest.fixture(scope="module")
def plane_settings() -> dict[str, object]:
    return {"ZPE_LEASE_TTL_SECONDS": 5, "ZPE_RETRY_BASE_DELAY_SECONDS": 0.05}


def submit(plane: ControlPlane, **more: Any) -> str:
    with plane.api() as api:
        reply = api.post(JOBS, json={"content": h2(), **more}).raise_for_status()
        return str(reply.json()["job_id"])


def status(plane: ControlPlane, job_id: str) -> dict[str, Any]:
    with plane.api() as api:
        return dict(api.get(f"{JOBS}/{job_id}").raise_for_status().json())


def result(plane: ControlPlane, job_id: str) -> dict[str, Any]:
    with plane.api() as api:
        return dict(api.get(f"{JOBS}/{job_id}/result").raise_for_status().json()["result"])


def steps(plane: ControlPlane, job_id: str) -> int:
    return int(status(plane, job_id)["ionic_step"] or 0)


def start(plane: ControlPlane, name: str, seconds: float) -> Process:
    """Start a worker of which each SCF takes so long."""
    mock_log = plane.folder / "mock.log"
    return plane.worker(name, ZPE_MOCK_SCF_SECONDS=seconds, ZPE_MOCK_LOG=mock_log, ZPE_SLOTS=1)


def computed(plane: ControlPlane, job_id: str) -> Counter[str]:
    """How often workers have computed each step, by their own account."""
    lines = (plane.folder / "mock.log").read_text().splitlines()
    return Counter(line.split()[1] for line in lines if line.startswith(job_id) and "step" in line)


def until_over(plane: ControlPlane, job_id: str) -> dict[str, Any]:
    wait_until(lambda: status(plane, job_id)["status"] in ("finished", "failed", "cancelled"))
    return status(plane, job_id)


def test_a_job_relaxes_first_and_says_how_far_it_is(own_control_plane: Callable[..., ControlPlane]) -> None:
    plane = own_control_plane()
    job_id = submit(plane, relax=True)
    start(plane, "one", 0.0)
    found = until_over(plane, job_id)
    assert (found["status"], found["stage"], found["ionic_step"]) == ("finished", "vibrations", STEPS)
    document = result(plane, job_id)
    distance = np.linalg.norm(np.subtract(*document["positions"]))
    assert distance == pytest.approx(0.62, abs=1e-3)  # twice the covalent radius, which the springs want
    assert document["max_force_ev_ang"] < 1e-6  # the displacements start from rest


def test_a_relaxation_that_is_killed_three_times_goes_on_where_it_was(
    own_control_plane: Callable[..., ControlPlane],
) -> None:
    plane = own_control_plane(ZPE_LEASE_TTL_SECONDS=3, ZPE_RETRY_BASE_DELAY_SECONDS=0.05)
    undisturbed = submit(plane, kind="relax")
    start(plane, "quick", 0.0)
    until_over(plane, undisturbed)
    plane.workers[0].kill()
    plane.workers[0].wait()
    job_id = submit(plane, kind="relax")
    for name in NAMES[:3]:
        before = steps(plane, job_id)
        worker = start(plane, name, 1.0)
        wait_until(lambda before=before: steps(plane, job_id) > before)  # type: ignore[misc]
        worker.kill()
        worker.wait()
    start(plane, NAMES[3], 0.0)
    assert until_over(plane, job_id)["status"] == "finished"
    one, other = result(plane, undisturbed), result(plane, job_id)
    np.testing.assert_allclose(one["positions"], other["positions"], atol=1e-9)
    assert len(other["relaxation"]["steps"]) == STEPS
    assert len({run["worker"] for run in other["tasks"]}) >= 2
    again = computed(plane, job_id)
    assert set(again) == {f"step{n}" for n in range(STEPS)}
    # A step may be lost between its end and the moment at which the control plane has it, once for each kill.
    assert sum(again.values()) - STEPS <= 3


def test_steps_taken_while_the_control_plane_was_away_are_not_lost(
    own_control_plane: Callable[..., ControlPlane],
) -> None:
    plane = own_control_plane(ZPE_LEASE_TTL_SECONDS=3, ZPE_RETRY_BASE_DELAY_SECONDS=0.05)
    job_id = submit(plane, kind="relax")
    start(plane, "one", 0.5)
    wait_until(lambda: steps(plane, job_id) >= 1)
    plane.kill()
    wait_until(lambda: computed(plane, job_id)["step4"] == 1)
    plane.start()
    assert until_over(plane, job_id)["status"] == "finished"
    assert max(computed(plane, job_id).values()) == 1


def test_a_cancelled_relaxation_stops(own_control_plane: Callable[..., ControlPlane]) -> None:
    plane = own_control_plane()
    job_id = submit(plane, kind="relax")
    start(plane, "one", 3600.0)
    wait_until(lambda: status(plane, job_id)["status"] == "started")
    with plane.api() as api:
        api.post(f"{JOBS}/{job_id}/cancel").raise_for_status()
    following = submit(plane, kind="energy")
    wait_until(lambda: status(plane, following)["status"] == "started")  # the only slot is free again


def test_a_worker_that_stops_hands_its_relaxation_over(
    own_control_plane: Callable[..., ControlPlane],
) -> None:
    plane = own_control_plane()
    job_id = submit(plane, kind="relax")
    worker = start(plane, "one", 1.0)
    wait_until(lambda: steps(plane, job_id) >= 2)
    worker.terminate()
    assert worker.wait() == 0
    start(plane, "two", 0.0)
    assert until_over(plane, job_id)["status"] == "finished"
    with plane.api() as api:
        detail = api.get(f"{JOBS}/{job_id}/detail").raise_for_status().json()
    assert [event["what"] for event in detail["history"] if event["what"] in ("failed", "expired")] == []


def test_the_mock_mode_relaxes(own_control_plane: Callable[..., ControlPlane]) -> None:
    plane = own_control_plane(ZPE_COMPUTE_MODE="mock")
    job_id = submit(plane, relax={"fmax": 0.05})
    assert until_over(plane, job_id)["status"] == "finished"
    document = result(plane, job_id)
    assert 1 < len(document["relaxation"]["steps"]) < STEPS
    assert document["relaxation"]["steps"][-1]["max_force_ev_ang"] < 0.05
