"""The last step of a job: from the forces of its SCFs to a stored result."""

from __future__ import annotations

import traceback
from collections.abc import Sequence

import anyio.to_thread
import structlog

from zpe_sdk.errors import StoreError, ZPEError
from zpe_sdk.wire import ErrorInfo
from zpe_server.assembly import Done, NextStage, RelaxationError, assemble
from zpe_server.results import Result, ResultStore
from zpe_server.settings import Settings
from zpe_server.states import States
from zpe_server.store import Store, key
from zpe_server.submission import stage_of, stage_texts
from zpe_server.transitions.jobs import Advance, Finish, FinishFailed, Rerun
from zpe_server.verification import DisagreementError

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
        parts = ("reports", "runs", "starts", "settled")
        job, reports, runs, starts, settled = await self._store.many_fields(
            [key("job", job_id), *(key("job", job_id, part) for part in parts)]
        )
        if not job or job["status"] == "finished":
            return
        steps = await self._store.texts(key("job", job_id, "steps"), 0)
        generation = job.get("generation", "0")
        try:
            if settled:
                outcome: Result | States | NextStage = Result(
                    settled["result"], settled["summary"], settled["freqs"]
                )
            else:
                done = Done(job, reports, runs, starts, steps)
                outcome = await anyio.to_thread.run_sync(assemble, done, self._settings)
            if isinstance(outcome, States):
                await self._act_on(job_id, generation, outcome)
                return
            if isinstance(outcome, NextStage):
                await self._advance(job_id, generation, outcome)
                return
            await self._results.put(job_id, outcome)
            size = sum(len(text.encode()) for text in (outcome.document, outcome.summary, outcome.freqs))
        except ZPEError as error:
            if isinstance(error, StoreError) and error.code == "store_unavailable":
                raise
            doubtful = error.tasks if isinstance(error, DisagreementError) else []
            if isinstance(error, RelaxationError):
                doubtful = [0]  # the task is done once the structure is relaxed
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
            Finish(
                job=job_id,
                bytes=size,
                generation=generation,
                retire_ms=self._settings.result_ttl_seconds * 1000,
            )
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

    async def _advance(self, job_id: str, generation: str, following: NextStage) -> None:
        """Put the stage that follows in the place of the one that is done."""
        reply = await self._store.transition(
            Advance(
                job=job_id,
                generation=generation,
                stage=stage_of(following.planned, following.request, self._settings),
                **stage_texts(following.planned),
            )
        )
        if not reply["advanced"]:
            return
        log.info("job goes on", job_id=job_id, stage=following.planned.payload.stage)
        if reply.get("complete"):
            await self.complete(job_id)

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
