"""Why a queued job is not running yet, in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from zpe_sdk.wire import Capabilities, Requirements, WorkerStatus

Has = Callable[[Capabilities], bool]


def why_waiting(
    needed: Sequence[str],
    *,
    environ: bool,
    environ_input: bool,
    workers: Sequence[WorkerStatus],
    leasing: bool,
    requires: Requirements,
) -> str:
    """Return what a queued job waits for.

    Parameters
    ----------
    needed
        Names of its pseudopotential files.
    environ, environ_input
        Whether it needs Environ with a worker's own input, or with one that it brings.
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
    wanted = _wanted(needed, environ, environ_input, requires)
    missing = [_lacks(worker, wanted) for worker in willing]
    if all(missing):
        # What nobody has says more than what one or the other lacks.
        common = [name for name in wanted if all(name in lacks for lacks in missing)]
        return f"{_count(willing)}, none has {' and '.join(common) or 'all of ' + ', '.join(wanted)}"
    able = [worker for worker, lacks in zip(willing, missing, strict=True) if not lacks]
    return f"waiting for {_count(able)} to have time"


def _wanted(
    needed: Sequence[str], environ: bool, environ_input: bool, requires: Requirements
) -> dict[str, Has]:
    """Return what a worker must have, by what it is called, and how to tell whether it has it."""

    def file(name: str) -> Has:
        return lambda able: (
            able.engine == "mock" or able.pseudopotentials is None or name in able.pseudopotentials
        )

    def tag(name: str) -> Has:
        return lambda able: name in able.tags

    wanted = {name: file(name) for name in needed}
    if environ:
        wanted["Environ with an environ.in"] = lambda able: able.engine == "mock" or able.environ
    if environ_input:
        wanted["Environ"] = lambda able: able.engine == "mock" or able.environ_input
    wanted |= {f"the tag {name}": tag(name) for name in requires.tags}
    if cores := requires.cores:
        wanted[f"{cores} cores"] = lambda able: (able.cores or 0) >= cores
    if memory := requires.memory_gb:
        wanted[f"{memory:g} GB of memory"] = lambda able: (able.memory_gb or 0) >= memory
    return wanted


def _lacks(worker: WorkerStatus, wanted: dict[str, Has]) -> list[str]:
    able = worker.capabilities or Capabilities(engine="mock")  # one that tells nothing is offered any input
    return [name for name, has in wanted.items() if not has(able)]


def _count(workers: Sequence[WorkerStatus]) -> str:
    return f"{len(workers)} worker" + ("s" if len(workers) > 1 else "")


def _since(workers: Sequence[WorkerStatus]) -> str:
    last = max(datetime.fromisoformat(worker.last_seen_at) for worker in workers if worker.last_seen_at)
    minutes = (datetime.now(UTC) - last).total_seconds() / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h"
