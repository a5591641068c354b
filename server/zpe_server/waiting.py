"""Why a queued job is not running yet, in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from zpe_sdk.wire import WorkerStatus


def why_waiting(
    needed: Sequence[str], *, environ: bool, workers: Sequence[WorkerStatus], leasing: bool
) -> str:
    """Return what a queued job waits for.

    Parameters
    ----------
    needed
        Names of its pseudopotential files.
    environ
        Whether it needs Environ.
    workers
        All workers that are not revoked.
    leasing
        Whether work is given out at all.
    """
    if not leasing:
        return "an administrator has stopped the giving out of work for now"
    if not workers:
        return "no worker has enrolled yet"
    alive = [worker for worker in workers if worker.alive]
    if not alive:
        return f"no worker connected for {_since(workers)}"
    willing = [worker for worker in alive if not worker.draining]
    if not willing:
        return f"{_count(alive)}, none takes new work"
    missing = [_lacks(worker, needed, environ) for worker in willing]
    if all(missing):
        # What nobody has says more than what one or the other lacks.
        common = [name for name in [*needed, "Environ"] if all(name in lacks for lacks in missing)]
        return f"{_count(willing)}, none has {' and '.join(common) or 'all of ' + ', '.join(needed)}"
    able = [worker for worker, lacks in zip(willing, missing, strict=True) if not lacks]
    return f"waiting for {_count(able)} to have time"


def _lacks(worker: WorkerStatus, needed: Sequence[str], environ: bool) -> list[str]:
    able = worker.capabilities
    if able is None or able.engine == "mock":
        return []
    has = able.pseudopotentials
    lacks = [name for name in needed if has is not None and name not in has]
    return lacks + (["Environ"] if environ and not able.environ else [])


def _count(workers: Sequence[WorkerStatus]) -> str:
    return f"{len(workers)} worker" + ("s" if len(workers) > 1 else "")


def _since(workers: Sequence[WorkerStatus]) -> str:
    last = max(datetime.fromisoformat(worker.last_seen_at) for worker in workers if worker.last_seen_at)
    minutes = (datetime.now(UTC) - last).total_seconds() / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h"
