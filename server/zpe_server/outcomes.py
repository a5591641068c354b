"""What has come of a job: its result, or the modes of what is in."""

from __future__ import annotations

import json
from dataclasses import replace

import anyio.to_thread

from zpe_sdk.errors import InputError
from zpe_sdk.espresso.input import parse
from zpe_sdk.vibrations.plan import Plan
from zpe_sdk.wire import JobPayload, PartialReply, TaskReport
from zpe_server.jobs import Jobs
from zpe_server.results import Result, ResultStore
from zpe_server.store import Store, key
from zpe_server.tokens import Principal


class Outcomes:
    """The results of jobs, for those who may see the jobs."""

    def __init__(self, store: Store, jobs: Jobs, results: ResultStore) -> None:
        self._store = store
        self._jobs = jobs
        self._results = results

    async def result(self, who: Principal, job_id: str) -> Result:
        """Return the result of a finished job.

        Raises
        ------
        InputError
            ``job_not_found``; ``not_finished``.
        """
        status = await self._jobs.status(who, job_id)
        result = await self._results.get(job_id) if status.status == "finished" else None
        if result is None:
            raise InputError(
                f"the job is {status.status}, not finished" + (f": {status.detail}" if status.detail else ""),
                code="not_finished",
            )
        return _marked(result, status.detail or "") if status.taken_back else result

    async def partial(self, who: Principal, job_id: str) -> PartialReply:
        """Return the modes of those atoms of an unfinished job whose SCFs are in.

        Raises
        ------
        InputError
            ``job_not_found``; ``too_few_scfs``; ``job_over``: its SCFs are not kept any more.
        """
        status = await self._jobs.status(who, job_id)
        job, reports = await self._store.many_fields([key("job", job_id), key("job", job_id, "reports")])
        # It may have ended since it was looked at.
        if not job or job["status"] in ("finished", "cancelled"):
            over = job.get("status", status.status)
            raise InputError(
                f"the job is {over}: only an unfinished one has a partial spectrum", code="job_over"
            )
        if json.loads(job["plan"]) is None:
            raise InputError(
                f"the job is in the stage {job['stage']}: no SCF of a displaced structure is in",
                code="too_few_scfs",
            )
        return await anyio.to_thread.run_sync(_partial, job, reports)


def _marked(result: Result, warning: str) -> Result:
    """Return a result that says what has to be known of it since it was stored."""
    document = json.loads(result.document)
    document["warnings"] = [warning, *document.get("warnings", [])]
    first, _, rest = result.summary.partition("\n")
    return replace(
        result, document=json.dumps(document), summary=f"{first}\n\nNOT TO BE TRUSTED: {warning}\n{rest}"
    )


def _partial(job: dict[str, str], reports: dict[str, str]) -> PartialReply:
    from zpe_sdk.result.assemble_partial import partial_spectrum

    payload = JobPayload.model_validate_json(job["payload"])
    plan = Plan.from_json(json.loads(job["plan"]))
    return partial_spectrum(
        payload,
        parse(payload.content),
        plan,
        {
            int(task): TaskReport.model_validate_json(text)
            for task, text in reports.items()
            if int(task) < len(plan.displacements)  # the others verify some of these
        },
    )
