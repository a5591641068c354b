"""What workers tell of the tasks they have leased: forces, whole results, failures."""

from __future__ import annotations

import hashlib
import json
import random
import time

import structlog

from zpe_sdk.errors import InputError, Side
from zpe_sdk.wire import (
    NO_FORCES,
    ErrorInfo,
    FailedReply,
    FailedRequest,
    Fingerprint,
    Progress,
    StepReply,
    StepRequest,
    TaskReport,
    TaskReportReply,
    TaskReportRequest,
    TaskRun,
    WholeResultReply,
    WholeResultRequest,
)
from zpe_server.measures import SCF
from zpe_server.settings import Settings
from zpe_server.store import Store, key, month
from zpe_server.tokens import Principal
from zpe_server.transitions.base import items
from zpe_server.transitions.leases import Released
from zpe_server.transitions.reports import (
    Fail,
    Failed,
    Failure,
    Report,
    Reported,
    Settle,
    Settled,
    StepStored,
    StoreStep,
)
from zpe_server.whole import check_whole_result

log = structlog.get_logger(__name__)

_REFUSALS = {
    "wrong_physics": "these forces come from other physics (pw.x version, pseudopotentials or settings) than "
    "the job's input asks for or its first result has, and forces of different physics are never mixed in "
    "one Hessian; a worker of another version of zpe may read the input otherwise",
    "wrong_pseudopotentials": "these forces come from other pseudopotentials than the input names",
    "wrong_engine": "these forces come from another program or version than the lease was for",
    "not_leased": "a worker may report only the SCFs of its lease",
    "same_worker": "the same SCF of this worker is there already, and another worker is to compute it too",
    "wrong_environ": "these forces come from another Environ, or none, than the job wants",
    "wrong_version": "the job needs another version of pw.x",
    "leased_again": "the lease was lost and the task has been given to another worker",
    "cancelled": "the job was cancelled",
    "discarded": "the job has failed and was discarded",
    "no_such_task": "the job has no such task",
    "stage_over": "the job has gone on to its next stage",
}
_CONFLICTS = {
    "not_found": ("job_not_found", "there is no such job"),
    "lease_not_yours": ("lease_not_yours", "this worker does not hold this lease on this job"),
    "partial": ("lease_partial", "the lease covers only some of the job's tasks: report them one by one"),
    "cancelled": ("job_cancelled", "the job was cancelled"),
    "discarded": ("job_over", "the job has failed and was discarded"),
    "malformed": ("forces_malformed", "forces must have one row for each atom of the input"),
    "step_missing": ("step_missing", "report the steps of a relaxation in their order"),
    "lease_not_found": ("lease_not_found", "there is no such lease"),
}


