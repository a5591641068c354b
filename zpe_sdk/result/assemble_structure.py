"""From a single SCF, or a relaxation that is over, to the result of its job."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from zpe_sdk.errors import InputError
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.moved import moved_text
from zpe_sdk.result.structure_text import ENDINGS
from zpe_sdk.wire import (
    EnergyDocument,
    IonicStep,
    JobPayload,
    RelaxationDocument,
    RelaxationRecord,
    TaskReport,
    TaskRun,
)


def make_structure_document(
    payload: JobPayload,
    pw_input: PwInput,
    report: TaskReport,
    steps: Sequence[IonicStep] | None = None,
    *,
    workers: Mapping[int, str],
    started_at: datetime,
    finished_at: datetime,
    reused: Collection[int] = (),
) -> EnergyDocument | RelaxationDocument:
    """Return the result of a job of the kind ``energy``, or ``relax``.

    Parameters
    ----------
    payload, pw_input
        The job and its parsed input, be its positions those of the beginning or of the end.
    report
        The outcome of the job's one task.
    steps
        Of a relaxation, in order; None: there was none, and the structure is as given.
    workers
        Name of the worker that ran the SCF, by the index of the task; of a relaxation by that of the step.
    started_at, finished_at
        When the task was first given out and its outcome came in; with a time zone.
    reused
        Indices of the tasks (steps) whose outcome was taken from an earlier job.

    Raises
    ------
    InputError
        ``forces_missing``: not one row per atom; ``relaxation_missing``: steps, and no word of how it ended,
        or none.
    """
    nat = len(pw_input.symbols)
    if len(report.forces_ev_ang) != nat:
        raise InputError(
            f"the report has forces on {len(report.forces_ev_ang)} atoms of {nat}",
            code="forces_missing",
            field="forces_ev_ang",
        )
    scfs: list[tuple[int, TaskReport | IonicStep]] = [(report.task, report)]
    if steps is not None:
        scfs = [(step.index, step) for step in steps]
    record = None if steps is None else relaxation_record(report, steps)
    content, positions = payload.content, pw_input.positions
    if record is not None and report.relaxation is not None:
        positions = np.array(report.relaxation.positions)
        content = moved_text(pw_input, positions)
    ecutwfc, ecutrho = pw_input.cutoffs
    fields: dict[str, Any] = {
        "energy_ev": report.energy_ev,
        "forces_ev_ang": report.forces_ev_ang,
        "max_force_ev_ang": max_free_force(report.forces_ev_ang, pw_input),
        "free": pw_input.free.tolist(),
        "symbols": list(pw_input.symbols),
        "positions": positions.tolist(),
        "cell": pw_input.cell.tolist(),
        "kpts": pw_input.mesh,
        "ecutwfc": ecutwfc,
        "ecutrho": ecutrho,
        "total_magnetization": report.total_magnetization,
        "absolute_magnetization": report.absolute_magnetization,
        "dipole_e_ang": report.dipole_e_ang,
        "pw_input": content,
        "use_environ": payload.use_environ,
        "calc_start_time": started_at.isoformat(),
        "calc_end_time": finished_at.isoformat(),
        "elapsed_seconds": (finished_at - started_at).total_seconds(),
        "warnings": [f"pw.x: {told}" for told in report.warnings],
        "fingerprint": report.fingerprint,
        "tasks": [
            TaskRun(
                task=index,
                worker=workers[index],
                scf_seconds=scf.scf_seconds,
                scf_iterations=scf.scf_iterations,
                reused=index in reused,
            )
            for index, scf in scfs
        ],
    }
    if record is None:
        return EnergyDocument(**fields)
    if record.reason != "converged":
        fields["warnings"].insert(0, f"not relaxed: {ENDINGS[record.reason]}")
    return RelaxationDocument(**fields, relaxation=record)


def relaxation_record(report: TaskReport, steps: Sequence[IonicStep]) -> RelaxationRecord:
    """Return the record of a relaxation that is over.

    Parameters
    ----------
    report
        Of the task that the relaxation was.
    steps
        All of them, in order.

    Raises
    ------
    InputError
        ``relaxation_missing``: there are no steps, some are missing, or nothing says how it ended.
    """
    if not steps or report.relaxation is None or [step.index for step in steps] != list(range(len(steps))):
        raise InputError(
            "a relaxation needs all its steps, and how it ended",
            code="relaxation_missing",
            field="relaxation",
        )
    end = report.relaxation
    return RelaxationRecord(steps=list(steps), reason=end.reason, detail=end.detail)


def max_free_force(forces: Sequence[tuple[float, float, float]], pw_input: PwInput) -> float:
    """Return the largest force on an atom in eV/Å, of the components that are free to move; 0 if none is."""
    return float(np.linalg.norm(np.array(forces) * pw_input.free, axis=1).max())
