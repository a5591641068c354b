"""Why a queued job is not running yet, in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from zpe_sdk.wire import Capabilities, Requirements, WorkerStatus


def why_waiting(
    needed: Sequence[str],
    *,
    environ: bool,
    workers: Sequence[WorkerStatus],
    leasing: bool,
    requires: Requirements,
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
    requires
        What else it wants of a worker.
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
    wanted = [
        *needed,
        *(["Environ"] if environ else []),
        *(f"the tag {tag}" for tag in requires.tags),
        *([f"{requires.cores} cores"] if requires.cores else []),
        *([f"{requires.memory_gb:g} GB of memory"] if requires.memory_gb else []),
    ]
    missing = [_lacks(worker, needed, environ, requires) for worker in willing]
    if all(missing):
        # What nobody has says more than what one or the other lacks.
        common = [name for name in wanted if all(name in lacks for lacks in missing)]
        return f"{_count(willing)}, none has {' and '.join(common) or 'all of ' + ', '.join(wanted)}"
    able = [worker for worker, lacks in zip(willing, missing, strict=True) if not lacks]
    return f"waiting for {_count(able)} to have time"


def _lacks(worker: WorkerStatus, needed: Sequence[str], environ: bool, requires: Requirements) -> list[str]:
    able = worker.capabilities or Capabilities(engine="mock")
    lacks = [f"the tag {tag}" for tag in requires.tags if tag not in able.tags]
    if (requires.cores or 0) > (able.cores or 0):
        lacks.append(f"{requires.cores} cores")
    if (requires.memory_gb or 0) > (able.memory_gb or 0):
        lacks.append(f"{requires.memory_gb:g} GB of memory")
    if able.engine == "mock":
        return lacks
    has = able.pseudopotentials
    lacks += [name for name in needed if has is not None and name not in has]
    return lacks + (["Environ"] if environ and not able.environ else [])


def _count(workers: Sequence[WorkerStatus]) -> str:
    return f"{len(workers)} worker" + ("s" if len(workers) > 1 else "")


def _since(workers: Sequence[WorkerStatus]) -> str:
    last = max(datetime.fromisoformat(worker.last_seen_at) for worker in workers if worker.last_seen_at)
    minutes = (datetime.now(UTC) - last).total_seconds() / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h"
