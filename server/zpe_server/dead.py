"""The dead-letter queue: jobs that failed for good, until somebody requeues or discards them."""

from __future__ import annotations

from zpe_sdk.errors import InputError
from zpe_sdk.wire import DeadJob, DeadJobsReply
from zpe_server.jobs import SEARCHED, Jobs, history_event
from zpe_server.settings import Settings
from zpe_server.store import Store, key
from zpe_server.tokens import Principal


class DeadLetters:
    """What an administrator can see of failed jobs, and do about them."""

    def __init__(self, store: Store, jobs: Jobs, settings: Settings) -> None:
        self._store = store
        self._jobs = jobs
        self._settings = settings

    async def find(self, *, code: str | None, limit: int, offset: int) -> tuple[list[DeadJob], int]:
        """Return a page of the dead-letter queue, newest first, and how many there are in all."""
        if code is None:
            job_ids, total = await self._store.page(key("dlq"), offset, limit)
        else:
            job_ids = await self._dead_with(code)
            total, job_ids = len(job_ids), job_ids[offset : offset + limit]
        found = []
        for status in await self._jobs.statuses(job_ids):
            if status is None or status.error is None:
                continue
            texts = await self._store.texts(key("job", status.job_id, "history"), 200)
            events = [history_event(text) for text in texts]
            found.append(
                DeadJob(
                    job=status,
                    failed_at=status.finished_at or status.updated_at,
                    error=status.error,
                    attempts=[event for event in events if event.code is not None],
                )
            )
        return found, total

    async def requeue(
        self, who: Principal, job_ids: list[str] | None, code: str | None
    ) -> tuple[DeadJobsReply, list[str]]:
        """Requeue jobs of the dead-letter queue; return also those that only need their result made."""
        done: list[str] = []
        skipped: list[str] = []
        complete: list[str] = []
        for job_id in await self._chosen(job_ids, code):
            reply = await self._store.transition("requeue", job=job_id, by=who.subject)
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
                "discard", job=job_id, by=who.subject, retire_ms=self._settings.result_ttl_seconds * 1000
            )
            (skipped if "error" in reply else done).append(job_id)
        return DeadJobsReply(done=done, skipped=skipped)

    async def _chosen(self, job_ids: list[str] | None, code: str | None) -> list[str]:
        if (job_ids is None) == (code is None):
            raise InputError("name either job_ids or a code", code="bad_selection", field="job_ids")
        return job_ids if job_ids is not None else await self._dead_with(code or "")

    async def _dead_with(self, code: str) -> list[str]:
        job_ids, _ = await self._store.page(key("dlq"), 0, SEARCHED)
        return [
            job.job_id
            for job in await self._jobs.statuses(job_ids)
            if job is not None and job.error is not None and job.error.code == code
        ]
