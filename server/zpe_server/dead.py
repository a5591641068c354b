"""The dead-letter queue: jobs that failed for good, until somebody requeues or discards them."""

from __future__ import annotations

from collections import Counter

from zpe_sdk.errors import InputError
from zpe_sdk.wire import DeadJob, DeadJobList, DeadJobsReply, DeadReason
from zpe_server.jobs import Jobs
from zpe_server.records import history_event
from zpe_server.search import SEARCHED, STEP, batched
from zpe_server.settings import Settings
from zpe_server.store import Store, key
from zpe_server.tokens import Principal
from zpe_server.transitions.base import items
from zpe_server.transitions.jobs import Discard, ReadReasons, Requeue


class DeadLetters:
    """What an administrator can see of failed jobs, and do about them."""

    def __init__(self, store: Store, jobs: Jobs, settings: Settings) -> None:
        self._store = store
        self._jobs = jobs
        self._settings = settings

    async def find(self, *, code: str | None, limit: int, offset: int) -> DeadJobList:
        """Return a page of the dead-letter queue, newest first, and the reasons of all of it."""
        reasons = await self._reasons()
        matching = [job_id for job_id, reason in reasons.items() if code in (None, reason[1])]
        job_ids = matching[offset : offset + limit]
        histories = await self._store.many_texts([key("job", job_id, "history") for job_id in job_ids], 200)
        found = []
        for status, texts in zip(await self._jobs.statuses(job_ids), histories, strict=True):
            if status is None or status.error is None:
                continue
            events = [history_event(text) for text in texts]
            found.append(
                DeadJob(
                    job=status,
                    failed_at=status.finished_at or status.updated_at,
                    error=status.error,
                    attempts=[event for event in events if event.code is not None],
                )
            )
        counted = Counter(reasons.values()).most_common()
        return DeadJobList(
            jobs=found,
            total=len(matching),
            reasons=[DeadReason(side=side, code=code, count=count) for (side, code), count in counted],
        )

    async def find_chosen(self, job_ids: list[str] | None, code: str | None) -> DeadJobsReply:
        """Return which jobs would be acted on."""
        chosen = await self._chosen(job_ids, code)
        there = await self._store.has_members(key("dlq"), chosen)
        found = dict(zip(chosen, there, strict=True))
        return DeadJobsReply(
            done=[job_id for job_id in found if found[job_id]],
            skipped=[job_id for job_id in found if not found[job_id]],
        )

    async def requeue(
        self, who: Principal, job_ids: list[str] | None, code: str | None
    ) -> tuple[DeadJobsReply, list[str]]:
        """Requeue jobs of the dead-letter queue; return also those that only need their result made."""
        done: list[str] = []
        skipped: list[str] = []
        complete: list[str] = []
        for job_id in await self._chosen(job_ids, code):
            reply = await self._store.transition(Requeue(job=job_id, by=who.subject))
            (skipped if "error" in reply else done).append(job_id)
            if reply.get("complete"):
                complete.append(job_id)
        return DeadJobsReply(done=done, skipped=skipped), complete

    async def discard(self, who: Principal, job_ids: list[str] | None, code: str | None) -> DeadJobsReply:
        """Take jobs out of the dead-letter queue for good; they stay failed until they are forgotten."""
        done: list[str] = []
        skipped: list[str] = []
        for job_id in await self._chosen(job_ids, code):
            reply = await self._store.transition(
                Discard(job=job_id, by=who.subject, retire_ms=self._settings.result_ttl_seconds * 1000)
            )
            (skipped if "error" in reply else done).append(job_id)
        return DeadJobsReply(done=done, skipped=skipped)

    async def _chosen(self, job_ids: list[str] | None, code: str | None) -> list[str]:
        if (job_ids is None) == (code is None):
            raise InputError("name either job_ids or a code", code="bad_selection", field="job_ids")
        return job_ids if job_ids is not None else await self._dead_with(code or "")

    async def _dead_with(self, code: str) -> list[str]:
        return [job_id for job_id, reason in (await self._reasons()).items() if reason[1] == code]

    async def _reasons(self) -> dict[str, tuple[str, str]]:
        """Return side and code of the errors of all dead jobs, newest first."""
        job_ids, _ = await self._store.page(key("dlq"), 0, SEARCHED)
        found: dict[str, tuple[str, str]] = {}
        for step in batched(job_ids, STEP):
            reply = await self._store.transition(ReadReasons(jobs=step))
            for job_id, reason in zip(step, items(reply["reasons"]), strict=True):
                if reason:
                    found[job_id] = (reason[0], reason[1])
        return found