class Reports:
    """Takes what workers have computed, and what they could not."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._ttl_ms = settings.lease_ttl_seconds * 1000

    async def report(
        self, worker: Principal, job_id: str, request: TaskReportRequest, *, instance: str
    ) -> tuple[TaskReportReply, bool]:
        """Store the results of single SCFs; say also whether they were the job's last ones.

        Raises
        ------
        InputError
            ``job_not_found``, ``lease_not_yours``.
        """
        texts = []
        for report in request.reports:
            if report.lacks_forces:
                raise InputError(f"task {report.task}: {NO_FORCES}", code="forces_malformed", field="reports")
            run = TaskRun(
                task=report.task,
                worker=worker.name,
                scf_seconds=report.scf_seconds,
                scf_iterations=report.scf_iterations,
            )
            texts += [report.model_dump_json(), run.model_dump_json()]
        reply = await self._store.transition(
            Report(
                worker=worker.subject,
                instance=instance,
                ttl_ms=self._ttl_ms,
                job=job_id,
                lease=request.lease_id,
                tasks=[report.task for report in request.reports],
                fingerprints=[_canonical(report.fingerprint) for report in request.reports],
                setups=[_setup(report) for report in request.reports],
                seconds=[report.scf_seconds for report in request.reports],
                month=month(),
                atoms=[len(report.forces_ev_ang) for report in request.reports],
                ends=[_ends_with(report) for report in request.reports],
                keep_ms=self._settings.result_ttl_seconds * 1000,
                reports=texts,
            )
        )
        raise_conflict(reply)
        if accepted := items(reply["accepted"]):
            over = {report.task for report in request.reports if report.relaxation}
            if scfs := [task for task in accepted if task not in over]:
                log.info("tasks stored", tasks=scfs, worker=worker.name, stored=time.time())
                for report in request.reports:
                    if report.task in scfs:
                        SCF.observe(report.scf_seconds)
            else:
                log.info("a relaxation is over", worker=worker.name)
        reason = reply.get("reason")
        return (
            TaskReportReply(
                accepted=accepted,
                idempotent=items(reply["idempotent"]),
                refused=items(reply["refused"]),
                reason=reason,
                detail=_refusal(reason, reply.get("difference")),
                job_status=reply["status"],
                progress=Progress(**reply["progress"]),
                lease_held=reply["lease_held"],
                left=items(reply["left"]) if "left" in reply else None,
            ),
            bool(reply.get("complete")),
        )

    async def step(self, worker: Principal, job_id: str, request: StepRequest, *, instance: str) -> StepReply:
        """Store an ionic step of a relaxation.

        Raises
        ------
        InputError
            ``job_not_found``, ``lease_not_yours``; ``forces_malformed``: not one row for each atom;
            ``step_missing``: the steps before it are not there.
        """
        step, atoms = request.step, len(request.step.positions)
        rows = {atoms, len(step.forces_ev_ang), len(request.next_positions or step.positions)}
        if len(rows) > 1:
            raise InputError(
                "positions and forces of a step must have one row for each atom",
                code="forces_malformed",
                field="step",
            )
        reply = await self._store.transition(
            StoreStep(
                worker=worker.subject,
                instance=instance,
                ttl_ms=self._ttl_ms,
                job=job_id,
                lease=request.lease_id,
                task=request.task,
                index=step.index,
                atoms=atoms,
                fingerprint=_canonical(request.fingerprint),
                max_force=step.max_force_ev_ang,
                seconds=step.scf_seconds,
                step=json.dumps(step.model_dump() | {"worker": worker.name}),
                # Where it has ended, whoever finds no word of that looks once more.
                course=json.dumps(
                    {"positions": request.next_positions or step.positions, "history": request.history}
                ),
            )
        )
        raise_conflict(reply)
        if reply["stored"]:
            log.info("ionic step stored", step=step.index, worker=worker.name, stored=time.time())
        reason = reply.get("reason")
        return StepReply(
            idempotent=not reply["stored"] and reason is None,
            lease_held=reply["lease_held"],
            reason=reason,
            detail=_refusal(reason, reply.get("difference")),
            job_status=reply["status"],
        )

    async def settle(
        self, worker: Principal, job_id: str, request: WholeResultRequest, *, instance: str
    ) -> WholeResultReply:
        """Take the result of a whole job from a worker that settles it in one go.

        Raises
        ------
        InputError
            ``job_not_found``, ``lease_not_yours``, ``lease_partial``, ``job_cancelled``, ``job_over``;
            ``result_malformed``: it is no result of this job, and the lease stays as it is.
        """
        lease, job = await self._store.many_fields([key("lease", request.lease_id), key("job", job_id)])
        # Of a lease that is somebody else's, the transition says so.
        if job and (lease.get("worker"), lease.get("job")) == (worker.subject, job_id):
            check_whole_result(request.result, job)
        reply = await self._store.transition(
            Settle(
                worker=worker.subject,
                instance=instance,
                ttl_ms=self._ttl_ms,
                job=job_id,
                lease=request.lease_id,
                result=json.dumps(request.result),
                summary=request.summary_text,
                freqs=request.freqs_csv,
            )
        )
        raise_conflict(reply)
        return WholeResultReply(idempotent=bool(reply.get("idempotent")))

    async def fail(
        self, worker: Principal, job_id: str, request: FailedRequest, *, instance: str
    ) -> FailedReply:
        """Take a failure of tasks; decide whether they are tried again.

        Raises
        ------
        InputError
            ``job_not_found``, ``lease_not_yours``.
        """
        reply = await self._store.transition(
            Fail(
                worker=worker.subject,
                instance=instance,
                ttl_ms=self._ttl_ms,
                job=job_id,
                lease=request.lease_id,
                tasks=request.tasks,
                failure=_failure(request.side),
                error=ErrorInfo(
                    side=request.side,
                    code=request.error_code,
                    message=request.error_message,
                    traceback=request.traceback,
                    worker=worker.name,
                ),
                retry=self._settings.retry(random.random()),
            )
        )
        raise_conflict(reply)
        return FailedReply(requeued=reply["requeued"], retry_count=reply["retry_count"])


def _failure(side: Side) -> Failure:
    """Return how a failure counts: a machine that is not set up for a job is no fault of the job's."""
    return "input" if side == "input" else "capability" if side == "config" else "compute"


def _ends_with(report: TaskReport) -> int:
    """Return the number of atoms in the structure in which a relaxation has ended; 0 of a single SCF."""
    return len(report.relaxation.positions) if report.relaxation else 0


def _canonical(fingerprint: Fingerprint) -> str:
    return json.dumps(fingerprint.model_dump(), sort_keys=True)


def _refusal(reason: str | None, difference: str | None) -> str | None:
    """Say in words why something was refused."""
    detail = _REFUSALS[reason] if reason else None
    return f"{detail} ({difference})" if difference else detail


def _setup(report: TaskReport) -> str:
    """Return the hash of what a worker brings to the forces: the fingerprint without the input's physics."""
    text = json.dumps(report.fingerprint.model_dump(exclude={"physics"}), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def raise_conflict(reply: Reported | Failed | Settled | StepStored | Released) -> None:
    """Raise the error that a transition about a lease answered with, if it did.

    Raises
    ------
    InputError
        With the code of the conflict.
    """
    if error := reply.get("error"):
        code, message = _CONFLICTS[error]
        raise InputError(message, code=code)
