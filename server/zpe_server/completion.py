"""The last step of a job: from the forces of its SCFs to a stored result."""

from __future__ import annotations

import json
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime

import anyio.to_thread
import structlog

from zpe_sdk.errors import StoreError, ZPEError
from zpe_sdk.espresso.input import parse
from zpe_sdk.result.assemble import freqs_csv, make_result, summary_text
from zpe_sdk.vibrations.plan import Plan
from zpe_sdk.wire import ErrorInfo, JobPayload, Task, TaskReport, TaskRun
from zpe_server.results import Result, ResultStore
from zpe_server.settings import Settings
from zpe_server.states import States
from zpe_server.store import Store, key
from zpe_server.transitions.jobs import Finish, FinishFailed, Rerun
from zpe_server.verification import DisagreementError, compare

log = structlog.get_logger(__name__)


class Completion:
    """Makes and stores the results of jobs whose SCFs are all done.

    It may run anywhere and more than once: the job is marked finished by whoever stores the result first.
    """

    def __init__(self, store: Store, results: ResultStore, settings: Settings) -> None:
        self._store = store
        self._results = results
        self._settings = settings

    async def complete(self, job_id: str) -> None:
        """Store the result of a job and mark it finished, or failed if no result can be made.

        Raises
        ------
        StoreError
            ``store_unavailable``: the job stays where it is, to be completed later.
        """
        parts = ("reports", "runs", "settled", "starts")
        job, reports, runs, settled, starts = await self._store.many_fields(
            [key("job", job_id), *(key("job", job_id, part) for part in parts)]
        )
        if not job or job["status"] == "finished":
            return
        generation = job.get("generation", "0")
        try:
            outcome = await self._outcome(job, reports, runs, settled, starts)
            if isinstance(outcome, States):
                await self._act_on(job_id, generation, outcome)
                return
            await self._results.put(job_id, outcome)
        except ZPEError as error:
            if isinstance(error, StoreError) and error.code == "store_unavailable":
                raise
            doubtful = error.tasks if isinstance(error, DisagreementError) else []
            await self._fail(job_id, generation, error.side, error.code, error.message, doubtful=doubtful)
            return
        except Exception as error:
            log.exception("the result could not be made", job_id=job_id)
            await self._fail(
                job_id,
                generation,
                "compute",
                "assembly_failed",
                f"the result could not be made: {type(error).__name__}: {error}",
                traceback.format_exc(),
            )
            return
        await self._store.transition(
            Finish(job=job_id, generation=generation, retire_ms=self._settings.result_ttl_seconds * 1000)
        )
        log.info("job finished", job_id=job_id)

    async def _act_on(self, job_id: str, generation: str, states: States) -> None:
        """Run SCFs of another electronic state again, or fail the job where that has been done."""
        if again := states.to_run_again():
            reply = await self._store.transition(Rerun(job=job_id, generation=generation, again=again))
            if reply["rerun"]:
                log.info("SCFs of another electronic state are run again", job_id=job_id, again=again)
            return
        await self._fail(
            job_id,
            generation,
            "compute",
            "electronic_state_differs",
            states.message(),
            doubtful=[change.task for change in states.changes],
        )

    async def _fail(
        self,
        job_id: str,
        generation: str,
        side: str,
        code: str,
        message: str,
        trace: str | None = None,
        doubtful: Sequence[int] = (),
    ) -> None:
        log.warning("job failed", job_id=job_id, side=side, code=code, reason=message)
        error = ErrorInfo.model_validate({"side": side, "code": code, "message": message, "traceback": trace})
        await self._store.transition(
            FinishFailed(job=job_id, generation=generation, error=error, doubtful=doubtful)
        )

    async def _outcome(
        self,
        job: dict[str, str],
        reports: dict[str, str],
        runs: dict[str, str],
        settled: dict[str, str],
        starts: dict[str, str],
    ) -> Result | States:
        """Return the result, or what keeps the SCFs from giving one."""
        if settled:
            return Result(settled["result"], settled["summary"], settled["freqs"])
        return await anyio.to_thread.run_sync(_assemble, job, reports, runs, starts)


def _assemble(
    job: dict[str, str], reports: dict[str, str], runs: dict[str, str], starts: dict[str, str]
) -> Result | States:
    payload = JobPayload.model_validate_json(job["payload"])
    plan = Plan.from_json(json.loads(job["plan"]))
    ran = {int(task): TaskRun.model_validate_json(text) for task, text in runs.items()}
    # A report that was reused has the index it had in its own job.
    scfs = {
        int(task): TaskReport.model_validate_json(text).model_copy(update={"task": int(task)})
        for task, text in reports.items()
    }
    states = States.of(plan, scfs, starts)
    accepted = job.get("allow_state_changes") == "1"
    if states.changes and (not accepted or states.to_run_again()):
        return states
    workers = {task: run.worker for task, run in ran.items()}
    verified = compare([Task.from_json(task) for task in json.loads(job["tasks"])], scfs, workers)
    document = make_result(
        payload,
        parse(payload.content),
        plan,
        scfs,
        workers=workers,
        started_at=_time(job.get("started") or job["created"]),
        finished_at=_time(job["updated"]),
        reused=[task for task, run in ran.items() if run.reused],
    )
    document.warnings += states.warnings()
    if verified:
        document.checks |= {
            "scf_verified": verified.count,
            "verified_force_ev_ang": verified.force_ev_ang,
            "verified_energy_ev": verified.energy_ev,
        }
    return Result(document.model_dump_json(), summary_text(document), freqs_csv(document))


def _time(milliseconds: str) -> datetime:
    return datetime.fromtimestamp(float(milliseconds) / 1000, UTC)
