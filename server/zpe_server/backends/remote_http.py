"""The main road: workers come by themselves, over HTTPS."""

from __future__ import annotations


class RemoteHTTP:
    """Nothing to be done here."""

    async def run(self) -> None:
        """Return at once."""
