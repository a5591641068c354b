"""Whose jobs a worker runs, as ``lua/shared/owners.lua`` decides it: to tell of it beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zpe_sdk.errors import AuthError
from zpe_sdk.wire import Accepts, WorkerStatus
from zpe_server.settings import UserWorkers
from zpe_server.store import Store, key

# From the narrowest to the widest.
WIDTHS: tuple[Accepts, ...] = ("own", "group", "all")

# By the name of a group, its members.
Groups = Mapping[str, frozenset[str]]


def narrower(one: Accepts, other: Accepts) -> Accepts:
    """Return which of the two takes fewer jobs."""
    return min(one, other, key=WIDTHS.index)


def check_width(widest: UserWorkers, accepts: Accepts) -> None:
    """Raise unless a researcher's worker may take so many jobs.

    Raises
    ------
    AuthError
        ``user_workers_off``, ``accepts_too_wide``.
    """
    if widest == "off":
        raise AuthError(
            "researchers may not enrol workers here; ask an administrator", code="user_workers_off"
        )
    if WIDTHS.index(accepts) > WIDTHS.index(widest):
        raise AuthError(
            f"here a researcher's worker may accept {widest} at most, not {accepts}",
            code="accepts_too_wide",
            field="accepts",
        )


def takes(worker: WorkerStatus, owner: str, groups: Groups) -> bool:
    """Tell whether a worker takes the jobs of an owner."""
    if worker.accepts == "all" or worker.owner == owner:
        return True
    return worker.accepts == "group" and any({worker.owner, owner} <= members for members in groups.values())


def may_run(worker: WorkerStatus, owner: str, only: Mapping[str, Any] | None, groups: Groups) -> bool:
    """Tell whether a worker may run a job of an owner that is ``only`` for some workers."""
    if not takes(worker, owner, groups):
        return False
    if only is None:
        return True
    if "workers" in only:
        return worker.server_id in only["workers"]
    if "group" in only:
        return worker.accepts != "own" and worker.owner in groups.get(only["group"], ())
    return worker.owner == owner


async def all_groups(store: Store) -> Groups:
    """Return the groups of researchers, and who is in them."""
    names = sorted(await store.members(key("groups")))
    found = await store.many_members([key("group", name) for name in names])
    return {name: frozenset(members) for name, members in zip(names, found, strict=True)}
