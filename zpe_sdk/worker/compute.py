"""Compute one task, and return the outcome as an outbox message."""

from __future__ import annotations

import traceback

import structlog

from zpe_sdk.errors import ComputeError, Side, ZPEError
from zpe_sdk.wire import NO_FORCES, FailedRequest, LeaseReply, Task
from zpe_sdk.worker.engines import Engine
from zpe_sdk.worker.outbox import Letter
from zpe_sdk.worker.shares import Run

TRACEBACK_CHARACTERS = 8000

log = structlog.get_logger(__name__)


def compute(engine: Engine, run: Run) -> Letter | None:
    """Run one task and tell of it; None if it was stopped on purpose."""
    lease, task = run.share.lease, run.task
    try:
        report = engine.run(lease.payload, task, job_id=lease.job_id, stop=run.stop, slots=run.slots)
        if report.lacks_forces:
            raise ComputeError(NO_FORCES, code="forces_invalid")
    except ZPEError as error:
        if error.code == "stopped" and run.stop.is_set():
            log.info("SCF stopped")
            return None
        log.warning("SCF failed", reason=str(error))
        return _failure(lease, task, error, error.code, error.message, error.side)
    except Exception as error:
        log.exception("the engine broke")
        return _failure(lease, task, error, "worker_error", f"{type(error).__name__}: {error}", "compute")
    log.info("SCF done", seconds=round(report.scf_seconds, 2), iterations=report.scf_iterations)
    return Letter(job_id=lease.job_id, lease_id=lease.lease_id, report=report)


def _failure(lease: LeaseReply, task: Task, error: Exception, code: str, message: str, side: Side) -> Letter:
    # The end of the traceback holds the error's notes: the last lines of pw.x among them.
    text = "".join(traceback.format_exception(error))[-TRACEBACK_CHARACTERS:]
    failure = FailedRequest(
        lease_id=lease.lease_id,
        error_code=code[:100],
        error_message=message,
        traceback=text,
        tasks=[task.index],
        side=side,
    )
    return Letter(job_id=lease.job_id, lease_id=lease.lease_id, failure=failure)
