"""The last step of a job: from the forces of its SCFs to a stored result."""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import Sequence

import anyio.to_thread
import structlog

from zpe_sdk.errors import StoreError, ZPEError
from zpe_sdk.traces import Traces
from zpe_sdk.wire import ErrorInfo
from zpe_server.assembly import Done, RelaxationError, Relaxed, assemble
from zpe_server.measures import ASSEMBLY
from zpe_server.planner import Planner
from zpe_server.results import Result, ResultStore
from zpe_server.settings import Settings
from zpe_server.states import States
from zpe_server.store import Store, key
from zpe_server.submission import plan_displacements_of
from zpe_server.transitions.jobs import Advance, Finish, FinishFailed, Rerun
from zpe_server.verification import DisagreementError

log = structlog.get_logger(__name__)

# In the background so many are completed at a time.
_TOGETHER = 2
# The job stays where it is, and is completed when the sweeper finds it.
_PASSING = {"store_unavailable", "busy"}


class Completion:
    """Makes and stores the results of jobs whose SCFs are all done.

    It may run anywhere and more than once: the job is marked finished by whoever stores the result first.
    """

    def __init__(
        self, store: Store, results: ResultStore, planner: Planner, settings: Settings, traces: Traces
    ) -> None:
        self._store = store
        self._results = results
        self._planner = planner
        self._settings = settings
        self._traces = traces
        self._turns = asyncio.Semaphore(_TOGETHER)
        self._under_way: dict[str, asyncio.Task[None]] = {}

    def later(self, job_id: str) -> None:
        """Complete a job in the background, unless that is under way; what fails, the sweeper tries again."""
        if job_id not in self._under_way:
            self._under_way[job_id] = task = asyncio.create_task(self._in_turn(job_id))
            task.add_done_callback(lambda _: self._under_way.pop(job_id))

    async def _in_turn(self, job_id: str) -> None:
        async with self._turns:
            try:
                await self.complete(job_id)
            except StoreError as error:
                log.warning("a job could not be completed yet", job_id=job_id, reason=str(error))

    async def close(self) -> None:
        """Leave what is under way to others."""
        if tasks := set(self._under_way.values()):
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def complete(self, job_id: str) -> None:
        """Store the result of a job and mark it finished, or failed if no result can be made.

        Raises
        ------
        StoreError
            ``store_unavailable``; ``busy``: too much is being planned. The job stays where it is, to be
            completed later.
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
                outcome: Result | States | Relaxed = Result(
                    settled["result"], settled["summary"], settled["freqs"]
                )
            else:
                done = Done(job, reports, runs, starts, steps)
                with ASSEMBLY.time(), self._traces.during(job_id, "assemble"):
                    outcome = await anyio.to_thread.run_sync(assemble, done)
            if isinstance(outcome, States):
                await self._act_on(job_id, generation, outcome)
                return
            if isinstance(outcome, Relaxed):
                await self._advance(job_id, job["owner"], generation, outcome)
                return
            await self._results.put(job_id, outcome)
            zpe_ev = json.loads(outcome.document).get("zpe_ev")
            size = sum(len(text.encode()) for text in (outcome.document, outcome.summary, outcome.freqs))
        except ZPEError as error:
            if isinstance(error, StoreError) and error.code in _PASSING:
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
                zpe_ev="" if zpe_ev is None else repr(zpe_ev),
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

    async def _advance(self, job_id: str, owner: str, generation: str, relaxed: Relaxed) -> None:
        """Put the displacements of a relaxed structure in the place of its relaxation."""
        # In a line of their own: no submission of the owner holds them up.
        with self._traces.during(job_id, "plan"):
            stage, texts = await self._planner.run(
                f"{owner}: relaxed", _stays, plan_displacements_of, relaxed.request, self._settings
            )
        reply = await self._store.transition(Advance(job=job_id, generation=generation, stage=stage, **texts))
        if not reply["advanced"]:
            return
        log.info("job goes on", job_id=job_id, stage="vibrations")
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


async def _stays() -> bool:
    """Tell of a job, which has no connection, that it has not gone."""
    return False
