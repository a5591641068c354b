"""Compute nodes: enrolment, token rotation, draining, revocation."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import asdict
from typing import Any

from zpe_sdk.errors import AuthError, InputError
from zpe_sdk.wire import (
    Accepts,
    Capabilities,
    RegisterReply,
    RegisterRequest,
    RevokeReply,
    WorkerScf,
    WorkerStatus,
    WorkerTokenReply,
)
from zpe_server.events import Events
from zpe_server.kept import Kept, TakenBack
from zpe_server.owners import check_width, narrower
from zpe_server.records import iso
from zpe_server.settings import Settings
from zpe_server.store import Store
from zpe_server.tokens import Principal, hash_of, new_token
from zpe_server.transitions.base import items
from zpe_server.transitions.workers import (
    Accept,
    Changed,
    Drain,
    ListWorkers,
    Register,
    Revoke,
    Revoked,
    Rotate,
)

# An idle worker is heard of more often than this.
ALIVE_SECONDS = 60.0


class Workers:
    """The compute nodes that have enrolled."""

    def __init__(self, store: Store, settings: Settings, events: Events) -> None:
        self._store = store
        self._kept = Kept(store, settings)
        self._settings = settings
        self._events = events

    async def register(self, request: RegisterRequest) -> RegisterReply:
        """Turn a one-time enroll token into a worker with a token of its own.

        Raises
        ------
        AuthError
            ``bad_enroll_token``: unknown, used or expired.
        """
        worker, token = f"compute-{uuid.uuid4().hex}", new_token("w")
        ttl = self._settings.worker_token_ttl_seconds
        reply = await self._store.transition(
            Register(
                enroll=hash_of(request.token),
                worker=worker,
                name=request.name or "",
                token=hash_of(token),
                token_ttl_ms=ttl * 1000,
                meta=json.dumps(request.meta),
            )
        )
        if "error" in reply:
            raise AuthError(
                "the enroll token is unknown, used already or expired; ask for a new one",
                code="bad_enroll_token",
                field="token",
            )
        return RegisterReply(
            server_id=worker,
            registered_at=iso(reply["registered"]),
            name=reply["name"],
            owner=reply.get("owner"),
            accepts=reply.get("accepts", "all"),
            worker_token=token,
            token_expires_at=iso(reply["expires"]),
            token_ttl_seconds=ttl,
        )

    async def rotate(self, worker: str, *, instance: str) -> WorkerTokenReply:
        """Give a worker a new token; the old one goes on for a grace period.

        Raises
        ------
        AuthError
            ``worker_revoked``: in this moment.
        """
        token, ttl = new_token("w"), self._settings.worker_token_ttl_seconds
        reply = await self._store.transition(
            Rotate(
                worker=worker,
                instance=instance,
                ttl_ms=self._settings.lease_ttl_seconds * 1000,
                token=hash_of(token),
                token_ttl_ms=ttl * 1000,
                grace_ms=self._settings.worker_token_grace_seconds * 1000,
            )
        )
        if "error" in reply:
            raise AuthError("this worker has been revoked", code="worker_revoked")
        return WorkerTokenReply(
            worker_token=token, token_expires_at=iso(reply["expires"]), token_ttl_seconds=ttl
        )

    async def revoke(self, who: Principal, worker: str, *, results: bool = False) -> RevokeReply:
        """Shut a worker out at once and release its leases; with ``results``, take back what it computed.

        Raises
        ------
        AuthError
            ``forbidden``: its results are in the jobs of others, for an administrator to take back.
        InputError
            ``worker_not_found``: there is none, or it is not theirs.
        """
        if results and who.role != "admin":
            raise AuthError("only an administrator may take back results", code="forbidden")
        reply = await self._store.transition(Revoke(worker=worker, by=who.decides_for))
        self._events.forget_principals()  # here at once; the transition tells the others
        self._found(reply)
        # After the transition it can report nothing any more.
        taken = await self._kept.take_back(worker) if results else TakenBack(0, 0, 0)
        return RevokeReply(revoked_count=int(reply["revoked"]), **asdict(taken))

    async def drain(self, who: Principal, worker: str, drain: bool) -> None:
        """Give a worker no more work, or work again.

        Raises
        ------
        InputError
            ``worker_not_found``: there is none, or it is not theirs.
        """
        reply = await self._store.transition(Drain(worker=worker, by=who.decides_for, drain=drain))
        self._events.forget_principals()  # here at once; the transition tells the others
        self._found(reply)

    async def accept(self, who: Principal, worker: str, accepts: Accepts) -> None:
        """Change whose jobs a worker takes from now on; what it holds, it finishes.

        Raises
        ------
        AuthError
            ``user_workers_off``, ``accepts_too_wide``: an administrator may, its owner not.
        InputError
            ``worker_not_found``: there is none, or it is not theirs; ``no_owner``.
        """
        if who.role != "admin" and accepts != "own":
            check_width(self._settings.user_workers, accepts)
        reply = await self._store.transition(Accept(worker=worker, by=who.decides_for, accepts=accepts))
        self._found(reply)
        if reply.get("error") == "no_owner":
            raise InputError("this worker has no owner: it takes everybody's jobs", code="no_owner")

    async def all(self, *, revoked: bool = False) -> list[WorkerStatus]:
        """List the workers that are not revoked, the last heard of first; or, with ``revoked``, all."""
        found = await self._store.transition(ListWorkers())
        return [_status(record) for record in items(found["workers"]) if revoked or "revoked" not in record]

    @staticmethod
    def _found(reply: Changed | Revoked) -> None:
        if reply.get("error") == "not_found":
            raise InputError("there is no such worker", code="worker_not_found", field="server_id")


def _status(record: dict[str, Any]) -> WorkerStatus:
    seen = float(record["seen"])
    told = record.get("capabilities")
    capabilities = Capabilities.model_validate_json(told) if told else None
    accepts: Accepts = record.get("accepts", "own") if "owner" in record else "all"
    # One that computes and knows no heartbeats is as alive as its lease.
    alive = "revoked" not in record and (
        (record["present"] and time.time() - seen / 1000 < ALIVE_SECONDS) or bool(record["leases"])
    )
    return WorkerStatus(
        server_id=record["worker"],
        name=record["name"],
        registered_at=iso(record["registered"]),
        last_seen_at=iso(seen),
        alive=alive,
        ended=not (alive or record["present"] or "revoked" in record),
        draining=record.get("draining") == "1",
        revoked="revoked" in record,
        meta=json.loads(record.get("meta") or "{}"),
        owner=record.get("owner"),
        accepts=narrower(accepts, capabilities.accepts) if capabilities else accepts,
        capabilities=capabilities,
        leases=list(record["leases"] or []),
        running=[WorkerScf.model_validate(scf) for scf in items(record["running"])],
        memory_free_gb=record.get("memory_free_gb") if alive else None,
        scf_done=int(record.get("scf_done", 0)),
        scf_failed=int(record.get("scf_failed", 0)),
        scf_seconds=float(record.get("scf_seconds", 0)),
    )
