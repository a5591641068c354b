"""What a worker's spans say of SCFs."""

from __future__ import annotations

from zpe_sdk.traces import Traces, now
from zpe_sdk.wire import TaskReport
from zpe_sdk.worker.engines import StepTaken
from zpe_sdk.worker.held import Run
from zpe_sdk.worker.messages import Failure


def note_task(traces: Traces, run: Run, began: int, outcome: TaskReport | Failure | None) -> None:
    """Note a task that has ended: an SCF or a whole relaxation.

    Parameters
    ----------
    traces
        Where spans go.
    run
        The task and its lease.
    began
        When it was begun, in ns since 1970.
    outcome
        As :func:`zpe_sdk.worker.compute.compute` returns it.
    """
    task, report = run.task, outcome if isinstance(outcome, TaskReport) else None
    relaxes = run.lease.reply.relaxation is not None
    traces.span(
        run.lease.job_id,
        "relaxation" if relaxes else "scf",
        began,
        now(),
        error=outcome.code if isinstance(outcome, Failure) else None,
        task=task.index,
        scf=None if relaxes else "equilibrium" if task.displacement is None else "displacement",
        atom=task.atom,
        displacement_ang=task.displacement,
        copy_of=task.copy_of,
        slots=run.slots,
        outcome="done" if report else "failed" if outcome else "stopped",
        iterations=report.scf_iterations if report else None,
        engine=report.fingerprint.engine if report else None,
        engine_version=report.fingerprint.engine_version if report else None,
    )


def note_step(traces: Traces, run: Run, taken: StepTaken) -> None:
    """Note an ionic step that has just been taken: the SCF of a structure on the way of a relaxation."""
    ended = now()
    traces.span(
        run.lease.job_id,
        "scf",
        ended - round(taken.step.scf_seconds * 1e9),
        ended,
        task=run.task.index,
        scf="ionic step",
        step=taken.step.index,
        slots=run.slots,
        outcome="done",
        iterations=taken.step.scf_iterations,
        engine=taken.fingerprint.engine,
        engine_version=taken.fingerprint.engine_version,
    )
