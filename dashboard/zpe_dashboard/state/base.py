"""What the states of all pages have in common."""

from __future__ import annotations

from typing import Any

import param

from zpe_sdk.client.async_client import AsyncZPEClient
from zpe_sdk.wire import HistoryEvent, JobList


class State(param.Parameterized):
    """The state of one page in one browser tab.

    Looking (:meth:`fetch`) is apart from taking in what was seen, since the latter sets off the views and has
    to happen when the page's document is free.
    """

    loaded = param.Boolean(default=False, doc="Whether there was an answer yet.")
    problem = param.String(default="", doc="Why the control plane refused the last look.")

    def __init__(self, client: AsyncZPEClient, **params: Any) -> None:
        super().__init__(**params)
        self.client = client

    def __repr__(self) -> str:
        # Param's own shows all values, and some of them are secrets.
        return f"<{type(self).__name__}>"

    async def fetch(self) -> dict[str, Any]:
        """Ask the control plane; return new values of params."""
        raise NotImplementedError

    async def refresh(self) -> None:
        """Ask the control plane and show what it says."""
        self.take(await self.fetch())

    def take(self, news: dict[str, Any]) -> None:
        """Take in what :meth:`fetch` has found."""
        self.param.update(**news, loaded=True, problem="")

    def open(self, subject: str, filters: dict[str, str]) -> None:
        """Take the subject and the filters of the URL."""


def last_page(page: int, total: int, size: int) -> int:
    """Return the page that is meant: one beyond the end is the last one."""
    return min(page, max(1, -(-total // size)))


class WorkerNames:
    """Puts names in place of the workers' ids in events; asks when an unknown one turns up."""

    def __init__(self, client: AsyncZPEClient) -> None:
        self._client = client
        self._names: dict[str, str] = {}

    async def put(self, events: list[HistoryEvent]) -> list[HistoryEvent]:
        """Return the events with names."""
        unknown = {event.worker for event in events if event.worker} - self._names.keys()
        if unknown:
            found = (await self._client.admin.workers(revoked=True)).workers  # to a researcher, their own
            self._names |= {worker: worker for worker in unknown}
            self._names |= {worker.server_id: worker.name for worker in found}
        return [event.model_copy(update={"worker": self._names.get(event.worker or "")}) for event in events]


async def job_page(client: AsyncZPEClient, **filters: Any) -> JobList:
    """Return a page of jobs with the number of all that match."""
    return await client.connection.call("GET", "/calc/zpe/jobs", JobList, params=filters)
