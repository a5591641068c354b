"""Compute one task, and say what came of it."""

from __future__ import annotations

import traceback
from threading import Event

import structlog

from zpe_sdk.errors import ComputeError, Side, ZPEError
from zpe_sdk.wire import NO_FORCES, LeaseReply, Task, TaskReport
from zpe_sdk.worker.engines import Engine, OnIteration, OnStep, StepTaken
from zpe_sdk.worker.messages import Failure

TRACEBACK_CHARACTERS = 8000

log = structlog.get_logger(__name__)


def compute(
    engine: Engine,
    lease: LeaseReply,
    task: Task,
    *,
    stop: Event,
    slots: int,
    on_step: OnStep,
    on_iteration: OnIteration,
) -> TaskReport | Failure | None:
    """Run one task and return its report, or why it failed; None if it was stopped on purpose.

    Of a relaxation, ``on_step`` hears of each step, and ``on_iteration`` of each iteration of an SCF.
    """

    def say(taken: StepTaken) -> None:
        log.info(
            "ionic step done",
            step=taken.step.index,
            max_force_ev_ang=round(taken.step.max_force_ev_ang, 4),
            energy_ev=round(taken.step.energy_ev, 6),
        )
        on_step(taken)

    try:
        if lease.relaxation:
            report = engine.relax(
                lease.payload,
                lease.relaxation,
                job_id=lease.job_id,
                stop=stop,
                on_step=say,
                slots=slots,
                on_iteration=on_iteration,
            )
        else:
            report = engine.run(
                lease.payload,
                task,
                job_id=lease.job_id,
                stop=stop,
                slots=slots,
                on_iteration=on_iteration,
            )
        if report.lacks_forces:
            raise ComputeError(NO_FORCES, code="forces_invalid")
    except ZPEError as error:
        if error.code == "stopped" and stop.is_set():
            log.info("SCF stopped")
            return None
        log.warning("SCF failed", reason=str(error))
        return _failure(error, error.code, error.message, error.side)
    except Exception as error:
        log.exception("the engine broke")
        return _failure(error, "worker_error", f"{type(error).__name__}: {error}", "compute")
    if report.relaxation:
        log.info("relaxation ended", reason=report.relaxation.reason)
        return report
    log.info("SCF done", seconds=round(report.scf_seconds, 2), iterations=report.scf_iterations)
    return report


def _failure(error: Exception, code: str, message: str, side: Side) -> Failure:
    # The end of the traceback holds the error's notes: the last lines of pw.x among them.
    text = "".join(traceback.format_exception(error))[-TRACEBACK_CHARACTERS:]
    return Failure(code[:100], message, side, text)
