"""Finds jobs by what is written on them, when they were submitted and where they stand."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from zpe_sdk.wire import JobOrder, JobState
from zpe_server.records import zpe_ev
from zpe_server.store import Store, key
from zpe_server.transitions.base import items
from zpe_server.transitions.jobs import ReadFields

# A search looks at so many of the newest jobs, in steps that hold up nobody else for long.
SEARCHED = 100_000
STEP = 500


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which jobs are meant; what is left out may be anything.

    Attributes
    ----------
    states
        One of these.
    project
        Its name.
    tags
        All of these.
    since_ms, until_ms
        Submitted at the first or later, and before the second (ms).
    text
        In name, formula, owner or id, in any case.
    """

    states: frozenset[JobState] = frozenset()
    project: str | None = None
    tags: frozenset[str] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None
    text: str | None = None

    @property
    def is_one_index(self) -> bool:
        """Whether the store has a list of just these."""
        return self == Wanted(states=self.states) and len(self.states) < 2


def _natural(text: str) -> list[str | int] | None:
    """Put ``run 2`` before ``run 10``."""
    parts = re.split(r"(\d+)", text.casefold())
    return [int(part) if n % 2 else part for n, part in enumerate(parts)] if text else None


def _seconds(started: str, finished: str) -> int | None:
    return int(finished) - int(started) if started and finished else None


# What jobs can be ordered by: fields of their records, and what these make; None: nothing to order by.
_VALUES: Mapping[str, tuple[Sequence[str], Callable[..., Any]]] = {
    "name": (["name"], _natural),
    "formula": (["formula"], _natural),
    "status": (["status"], get_args(JobState).index),
    "owner": (["owner"], _natural),
    "duration": (["started", "finished"], _seconds),
    "zpe": (["zpe_ev", "taken_back"], zpe_ev),
}


class Search:
    """Finds jobs; keeps in memory what it has read of their texts."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # What a text is looked for in, by job: none of it ever changes.
        self._texts: dict[str, str] = {}

    async def page(
        self, whose: str, wanted: Wanted, *, order: JobOrder, limit: int, offset: int
    ) -> tuple[list[str], int]:
        """Return the ids of a page of jobs of an owner (``*``: of all), and how many there are in all."""
        if wanted.is_one_index and order in ("newest", "oldest"):
            name = key("index", whose, *wanted.states or "*")
            return await self._store.page(name, offset, limit, lowest_first=order == "oldest")
        if wanted.project:
            names = [key("project", whose, wanted.project)]
        else:
            names = [key("index", whose, state) for state in wanted.states or "*"]
        found = await self._store.newest(names, SEARCHED, since=wanted.since_ms, until=wanted.until_ms)
        if wanted.tags or (wanted.project and wanted.states):
            found = [job_id async for job_id in self._fitting(found, wanted)]
        if wanted.text:
            found = await self._matching(found, wanted.text)
        if order == "oldest":
            found.reverse()
        elif order != "newest":
            found = await self._ordered(found, order)
        return found[offset : offset + limit], len(found)

    async def _fitting(self, job_ids: list[str], wanted: Wanted) -> AsyncIterator[str]:
        """Yield those that have the tags and are of one of the states."""
        for step in batched(job_ids, STEP):
            reply = await self._store.transition(ReadFields(jobs=step, fields=["status", "tags"]))
            for job_id, (status, tags) in zip(step, items(reply["rows"]), strict=True):
                if (status in wanted.states or not wanted.states) and wanted.tags <= set(
                    json.loads(tags or "[]")
                ):
                    yield job_id

    async def _ordered(self, job_ids: list[str], order: JobOrder) -> list[str]:
        """Return them by a value of theirs; those that have none come last, whichever way round."""
        fields, value_of = _VALUES[order.removeprefix("-")]
        values: dict[str, Any] = {}
        for step in batched(job_ids, STEP):
            reply = await self._store.transition(ReadFields(jobs=step, fields=fields))
            for job_id, row in zip(step, items(reply["rows"]), strict=True):
                if (value := value_of(*(text or "" for text in row))) is not None:
                    values[job_id] = value
        return [
            *sorted(values, key=values.__getitem__, reverse=order.startswith("-")),
            *(job_id for job_id in job_ids if job_id not in values),
        ]

    async def _matching(self, job_ids: list[str], search: str) -> list[str]:
        """Return those that have a text in their name, formula, owner or id, in any case."""
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
