"""The spans of jobs that have ended, whichever replica ended them, and however.

Where a job ends in Redis, an entry is left there for a replica that traces jobs; whichever takes it first
records the job, with what came before its first SCF.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import structlog

from zpe_sdk.errors import StoreError
from zpe_sdk.traces import Attribute, Traces
from zpe_server.store import Store
from zpe_server.transitions.base import items
from zpe_server.transitions.service import TakeEnded

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 2.0
_TOGETHER = 100
# So long may no replica have looked until entries are left no more.
_WANTED_SECONDS = 600.0
_MS = 1_000_000  # ns


class Ended:
    """Records jobs that have ended.

    Parameters
    ----------
    store
        Where the entries are.
    traces
        Where the spans go; if that is nowhere, no entries are left.
    """

    def __init__(self, store: Store, traces: Traces) -> None:
        self._store = store
        self._traces = traces

    async def run(self) -> None:
        """Record what ends, again and again; where jobs are not traced, end."""
        while self._traces.on:
            try:
                await self.take()
            except StoreError as error:  # said by others
                log.debug("the store is away", reason=str(error))
            await asyncio.sleep(_LOOK_SECONDS)

    async def take(self) -> None:
        """Record what has ended up to now."""
        more = self._traces.on
        while more:
            reply = await self._store.transition(TakeEnded(limit=_TOGETHER, wanted_ms=_WANTED_SECONDS * 1000))
            ended = items(reply["ended"])
            for text in ended:
                self._record(json.loads(text))
            more = len(ended) == _TOGETHER

    def _record(self, entry: dict[str, Any]) -> None:
        job_id, created = entry["job"], int(entry["created"]) * _MS
        # Redis tells whole ms, cut off: what ended within one ended before its end.
        ended = (int(entry["at"]) + 1) * _MS
        error = json.loads(entry["error"]) if entry["status"] == "failed" else {}
        code: str | None = error.get("code")
        about: dict[str, Attribute] = {
            "status": entry["status"],
            "kind": entry.get("kind"),
            "atoms": _number(entry, "nat"),
            "scfs": _number(entry, "total"),
            "scfs_reused": _number(entry, "reused"),
            "error_side": error.get("side"),
        }
        if "before" in entry:
            before = int(entry["before"]) * _MS
            self._traces.span(job_id, "again", before, ended, error=code, **about)
            return
        began = min(created, int(entry.get("began", entry["created"])) * _MS)
        self._traces.job(job_id, began, ended, error=code, **about)
        self._traces.span(job_id, "plan", began, created)
        started = int(entry["started"]) * _MS if "started" in entry else ended
        self._traces.span(job_id, "wait", created, started)


def _number(entry: dict[str, Any], name: str) -> int | None:
    return int(entry[name]) if name in entry else None
