"""The list of jobs, and one job from inside."""

from __future__ import annotations

from typing import Any, get_args

import param

from zpe_dashboard.state.base import State, WorkerNames, job_page, last_page
from zpe_sdk.client.async_client import AsyncZPEClient
from zpe_sdk.errors import ZPEError
from zpe_sdk.result.bare import BareResult
from zpe_sdk.result.result import ZPEResult
from zpe_sdk.result.structure import StructureResult
from zpe_sdk.wire import JobDetail, JobList, JobOrder, JobState, JobStatus

PAGE = 25
STATES: tuple[str, ...] = get_args(JobState)
ORDERS: tuple[str, ...] = get_args(JobOrder)


class Jobs(State):
    """A page of the jobs that match the filters."""

    status: param.Selector[str] = param.Selector(
        default="", objects=["", *STATES], doc="Only jobs in this state."
    )
    owner = param.String(default="", doc="Only this owner's jobs.")
    search = param.String(default="", doc="Only jobs with this in name, formula, owner or id.")
    order: param.Selector[str] = param.Selector(
        default="newest", objects=list(ORDERS), doc="By the time of submission, or a value."
    )
    page = param.Integer(default=1, bounds=(1, None))
    jobs = param.List(default=[], item_type=JobStatus)
    total = param.Integer(default=0, doc="Jobs that match.")

    @property
    def pages(self) -> int:
        """How many pages the matching jobs fill."""
        return max(1, -(-self.total // PAGE))

    @property
    def filters(self) -> dict[str, str]:
        """What of this goes into the URL."""
        return {
            "status": self.status,
            "owner": self.owner,
            "search": self.search,
            "order": self.order if self.order != "newest" else "",
            "page": str(self.page) if self.page > 1 else "",
        }

    def open(self, subject: str, filters: dict[str, str]) -> None:
        """Take the filters of the URL; what makes no sense is left out."""
        status, order, page = (filters.get(name, "") for name in ("status", "order", "page"))
        self.param.update(
            status=status if status in STATES else "",
            owner=filters.get("owner", "")[:100],
            search=filters.get("search", "")[:200],
            order=order if order in ORDERS else "newest",
            page=max(1, int(page)) if page.isdecimal() and len(page) < 9 else 1,
        )

    def narrow(self, **filters: str) -> None:
        """Set filters, and begin with the first page again."""
        self.param.update(**filters, page=1)

    async def fetch(self) -> dict[str, Any]:
        """Ask for the page; for the last one, if there are fewer by now."""
        page = self.page
        found = await self._page(page)
        if (last := last_page(page, found.total, PAGE)) < page:
            page, found = last, await self._page(last)
        return {"jobs": found.jobs, "total": found.total, "page": page}

    async def _page(self, page: int) -> JobList:
        return await job_page(
            self.client,
            status=self.status or None,
            owner=self.owner or None,
            search=self.search or None,
            order=self.order,
            limit=PAGE,
            offset=(page - 1) * PAGE,
        )

    async def cancel(self) -> None:
        """Cancel the jobs that match."""
        await self.client.cancel_jobs(
            status=self.status or None, owner=self.owner or None, search=self.search or None
        )


class JobInside(State):
    """One job: input, SCFs, history and, when it is finished, its result."""

    job_id = param.String(default="")
    detail = param.ClassSelector(class_=JobDetail, default=None, allow_None=True)
    result = param.ClassSelector(
        class_=(ZPEResult, StructureResult, BareResult), default=None, allow_None=True
    )

    def __init__(self, client: AsyncZPEClient, **params: Any) -> None:
        super().__init__(client, **params)
        self._names = WorkerNames(client)

    def open(self, subject: str, filters: dict[str, str]) -> None:
        """Turn to the job of the URL."""
        if subject != self.job_id:
            self.param.update(job_id=subject, detail=None, result=None, loaded=False, problem="")

    async def fetch(self) -> dict[str, Any]:
        """Ask for the job, and once for its result."""
        job = self.client.job(self.job_id)
        detail = await job.detail()
        history = await self._names.put(detail.history)
        news: dict[str, Any] = {"detail": detail.model_copy(update={"history": history})}
        if detail.job.status != "finished":
            news["result"] = None
        elif self.result is None:
            try:
                news["result"] = await job.result()
            except ZPEError as error:
                # One that another version made, or nobody understands, can be downloaded all the same.
                if error.code != "result_incomplete":
                    raise
        return news

    async def cancel(self) -> None:
        """Cancel the job."""
        await self.client.job(self.job_id).cancel()

    async def requeue(self) -> None:
        """Take the job out of the dead-letter queue."""
        await self.client.job(self.job_id).requeue()

    async def resubmit(self) -> str:
        """Submit the same request as a new job; return its id."""
        return (await self.client.job(self.job_id).resubmit()).id
