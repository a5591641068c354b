"""Why a queued job is not running yet, in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from zpe_sdk.espresso.versions import VersionNeed
from zpe_sdk.wire import Capabilities, EngineName, Requirements, WorkerStatus
from zpe_sdk.wire.versions import fits, numbers
from zpe_server.owners import Groups, may_run
from zpe_server.records import requirements

Has = Callable[[Capabilities], bool]
_NONE_FIT: dict[EngineName, str] = {
    "espresso": "none runs pw.x (they are in mock mode)",
    "mock": "none is in mock mode, which the job asks for",
}

_WAITS_FOR_TIME = "waiting for {} to have time"
_YOURS = "your {} {} busy"


def why_waiting(
    needed: Sequence[str],
    *,
    owner: str = "",
    only: Mapping[str, Any] | None = None,
    groups: Groups | None = None,
    engine: EngineName,
    environ: bool,
    environ_input: bool,
    relaxes: bool = False,
    versions: Sequence[VersionNeed] = (),
    workers: Sequence[WorkerStatus],
    leasing: bool,
    requires: Requirements,
) -> str:
    """Return what a queued job waits for.

    Parameters
    ----------
    needed
        Names of its pseudopotential files.
    owner
        Whose job it is.
    only
        For which workers it is; None: for any.
    groups
        The groups of researchers.
    engine
        What is to compute it.
    environ, environ_input
        Whether it needs Environ with a worker's own input, or with one that it brings.
    relaxes
        Whether it needs a worker that knows relaxations.
    versions
        What it needs of the version of pw.x.
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
    allowed = [worker for worker in workers if may_run(worker, owner, only, groups or {})]
    if not allowed:
        return _for_nobody(workers, only)
    others = sum(worker.alive for worker in workers) - sum(worker.alive for worker in allowed)
    return _what_they_lack(
        owner, allowed, needed, engine, environ, environ_input, relaxes, versions, requires
    ) + (f"; {others} of others may not take it" if others else "")


def _for_nobody(workers: Sequence[WorkerStatus], only: Mapping[str, Any] | None) -> str:
    """Say why no worker that has enrolled may run a job."""
    if only is None:
        return f"{_count(workers)}, none takes jobs of others than its owner"
    if "mine" in only:
        return "it is for workers of your own, and none has enrolled"
    if "group" in only:
        return f"it is for workers of the group {only['group']}, and none takes it"
    return "the worker that it is for has left, or does not take it any more"


def _what_they_lack(
    owner: str,
    workers: Sequence[WorkerStatus],
    needed: Sequence[str],
    engine: EngineName,
    environ: bool,
    environ_input: bool,
    relaxes: bool,
    versions: Sequence[VersionNeed],
    requires: Requirements,
) -> str:
    """Say why none of the workers that may run a job runs it."""
    alive = [worker for worker in workers if worker.alive]
    if not alive:
        return f"no worker connected for {_since(workers)}"
    willing = [worker for worker in alive if not worker.draining]
    if not willing:
        return f"{_count(alive)}, none takes new work"
    # One that tells nothing is offered anything.
    fit = [w for w in willing if w.capabilities is None or w.capabilities.engine == engine]
    if not fit:
        return f"{_count(willing)}, {_NONE_FIT[engine]}"
    if outdated := [need for need in versions if not any(_has_version(w, need) for w in fit)]:
        return f"needs {' and '.join(map(str, outdated))}; {_versions(fit)}"
    wanted = _wanted(needed, environ, environ_input, requires)
    if relaxes:
        wanted["a version of zpe that knows relaxations"] = lambda able: able.relaxes
    wanted |= {str(need): partial(_runs, need) for need in versions}
    missing = [_lacks(worker, wanted) for worker in fit]
    if all(missing):
        # What nobody has says more than what one or the other lacks.
        common = [name for name in wanted if all(name in lacks for lacks in missing)]
        return f"{_count(fit)}, none has {' and '.join(common) or 'all of ' + ', '.join(wanted)}"
    able = [worker for worker, lacks in zip(fit, missing, strict=True) if not lacks]
    if owner and all(worker.owner == owner for worker in able):
        return _YOURS.format(_count(able), "are" if len(able) > 1 else "is")
    return _WAITS_FOR_TIME.format(_count(able))


def wants(needs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of :func:`why_waiting` that say what a job needs, as its record has it."""
    return {
        "needed": needs.get("pseudopotentials", []),
        "engine": needs.get("engine", "espresso"),
        "environ": needs.get("environ", False),
        "versions": [VersionNeed(**need) for need in needs.get("versions", [])],
        "environ_input": needs.get("environ_input", False),
        "relaxes": needs.get("relaxes", False),
        "requires": requirements(needs),
    }


def can_run(worker: WorkerStatus, **wanted: Any) -> bool:
    """Tell whether a worker takes a job, which then waits for nothing but its time."""
    one = _count([worker])
    return why_waiting(workers=[worker], **wanted) in (_WAITS_FOR_TIME.format(one), _YOURS.format(one, "is"))


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


def _runs(need: VersionNeed, able: Capabilities) -> bool:
    return able.engine == "mock" or fits(able.engine_version, need.condition)


def _has_version(worker: WorkerStatus, need: VersionNeed) -> bool:
    return worker.capabilities is None or _runs(need, worker.capabilities)


def _versions(workers: Sequence[WorkerStatus]) -> str:
    """Say which versions of pw.x the workers have."""
    found = sorted({w.capabilities.engine_version or "" for w in workers if w.capabilities}, key=numbers)
    whose = "the worker here has" if len(workers) == 1 else f"the {len(workers)} workers here have"
    return f"{whose} {' and '.join(found)}"


def _lacks(worker: WorkerStatus, wanted: dict[str, Has]) -> list[str]:
    able = worker.capabilities or Capabilities(engine="mock")  # one that tells nothing is offered any input
    return [name for name, has in wanted.items() if not has(able)]


def _count(workers: Sequence[WorkerStatus]) -> str:
    return f"{len(workers)} worker" + ("s" if len(workers) > 1 else "")


def _since(workers: Sequence[WorkerStatus]) -> str:
    last = max(datetime.fromisoformat(worker.last_seen_at) for worker in workers if worker.last_seen_at)
    minutes = (datetime.now(UTC) - last).total_seconds() / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h"
