"""What every store of results can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Result:
    """What a finished job leaves: its result document as JSON, summary.txt and freqs.csv."""

    document: str
    summary: str
    freqs: str


class ResultStore(Protocol):
    """Keeps results by job id.

    Methods raise :class:`StoreError` ``store_unavailable`` if the store is away.
    """

    async def put(self, job_id: str, result: Result) -> None:
        """Store a result, in place of any earlier one.

        Raises
        ------
        StoreError
            ``result_too_large``.
        """

    async def get(self, job_id: str) -> Result | None:
        """Return a result, or None if there is none."""

    async def delete(self, job_ids: list[str]) -> None:
        """Delete results; those that do not exist do not matter."""
