"""Finds jobs by a text."""

from __future__ import annotations

from collections.abc import Iterator

from zpe_server.store import Store
from zpe_server.transitions.base import items
from zpe_server.transitions.jobs import ReadFields

# A search looks at so many of the newest jobs, in steps that hold up nobody else for long.
SEARCHED = 100_000
STEP = 500


class Search:
    """Finds jobs by a text; keeps what it has read of them in memory."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # What a search looks at, by job: none of it ever changes.
        self._texts: dict[str, str] = {}

    async def matching(self, job_ids: list[str], search: str) -> list[str]:
        """Return those of ``job_ids`` that have a text in their name, formula, owner or id, in any case."""
        if len(self._texts) > 2 * SEARCHED:
            self._texts = {}
        texts = self._texts
        for step in batched([job_id for job_id in job_ids if job_id not in texts], STEP):
            reply = await self._store.transition(ReadFields(jobs=step, fields=["name", "formula", "owner"]))
            for job_id, row in zip(step, items(reply["rows"]), strict=True):
                texts[job_id] = "\n".join(text for text in (job_id, *row) if text).casefold()
        wanted = search.casefold()
        return [job_id for job_id in job_ids if wanted in texts[job_id]]


def batched(job_ids: list[str], size: int) -> Iterator[list[str]]:
    """Yield ``job_ids`` in lists of at most ``size``."""
    return (job_ids[start : start + size] for start in range(0, len(job_ids), size))
