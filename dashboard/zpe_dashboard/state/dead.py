"""The dead-letter queue."""

from __future__ import annotations

from typing import Any

import param

from zpe_dashboard.state.base import State, WorkerNames, last_page
from zpe_sdk.client.async_client import AsyncZPEClient
from zpe_sdk.wire import DeadJob, DeadJobList, DeadJobsReply, DeadReason

PAGE = 50


class DeadLetters(State):
    """Jobs that failed for good: why, and after which attempts."""

    code = param.String(default="", doc="Only jobs that failed with this code.")
    page = param.Integer(default=1, bounds=(1, None))
    jobs = param.List(default=[], item_type=DeadJob)
    total = param.Integer(default=0)
    reasons = param.List(default=[], item_type=DeadReason, doc="Of all dead jobs, the most frequent first.")
    chosen = param.List(default=[], item_type=str, doc="Ids of the jobs that were ticked.")

    @property
    def pages(self) -> int:
        """How many pages they fill."""
        return max(1, -(-self.total // PAGE))

    @property
    def filters(self) -> dict[str, str]:
        """What of this goes into the URL."""
        return {"code": self.code, "page": str(self.page) if self.page > 1 else ""}

    def open(self, subject: str, filters: dict[str, str]) -> None:
        """Take the filters of the URL."""
        page = filters.get("page", "")
        self.param.update(
            code=filters.get("code", "")[:100],
            page=max(1, int(page)) if page.isdecimal() and len(page) < 9 else 1,
        )

    def __init__(self, client: AsyncZPEClient, **params: Any) -> None:
        super().__init__(client, **params)
        self._names = WorkerNames(client)

    async def fetch(self) -> dict[str, Any]:
        """Ask for the page and the reasons."""
        page = self.page
        found = await self._page(page)
        if (last := last_page(page, found.total, PAGE)) < page:
            page, found = last, await self._page(last)
        jobs = [
            job.model_copy(update={"attempts": await self._names.put(job.attempts)}) for job in found.jobs
        ]
        there = {job.job.job_id for job in jobs}
        return {
            "jobs": jobs,
            "total": found.total,
            "page": page,
            "reasons": found.reasons,
            "chosen": [job_id for job_id in self.chosen if job_id in there],
        }

    async def _page(self, page: int) -> DeadJobList:
        return await self.client.admin.dead_jobs(limit=PAGE, offset=(page - 1) * PAGE, code=self.code or None)

    async def requeue(self, job_ids: list[str] | None = None, code: str | None = None) -> DeadJobsReply:
        """Give jobs another chance, by id or all that failed with ``code``."""
        return await self.client.admin.requeue(job_ids, code=code)

    async def discard(self, job_ids: list[str] | None = None, code: str | None = None) -> DeadJobsReply:
        """Take jobs out of the queue for good, by id or all that failed with ``code``."""
        return await self.client.admin.discard(job_ids, code=code)
