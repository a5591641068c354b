"""Where jobs may run: the workers that take a researcher's jobs, and which of them a job is for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from zpe_sdk.errors import InputError
from zpe_sdk.wire import TargetList, TargetReply, WorkerStatus, WorkerTarget
from zpe_server.owners import all_groups, takes
from zpe_server.store import Store, key
from zpe_server.tokens import Principal
from zpe_server.workers import Workers

ANY, MINE = "any", "mine"


class Targets:
    """What a researcher can choose from, and has chosen."""

    def __init__(self, store: Store, workers: Workers) -> None:
        self._store = store
        self._workers = workers

    async def all(self, who: Principal) -> TargetList:
        """List the workers that may run the jobs of a researcher, their own first."""
        usable = await self._usable(who.subject)
        usable.sort(key=lambda worker: worker.owner != who.subject)
        return TargetList(
            targets=[_target(worker, who.subject) for worker in usable],
            active_target_id=await self._selected(who.subject),
        )

    async def select(self, who: Principal, target: str) -> TargetReply:
        """Choose where jobs run that do not say it.

        Raises
        ------
        InputError
            ``unknown_target``.
        """
        only = await self._only(who.subject, target, field="target_id")
        # By its id: another worker of the same name is another machine.
        chosen = target if only is None or "workers" not in only else next(iter(only["workers"]))
        await self._store.set_fields(key("owner", who.subject), {"target": "" if only is None else chosen})
        return TargetReply(active_target_id=None if only is None else chosen)

    async def decide(self, who: Principal, where: str | None) -> tuple[str, str | None]:
        """Return where a job is to run, and for which workers that makes it (JSON; None: for any).

        Raises
        ------
        InputError
            ``unknown_target``: there is no such worker or group, or none that takes their jobs.
        """
        where = where or await self._selected(who.subject) or ANY
        only = await self._only(who.subject, where, field="where")
        return where, None if only is None else json.dumps(only)

    async def _only(self, owner: str, where: str, *, field: str) -> Mapping[str, Any] | None:
        if where == ANY:
            return None
        if where == MINE:
            return {"mine": True}
        if owner in (await all_groups(self._store)).get(where, ()):
            return {"group": where}
        usable = await self._usable(owner)
        chosen = [w for w in usable if w.server_id == where] or [w for w in usable if w.name == where]
        if not chosen:
            raise InputError(
                f"{field}: {where!r} is neither 'mine' nor 'any', nor a worker that takes your jobs, "
                "nor a group that you are in",
                code="unknown_target",
                field=field,
            )
        return {"workers": {worker.server_id: True for worker in chosen}}

    async def _usable(self, owner: str) -> list[WorkerStatus]:
        groups = await all_groups(self._store)
        return [w for w in await self._workers.all() if takes(w, owner, groups)]

    async def _selected(self, owner: str) -> str | None:
        return (await self._store.fields(key("owner", owner))).get("target") or None


def _target(worker: WorkerStatus, owner: str) -> WorkerTarget:
    able = worker.capabilities
    return WorkerTarget(
        target_id=worker.server_id,
        queue_name=worker.name,
        server_id=worker.server_id,
        registered_at=worker.registered_at,
        name=worker.name,
        owner=worker.owner,
        accepts=worker.accepts,
        mine=worker.owner == owner,
        alive=worker.alive,
        ended=worker.ended,
        draining=worker.draining,
        engine=able.engine if able else None,
        engine_version=able.engine_version if able else None,
        slots=able.slots if able else None,
        leases=len(worker.leases),
        last_seen_at=worker.last_seen_at,
    )
