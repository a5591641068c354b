"""What becomes of a task that an engine has run."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import pytest

from tests.processes import h2
from zpe_sdk.wire import JobPayload, LeaseReply, Task, TaskReport
from zpe_sdk.worker.compute import compute
from zpe_sdk.worker.engines import OnIteration
from zpe_sdk.worker.engines.mock import MockEngine
from zpe_sdk.worker.messages import Failure
from zpe_sdk.worker.settings import WorkerSettings

DISPLACED = Task(index=1, atom=0, displacement=(0.0, 0.0, 0.01))


class WithoutForces(MockEngine):
    """An engine whose program writes zeros."""

    def run(
        self,
        payload: JobPayload,
        task: Task,
        *,
        job_id: str,
        stop: Event,
        slots: int | None = None,
        on_iteration: OnIteration | None = None,
    ) -> TaskReport:
        report = super().run(payload, task, job_id=job_id, stop=stop, slots=slots)
        return report.model_copy(update={"forces_ev_ang": [(0.0, 0.0, 0.0)] * 2})


@pytest.mark.parametrize(("task", "fails"), [(DISPLACED, True), (Task(index=0), False)])
def test_forces_that_are_all_zero_fail_a_displaced_task(task: Task, fails: bool, tmp_path: Path) -> None:
    payload = JobPayload(content=h2(), mobile_indices=[0, 1], delta=0.01, low_cut_cm=50, temperature=298.15)
    lease = LeaseReply(job_id="j", payload=payload, lease_id="l", lease_ttl_seconds=60, tasks=[task])
    engine = WithoutForces(WorkerSettings(work_dir=tmp_path))
    outcome = compute(
        engine, lease, task, stop=Event(), slots=1, on_step=lambda _: None, on_iteration=lambda _: None
    )
    assert isinstance(outcome, Failure if fails else TaskReport)
    if isinstance(outcome, Failure):
        assert (outcome.code, outcome.side) == ("forces_invalid", "compute")
        assert "all forces are exactly zero" in outcome.message
