"""Slots of a worker and what takes them: large SCFs, and few SCFs on many slots."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

from tests.processes import ControlPlane, Process, environment, h2, wait_until

NEVER = 3600.0

# An engine whose SCFs take as many slots as the environment says, and that notes how many they were given.
SCRIPT = """
import os
from zpe_sdk.worker.command import run
from zpe_sdk.worker.engines.mock import MockEngine
from zpe_sdk.worker.settings import WorkerSettings

FEWEST, MOST = int(os.environ["FEWEST"]), int(os.environ["MOST"])


class Engine(MockEngine):
    def slots_for(self, payload):
        return FEWEST, MOST

    def run(self, payload, task, *, job_id, stop, slots=None, on_iteration=None):
        with open(os.environ["GIVEN"], "a") as given:
            given.write(f"{slots}\\n")
        return super().run(payload, task, job_id=job_id, stop=stop)


settings = WorkerSettings()
raise SystemExit(run(settings, Engine(settings)))
"""


def start(
    plane: ControlPlane, name: str, *, fewest: int, most: int, slots: int, scf_seconds: float, drain: bool
) -> Process:
    folder = plane.folder / name
    folder.mkdir()
    (folder / "worker.py").write_text(SCRIPT)
    variables = environment(
        ZPE_CONTROL_API_URL=plane.url,
        ZPE_ENROLL_TOKEN=plane.enroll_token(),
        ZPE_WORKER_NAME=name,
        ZPE_WORKER_MODE="mock",
        ZPE_WORK_DIR=folder,
        ZPE_SLOTS=slots,
        ZPE_MOCK_SCF_SECONDS=scf_seconds,
        **({"ZPE_DRAIN": 1} if drain else {}),
        FEWEST=fewest,
        MOST=most,
        GIVEN=folder / "given",
    )
    process = Process([sys.executable, folder / "worker.py"], folder / "worker.log", env=variables)
    plane.workers.append(process)
    return process


def given(plane: ControlPlane, name: str) -> list[int]:
    path: Path = plane.folder / name / "given"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def submit(plane: ControlPlane, *, symmetry: bool) -> str:
    with plane.api() as api:
        request = {"content": h2(), "symmetry": symmetry, "calc_mode": "new"}
        return str(api.post("/calc/zpe/jobs", json=request).raise_for_status().json()["job_id"])


def leases(plane: ControlPlane) -> dict[str, list[int]]:
    """Tasks of each lease, by worker."""
    with plane.api() as api:
        found: list[dict[str, Any]] = api.get("/calc/zpe/compute/leases").raise_for_status().json()["leases"]
    return {lease["worker"]: lease["tasks"] for lease in found}


def detail(plane: ControlPlane, job_id: str) -> dict[str, Any]:
    with plane.api() as api:
        return dict(api.get(f"/calc/zpe/jobs/{job_id}/detail").raise_for_status().json())


def test_few_scfs_share_all_slots_and_many_do_not(control_plane: ControlPlane) -> None:
    few = submit(control_plane, symmetry=True)
    assert len(detail(control_plane, few)["tasks"]) == 3
    worker = start(control_plane, "few", fewest=1, most=4, slots=6, scf_seconds=0.5, drain=True)
    assert worker.wait() == 0
    assert given(control_plane, "few") == [2, 2, 2]
    submit(control_plane, symmetry=False)
    worker = start(control_plane, "many", fewest=1, most=4, slots=6, scf_seconds=0.5, drain=True)
    assert worker.wait() == 0
    # Six at once, and so on; the 13th is alone, unless it begins while others still run.
    assert given(control_plane, "many")[:12] == [1] * 12
    assert len(given(control_plane, "many")) == 13


def test_what_there_is_no_room_for_goes_to_other_workers(control_plane: ControlPlane) -> None:
    job_id = submit(control_plane, symmetry=False)
    large = partial(
        start, control_plane, fewest=4, most=4, slots=4, scf_seconds=NEVER, drain=False
    )  # one SCF at a time
    large("large-1")
    wait_until(lambda: leases(control_plane) == {"large-1": [0]})
    large("large-2")
    wait_until(lambda: leases(control_plane) == {"large-1": [0], "large-2": [1]})
    wait_until(lambda: given(control_plane, "large-1") == given(control_plane, "large-2") == [4])
    # Nothing has failed by that.
    assert {event["what"] for event in detail(control_plane, job_id)["history"]} == set()
    with control_plane.api() as api:
        api.post(f"/calc/zpe/jobs/{job_id}/cancel")
