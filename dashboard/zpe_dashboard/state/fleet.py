"""Compute nodes and the leases they hold."""

from __future__ import annotations

import asyncio
from typing import Any

import param

from zpe_dashboard.state.base import State
from zpe_sdk.wire import LeaseStatus, WorkerStatus


class Workers(State):
    """The compute nodes, with the leases that each one holds."""

    workers = param.List(default=[], item_type=WorkerStatus)
    leases = param.Dict(default={}, doc="Leases in force, by worker's id.")

    async def fetch(self) -> dict[str, Any]:
        """Ask for workers and leases."""
        workers, leases = await asyncio.gather(self.client.admin.workers(), self.client.admin.leases())
        held: dict[str, list[LeaseStatus]] = {}
        for lease in leases.leases:
            held.setdefault(lease.server_id, []).append(lease)
        return {"workers": workers.workers, "leases": held}

    async def drain(self, server_id: str, drain: bool) -> None:
        """Give a worker no new work, or work again."""
        await self.client.admin.drain(server_id, drain)

    async def revoke(self, server_id: str, *, and_its_results: bool = False) -> None:
        """Shut a worker out; its leases are released, and its results taken back if that is wanted."""
        await self.client.admin.revoke_worker(server_id, and_its_results=and_its_results)


class Leases(State):
    """The leases in force, the first to expire first."""

    leases = param.List(default=[], item_type=LeaseStatus)

    async def fetch(self) -> dict[str, Any]:
        """Ask for them."""
        return {"leases": (await self.client.admin.leases()).leases}

    async def release(self, lease_id: str) -> None:
        """Release a lease; its unfinished SCFs go to other workers."""
        await self.client.admin.release_lease(lease_id)
