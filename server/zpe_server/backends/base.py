"""What every compute backend can do."""

from __future__ import annotations

from typing import Protocol


class ZPEComputeBackend(Protocol):
    """Sees to it that somebody leases the tasks of queued jobs."""

    async def run(self) -> None:
        """Work until cancelled, through outages of the store; ended, nothing of it is left running."""
