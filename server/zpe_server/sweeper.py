"""What has to happen without anybody asking: expiry, delayed retries, forgotten results, retention.

Every replica sweeps; each sweep is one atomic transition, so they do not get into each other's way.
"""

from __future__ import annotations

import asyncio
import random
import time

import structlog

from zpe_sdk.errors import StoreError
from zpe_server.completion import Completion
from zpe_server.leases import Leases
from zpe_server.results import ResultStore
from zpe_server.settings import Settings
from zpe_server.store import Store
from zpe_server.transitions.base import items
from zpe_server.transitions.jobs import ListDue, Retire
from zpe_server.transitions.leases import Sweep

log = structlog.get_logger(__name__)

_BATCH = 100
_IDLE_SECONDS = 5.0
_RETIRE_SECONDS = 60.0  # or a quarter of the retention, if that is less
_IDLE_WORKERS_SECONDS = 20.0
_ASSEMBLE_AFTER_MS = 10_000
_PATIENCE_MS = 5_000


async def sweep_for_ever(
    store: Store, completion: Completion, results: ResultStore, leases: Leases, settings: Settings
) -> None:
    """Sweep whenever something falls due."""
    away = False
    next_retire = next_idle = 0.0
    longest = min(_IDLE_SECONDS, settings.lease_ttl_seconds / 4)
    while True:
        pause = longest
        try:
            reply = await store.transition(
                Sweep(
                    limit=_BATCH,
                    retry=settings.retry(random.random()),
                    assemble_after_ms=_ASSEMBLE_AFTER_MS,
                    patience_ms=_PATIENCE_MS,
                )
            )
            for job_id in items(reply["assemble"]):
                completion.later(job_id)
            if reply["expired"]:
                log.warning("leases expired; their unfinished tasks went back", leases=reply["expired"])
            if reply["recalled"]:
                log.info("tasks that a slow worker had not begun are for all again", tasks=reply["recalled"])
            if 0 <= reply["next_ms"] < longest * 1000:
                pause = reply["next_ms"] / 1000 + 0.001
            if time.monotonic() >= next_retire:
                await _retire(store, results)
                next_retire = time.monotonic() + min(_RETIRE_SECONDS, settings.result_ttl_seconds / 4)
            if time.monotonic() >= next_idle:
                await leases.note_idle()
                next_idle = time.monotonic() + _IDLE_WORKERS_SECONDS
            if away:
                log.info("the store is back")
            away = False
        except StoreError as error:
            if not away:
                log.warning("the store is away; trying again until it is back", reason=str(error))
            away = True
            pause = 1.0
        await asyncio.sleep(pause)


async def _retire(store: Store, results: ResultStore) -> None:
    while jobs := items((await store.transition(ListDue(limit=_BATCH)))["jobs"]):
        # The results go first: a job that is still listed has its turn again if we die in between.
        await results.delete(jobs)
        await store.transition(Retire(jobs=jobs))
        log.info("jobs forgotten after their retention", jobs=len(jobs))
