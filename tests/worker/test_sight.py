"""What a worker tells of the SCFs it runs."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from threading import Event

import pytest

from tests.processes import h2
from zpe_sdk.espresso.iterations import Iteration
from zpe_sdk.wire import JobPayload, LeaseReply, Task
from zpe_sdk.worker.engines.espresso import EspressoEngine
from zpe_sdk.worker.held import HeldLease, Run
from zpe_sdk.worker.settings import WorkerSettings
from zpe_sdk.worker.sight import Sight

PAYLOAD = JobPayload(content=h2(), mobile_indices=[0, 1], delta=0.01, low_cut_cm=50, temperature=298.15)


def run_of(lease_id: str, index: int) -> Run:
    task = Task(index=index)
    reply = LeaseReply(job_id="j", payload=PAYLOAD, lease_id=lease_id, lease_ttl_seconds=60, tasks=[task])
    return Run(HeldLease(reply, 1, 1, deque()), task, 1)


def test_each_lease_is_told_of_with_the_latest_iteration_of_its_scfs() -> None:
    sight, one, two = Sight(), run_of("l1", 1), run_of("l2", 4)
    iterated = sight.begins(one)
    sight.begins(two)
    iterated(Iteration(8, 1e-3))
    iterated(Iteration(9, 1e-6))
    told = sight.by_lease()
    [first], [second] = told["l1"], told["l2"]
    assert (first.task, first.iteration, first.accuracy_ry) == (1, 9, 1e-6)
    assert (second.task, second.iteration, second.accuracy_ry) == (4, None, None)
    two.lease = one.lease  # leased again under another name: it tells of that one
    assert [scf.task for scf in sight.by_lease()["l1"]] == [1, 4]
    sight.ends(one)
    assert [scf.task for scf in sight.by_lease()["l1"]] == [4]


@pytest.mark.qe
def test_the_engine_tells_of_every_iteration_of_pw_x(tmp_path: Path) -> None:
    engine = EspressoEngine(
        WorkerSettings(work_dir=tmp_path, pseudo_dir=Path("/usr/share/espresso/pseudo")), cores=1
    )
    told: list[Iteration] = []
    report = engine.run(PAYLOAD, Task(index=0), job_id="j", stop=Event(), on_iteration=told.append)
    assert [iteration.number for iteration in told] == list(range(1, (report.scf_iterations or 0) + 1))
    assert told[-1].accuracy_ry < 1e-10 < told[0].accuracy_ry
