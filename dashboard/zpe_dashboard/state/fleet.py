"""Compute nodes and the leases they hold."""

from __future__ import annotations

from typing import Any, get_args

import param

from zpe_dashboard.state.base import State, last_page
from zpe_sdk.wire import LeaseStatus, WorkerState, WorkerStatus

PAGE = 50
STATES = (*get_args(WorkerState), "draining")


class Workers(State):
    """The compute nodes that match a search."""

    search = param.String(default="", doc="Only workers with this in name, host, owner, tags or versions.")
    status: param.Selector[str] = param.Selector(
        default="", objects=["", *STATES], doc="Only workers in this state."
    )
    page = param.Integer(default=1, bounds=(1, None))
    workers = param.List(default=[], item_type=WorkerStatus, doc="Those of the page.")
    total = param.Integer(default=0, doc="Workers that match.")
    chosen = param.List(default=[], item_type=str, doc="Ids of the workers that were ticked.")

    @property
    def pages(self) -> int:
        """How many pages they fill."""
        return max(1, -(-self.total // PAGE))

    @property
    def filters(self) -> dict[str, str]:
        """What of this goes into the URL."""
        return {"search": self.search, "status": self.status, "page": str(self.page) if self.page > 1 else ""}

    def open(self, subject: str, filters: dict[str, str]) -> None:
        """Take the filters of the URL."""
        status, page = filters.get("status", ""), filters.get("page", "")
        self.param.update(
            search=filters.get("search", "")[:200],
            status=status if status in STATES else "",
            page=max(1, int(page)) if page.isdecimal() and len(page) < 9 else 1,
        )

    def narrow(self, **filters: str) -> None:
        """Set filters, and begin with the first page again."""
        self.param.update(**filters, page=1)

    async def fetch(self) -> dict[str, Any]:
        """Ask for the workers, and find those that match."""
        found = [
            worker
            for worker in (await self.client.admin.workers()).workers
            if self.search.lower() in _words_of(worker) and self.status in ("", *_states_of(worker))
        ]
        page = last_page(self.page, len(found), PAGE)
        shown = found[(page - 1) * PAGE : page * PAGE]
        there = {worker.server_id for worker in shown}
        return {
            "workers": shown,
            "total": len(found),
            "page": page,
            "chosen": [server_id for server_id in self.chosen if server_id in there],
        }

    async def drain(self, *server_ids: str, drain: bool) -> None:
        """Give workers no new work, or work again."""
        for server_id in server_ids:
            await self.client.workers.drain(server_id, drain)

    async def revoke(self, server_id: str, *, and_its_results: bool = False) -> None:
        """Shut a worker out; its leases are released, and its results taken back if that is wanted."""
        await self.client.admin.revoke_worker(server_id, and_its_results=and_its_results)


def _states_of(worker: WorkerStatus) -> list[str]:
    return [worker.state, *(["draining"] if worker.draining else [])]


def _words_of(worker: WorkerStatus) -> str:
    """Return what a search looks through."""
    able = worker.capabilities
    known = [able.engine_version, able.zpe_version, *able.tags] if able else []
    known += [worker.name, worker.server_id, worker.owner, *worker.meta.values()]
    return " ".join(str(word) for word in known if word).lower()


class Leases(State):
    """The leases in force, the first to expire first."""

    leases = param.List(default=[], item_type=LeaseStatus)

    async def fetch(self) -> dict[str, Any]:
        """Ask for them."""
        return {"leases": (await self.client.admin.leases()).leases}

    async def release(self, lease_id: str) -> None:
        """Release a lease; its unfinished SCFs go to other workers."""
        await self.client.admin.release_lease(lease_id)
