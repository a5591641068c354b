"""Leases: the temporary right of a worker to run some of a job's tasks."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace

from zpe_sdk.wire import (
    Capabilities,
    HeartbeatReply,
    HeartbeatRequest,
    JobPayload,
    LeaseReply,
    LeaseRequest,
    LeaseStatus,
    RelaxationState,
    ReleaseRequest,
    RunningScf,
    Task,
)
from zpe_sdk.wire.relaxation import DEFAULT_STEPS
from zpe_server.events import Events
from zpe_server.idle import Asks, IdleWorkers
from zpe_server.measures import QUEUE_WAIT
from zpe_server.records import iso
from zpe_server.reports import raise_conflict
from zpe_server.settings import Settings
from zpe_server.store import Store
from zpe_server.tokens import Principal
from zpe_server.transitions.base import items
from zpe_server.transitions.leases import Able, Heartbeat, Lease, Leased, ListLeases, NoteSeen, Release, Told
from zpe_server.workers import ALIVE_SECONDS

# How many jobs of the line a lease looks at in one go, for one that its worker can run.
SCAN = 100
# How many SCFs a job may be ahead of its turn when a worker asks that has densities of it.
WARM_TURNS = 8


class Leases:
    """Gives work to workers, and releases what they do not do."""

    def __init__(self, store: Store, events: Events, settings: Settings) -> None:
        self._store = store
        self._events = events
        self._settings = settings
        self._ttl_ms = settings.lease_ttl_seconds * 1000
        self._idle = IdleWorkers(events)

    async def lease(
        self,
        worker: Principal,
        request: LeaseRequest,
        *,
        instance: str,
        disconnected: Callable[[], Awaitable[bool]],
    ) -> LeaseReply | None:
        """Return a share of a job, as soon as there is one within ``wait_seconds``, else None."""
        # Derived from the worker's key, so that a request repeated after a lost reply finds its lease.
        name = f"{worker.subject} {request.lease_key or uuid.uuid4().hex}"
        lease_id = hashlib.sha256(name.encode()).hexdigest()[:32]
        able = request.capabilities
        ask = Lease(
            worker=worker.subject,
            instance=instance,
            ttl_ms=self._ttl_ms,
            lease=lease_id,
            max_scfs=self._settings.quota_scfs,
            max_tasks=request.max_tasks or 0,
            alive_ms=ALIVE_SECONDS * 1000,
            warm=request.warm,
            warm_turns=WARM_TURNS,
            scan=SCAN,
            able=abilities(able),
            capabilities=able.model_dump_json() if able else "",
        )
        asks = Asks(request.max_tasks is None, ask.able.digest)
        deadline = time.monotonic() + request.wait_seconds
        with self._events.work() as waiter:
            offset = 0
            look = not self._idle.would_find_nothing(worker.subject, instance, asks, request.lease_key)
            while True:
                if look:
                    reply = await self._store.transition(replace(ask, offset=offset))
                    if "job" in reply:
                        self._idle.found_work(worker.subject, instance)
                        if "waited_ms" in reply:
                            QUEUE_WAIT.observe(reply["waited_ms"] / 1000)
                        return self._lease_reply(reply)
                    if offset := reply.get("next", 0):
                        continue
                    if reply.get("blocked"):
                        self._events.pass_on(waiter)
                    self._idle.found_nothing(
                        worker.subject, instance, asks, request.lease_key, waiter.generation
                    )
                look = True
                remaining = deadline - time.monotonic()
                if remaining <= 0 or self._events.closing:
                    return None
                if not await waiter.wait(remaining):
                    return None
                if await disconnected():
                    self._events.pass_on(waiter)
                    return None

    async def note_idle(self) -> None:
        """Note in Redis that those who need not look are alive, and what memory they have free."""
        if seen := self._idle.seen():
            told = {worker: free for worker, free in seen.items() if free is not None}
            await self._store.transition(NoteSeen(workers=sorted(seen), memory_free_gb=told))

    async def release(
        self, worker: Principal, job_id: str, request: ReleaseRequest, *, instance: str
    ) -> None:
        """Release tasks of a worker that stops or has no room for them; no attempt counts.

        Raises
        ------
        InputError
            ``lease_not_yours``, ``lease_not_found``.
        """
        reply = await self._store.transition(
            Release(
                worker=worker.subject,
                instance=instance,
                ttl_ms=self._ttl_ms,
                job=job_id,
                lease=request.lease_id,
                reason=f"worker {worker.name} released its tasks",
                tasks=request.tasks,
            )
        )
        raise_conflict(reply)

    async def release_any(self, lease_id: str) -> None:
        """Release a lease, whosever it is, on an administrator's wish.

        Raises
        ------
        InputError
            ``lease_not_found``.
        """
        reply = await self._store.transition(
            Release(worker="", ttl_ms=0, job="", lease=lease_id, reason="an administrator released the lease")
        )
        raise_conflict(reply)

    async def heartbeat(
        self, worker: Principal, request: HeartbeatRequest, *, instance: str
    ) -> HeartbeatReply:
        """Renew leases, and say which are lost or cancelled.

        To a worker without leases only a drain can be news, and of that Redis tells by itself.
        """
        ttl, busy = self._settings.lease_ttl_seconds, bool(request.lease_ids) or request.ending
        if request.ending:
            self._idle.ends(worker.subject)
        free = request.memory_free_gb
        draining = None if busy else self._idle.draining(worker.subject, instance, memory_free_gb=free)
        if draining is not None:
            return HeartbeatReply(leases={}, lease_ttl_seconds=ttl, draining=draining)
        changes = self._events.principals_changed
        reply = await self._store.transition(
            Heartbeat(
                worker=worker.subject,
                instance=instance,
                ttl_ms=self._ttl_ms,
                leases=request.lease_ids,
                running={lease: _told(scfs) for lease, scfs in request.running.items()},
                memory_free_gb=free,
                ending=request.ending,
            )
        )
        if not busy:
            self._idle.hears(worker.subject, instance, draining=reply["draining"], changes=changes)
        return HeartbeatReply(
            leases=dict(reply["leases"]),
            left={lease: items(tasks) for lease, tasks in reply["left"].items()},
            lease_ttl_seconds=ttl,
            draining=reply["draining"],
        )

    async def all(self) -> list[LeaseStatus]:
        """List the leases in force, the first to expire first."""
        reply = await self._store.transition(ListLeases())
        return [
            LeaseStatus(
                lease_id=record["lease"],
                job_id=record["job"],
                job_name=record.get("job_name"),
                server_id=record["worker"],
                worker=record["worker_name"],
                tasks=sorted(int(task) for task in items(record["tasks"])),
                issued_at=iso(record["issued"]),
                expires_at=iso(record["deadline"]),
                expires_in_seconds=(float(record["deadline"]) - reply["now"]) / 1000,
                renewals=int(record["renewals"]),
            )
            for record in items(reply["leases"])
        ]

    def _lease_reply(self, reply: Leased) -> LeaseReply:
        payload = JobPayload.model_validate_json(reply["payload"])
        table = {task["index"]: task for task in json.loads(reply["task_table"])}
        starts = reply.get("starts", {})
        return LeaseReply(
            job_id=reply["job"],
            name=reply.get("name"),
            scfs=len(table),
            payload=payload,
            lease_id=reply["lease"],
            lease_ttl_seconds=self._settings.lease_ttl_seconds,
            tasks=[
                Task.from_json(table[index] | {"start": starts.get(str(index))})
                for index in sorted(int(task) for task in items(reply["tasks"]))
            ],
            relaxation=_relaxation(payload, reply),
            more=bool(reply.get("more")),
            request_id=reply.get("request_id"),
        )


def _relaxation(payload: JobPayload, reply: Leased) -> RelaxationState | None:
    """Return where a relaxation goes on; None if the job is not in that stage."""
    if payload.stage != "relax" or payload.relax is None:
        return None
    done = reply.get("steps", 0)
    counted = done - reply.get("steps_from", 0)
    # Whoever had it last may have taken the last step, and died before saying how it ended.
    left = max(1, (payload.relax.steps or DEFAULT_STEPS) - counted)
    course = json.loads(reply.get("course") or "{}")
    return RelaxationState(done=done, steps=left, **course)


def abilities(able: Capabilities | None) -> Able:
    """Return what the lease transition asks about a worker; one that tells nothing is offered anything."""
    if able is None:
        return Able()
    return Able(
        accepts=able.accepts,
        engine=able.engine,
        engine_version=able.engine_version or "",
        environ=able.environ,
        environ_input=able.environ_input,
        relaxes=able.relaxes,
        pseudopotentials=None
        if able.pseudopotentials is None
        else dict.fromkeys(able.pseudopotentials, True),
        slots=able.slots,
        cores=able.cores or 0,
        memory_gb=able.memory_gb or 0,
        tags=dict.fromkeys(able.tags, True),
        digest=hashlib.sha256(able.model_dump_json().encode()).hexdigest()[:32],
    )


def _told(scfs: list[RunningScf]) -> Told:
    return Told(
        scfs=json.dumps([scf.model_dump(exclude_none=True) for scf in scfs]),
        mark=" ".join(f"{scf.task}:{scf.iteration or 0}" for scf in scfs),
    )
