"""From the reports of a job's stage to what follows: a result, the next stage, or SCFs to be run again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from zpe_sdk.errors import ComputeError
from zpe_sdk.espresso.input import parse
from zpe_sdk.espresso.moved import moved_text
from zpe_sdk.vibrations.plan import Plan
from zpe_sdk.wire import IonicStep, JobPayload, JobRequest, RelaxationRecord, Task, TaskReport, TaskRun
from zpe_server.records import request_of
from zpe_server.results import Result
from zpe_server.states import States
from zpe_server.verification import compare

# pw.x prints positions in Å with ten digits.
_SAME_PLACE = 1e-6
_FAILURES = {
    "steps": ("relaxation_not_converged", "the relaxation has taken all its steps and is not there yet"),
    "stuck": (
        "relaxation_stuck",
        "the optimiser finds no lower energy, although the forces are still too large",
    ),
    "atom_lost": ("atom_lost", "an atom has left all others"),
}


@dataclass(frozen=True)
class Done:
    """All that is stored of a stage whose tasks are done.

    Attributes
    ----------
    job
        The job's record.
    reports, runs
        The outcome of each task, and who computed it, as JSON by task.
    starts
        What those SCFs started from that were run again.
    steps
        The ionic steps of the job's relaxation as JSON, each with the name of its worker.
    """

    job: Mapping[str, str]
    reports: Mapping[str, str]
    runs: Mapping[str, str]
    starts: Mapping[str, str]
    steps: Sequence[str]


@dataclass(frozen=True)
class Relaxed:
    """A job whose displacements are to be planned now, with the relaxed positions in its input."""

    request: JobRequest


class RelaxationError(ComputeError):
    """A relaxation has not ended in a minimum; its steps stay, and it may go on from there."""


def assemble(done: Done) -> Result | States | Relaxed:
    """Return what comes of a stage.

    Raises
    ------
    ZPEError
        There can be no result.
    """
    payload = JobPayload.model_validate_json(done.job["payload"])
    if payload.stage == "vibrations":
        return _frequencies(done, payload)
    report = TaskReport.model_validate_json(done.reports["0"])
    steps = [IonicStep.model_validate_json(step) for step in done.steps]
    if payload.stage == "relax":
        _check_end(report, steps)
        if payload.kind == "vibrations":
            return _relaxed(done, payload, report)
        workers = {n: str(json.loads(step)["worker"]) for n, step in enumerate(done.steps)}
    else:
        run = TaskRun.model_validate_json(done.runs["0"])
        workers = {0: run.worker}
    reused = [int(task) for task, text in done.runs.items() if json.loads(text).get("reused")]
    from zpe_sdk.result.assemble_structure import make_structure_document
    from zpe_sdk.result.structure_text import structure_csv, structure_summary

    document = make_structure_document(
        payload,
        parse(payload.content),
        report.model_copy(update={"task": 0}),
        steps if payload.stage == "relax" else None,
        workers=workers,
        reused=reused,
        **_times(done.job),
    )
    return Result(document.model_dump_json(), structure_summary(document), structure_csv(document))


def _check_end(report: TaskReport, steps: Sequence[IonicStep]) -> None:
    """Raise unless a relaxation has ended in a minimum, in the last structure that was reported."""
    end = report.relaxation
    if end is None or not steps:
        raise RelaxationError(
            "the relaxation has no steps, or does not say how it ended", code="result_incomplete"
        )
    if np.abs(np.array(end.positions) - np.array(steps[-1].positions)).max() > _SAME_PLACE:
        raise RelaxationError(
            "the relaxation says that it ended in another structure than its last step has",
            code="result_incomplete",
        )
    if end.reason != "converged":
        code, message = _FAILURES[end.reason]
        named = f" ({end.detail})" if end.detail else ""
        raise RelaxationError(
            f"{message}{named}: after {len(steps)} steps the largest force is "
            f"{steps[-1].max_force_ev_ang:.4f} eV/Å; requeue the job to go on from there, with as many steps "
            "again",
            code=code,
        )


def _relaxed(done: Done, payload: JobPayload, report: TaskReport) -> Relaxed:
    assert report.relaxation is not None
    content = moved_text(parse(payload.content), report.relaxation.positions)
    return Relaxed(request_of(done.job).model_copy(update={"content": content}))


def _frequencies(done: Done, payload: JobPayload) -> Result | States:
    plan = Plan.from_json(json.loads(done.job["plan"]))
    ran = {int(task): TaskRun.model_validate_json(text) for task, text in done.runs.items()}
    # A report that was reused has the index it had in its own job.
    scfs = {
        int(task): TaskReport.model_validate_json(text).model_copy(update={"task": int(task)})
        for task, text in done.reports.items()
    }
    states = States.of(plan, scfs, done.starts)
    accepted = done.job.get("allow_state_changes") == "1"
    if states.changes and (not accepted or states.to_run_again()):
        return states
    workers = {task: run.worker for task, run in ran.items()}
    verified = compare([Task.from_json(task) for task in json.loads(done.job["tasks"])], scfs, workers)
    from zpe_sdk.result.assemble import make_result
    from zpe_sdk.result.texts import freqs_csv, summary_text

    document = make_result(
        payload,
        parse(payload.content),
        plan,
        scfs,
        workers=workers,
        reused=[task for task, run in ran.items() if run.reused],
        **_times(done.job),
    )
    document.relaxation = _record(done)
    document.warnings += states.warnings()
    if verified:
        document.checks |= {
            "scf_verified": verified.count,
            "verified_force_ev_ang": verified.force_ev_ang,
            "verified_energy_ev": verified.energy_ev,
        }
    return Result(document.model_dump_json(), summary_text(document), freqs_csv(document))


def _record(done: Done) -> RelaxationRecord | None:
    """Return the record of the relaxation that came first."""
    if not done.steps:
        return None
    steps = [IonicStep.model_validate_json(step) for step in done.steps]
    return RelaxationRecord(steps=steps, reason="converged")


def _times(job: Mapping[str, str]) -> dict[str, Any]:
    return {
        "started_at": _time(job.get("started") or job["created"]),
        "finished_at": _time(job["updated"]),
    }


def _time(milliseconds: str) -> datetime:
    return datetime.fromtimestamp(float(milliseconds) / 1000, UTC)
