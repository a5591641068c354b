"""The calls of administrators: tokens, workers, leases, the dead-letter queue, switches, the audit trail."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from zpe_sdk.client.connection import Connection
from zpe_sdk.wire import (
    Accepts,
    ApiTokenList,
    ApiTokenReply,
    ApiTokenRequest,
    AuditTrail,
    DeadJobList,
    DeadJobsReply,
    DeadJobsRequest,
    DroppedReply,
    EnrollTokenList,
    EnrollTokenReply,
    EnrollTokenRequest,
    Flags,
    Group,
    GroupList,
    GroupRequest,
    KeptScfList,
    LeaseList,
    Limits,
    Ok,
    Overview,
    Owner,
    OwnerList,
    Retention,
    RetentionList,
    RetentionRequest,
    RevokeReply,
    WorkerList,
)
from zpe_sdk.wire.names import PersonRole

_COMPUTE = "/calc/zpe/compute"
_ADMIN = "/calc/zpe/admin"


class AsyncAdmin:
    """What an administrator may do; every call raises AuthError ``forbidden`` for anybody else."""

    def __init__(self, connection: Connection) -> None:
        self._call = connection.call

    async def enroll_token(
        self,
        *,
        label: str | None = None,
        ttl_seconds: int | None = None,
        owner: str | None = None,
        accepts: Accepts | None = None,
    ) -> EnrollTokenReply:
        """Mint a token with which one compute node can enroll, once. It is shown only now.

        Parameters
        ----------
        label
            A note on its purpose.
        ttl_seconds
            How long it can be used.
        owner
            The researcher whose worker it becomes; None: nobody's, and it runs everybody's jobs.
        accepts
            Whose jobs a worker with an owner takes: ``"own"`` (the default), ``"group"`` or ``"all"``.
        """
        fields = {"label": label, "ttl_seconds": ttl_seconds, "owner": owner, "accepts": accepts}
        return await self._call(
            "POST", f"{_COMPUTE}/enroll-tokens", EnrollTokenReply, body=EnrollTokenRequest, fields=fields
        )

    async def enroll_tokens(self) -> EnrollTokenList:
        """List the enroll tokens that nobody has used yet, without the tokens themselves."""
        return await self._call("GET", f"{_COMPUTE}/enroll-tokens", EnrollTokenList)

    async def revoke_enroll_token(self, token_id: str) -> RevokeReply:
        """Make an enroll token useless."""
        return await self._call("DELETE", f"{_COMPUTE}/enroll-tokens/{quote(token_id, safe='')}", RevokeReply)

    async def workers(self, *, revoked: bool = False) -> WorkerList:
        """List the compute nodes, the most recently active first; with ``revoked``, also those shut out."""
        return await self._call("GET", f"{_COMPUTE}/servers", WorkerList, params={"revoked": revoked or None})

    async def revoke_worker(self, server_id: str, *, and_its_results: bool = False) -> RevokeReply:
        """Shut a compute node out; its leases are released.

        With ``and_its_results``, what it computed is taken back: SCFs kept for later jobs are dropped,
        unfinished jobs compute it anew, and finished ones that contain it are marked.
        """
        path = f"{_COMPUTE}/servers/{quote(server_id, safe='')}"
        params = {"and_its_results": and_its_results or None}
        return await self._call("DELETE", path, RevokeReply, params=params)

    async def scfs(
        self,
        *,
        owner: str | None = None,
        worker: str | None = None,
        version: str | None = None,
        pseudopotential: str | None = None,
    ) -> KeptScfList:
        """Count the SCFs that are kept for later jobs, by where they come from.

        Parameters
        ----------
        owner
            Only those of this owner's jobs.
        worker
            Only those that this compute node has computed (its id or its name).
        version
            Only those of this version of the program.
        pseudopotential
            Only those with this pseudopotential: its file name, or the beginning of the SHA-256 of its bytes.
        """
        return await self._call(
            "GET",
            f"{_ADMIN}/scfs",
            KeptScfList,
            params={"owner": owner, "worker": worker, "version": version, "pseudopotential": pseudopotential},
        )

    async def drop_scfs(
        self,
        *,
        owner: str | None = None,
        worker: str | None = None,
        version: str | None = None,
        pseudopotential: str | None = None,
    ) -> DroppedReply:
        """Drop SCFs that are kept for later jobs, chosen as in :meth:`scfs`; later jobs compute them anew.

        Raises
        ------
        InputError
            ``bad_selection``: nothing was said of which.
        """
        return await self._call(
            "DELETE",
            f"{_ADMIN}/scfs",
            DroppedReply,
            params={"owner": owner, "worker": worker, "version": version, "pseudopotential": pseudopotential},
        )

    async def groups(self) -> GroupList:
        """List the groups of researchers, in which workers may be shared and jobs be shown."""
        return await self._call("GET", f"{_ADMIN}/groups", GroupList)

    async def group(self, name: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> Group:
        """Change who is in a group; it begins with its first member and ends with its last."""
        path = f"{_ADMIN}/groups/{quote(name, safe='')}"
        fields = {"add": list(add), "remove": list(remove)}
        return await self._call("PATCH", path, Group, body=GroupRequest, fields=fields)

    async def owners(self) -> OwnerList:
        """List the researchers who have jobs, a token, a worker, a group or limits of their own, by name."""
        return await self._call("GET", f"{_ADMIN}/owners", OwnerList)

    async def owner(self, name: str) -> Owner:
        """Return what a researcher has and may have."""
        return await self._call("GET", f"{_ADMIN}/owners/{quote(name, safe='')}", Owner)

    async def limit(
        self,
        name: str,
        *,
        priority: int | None = None,
        jobs: int | None = None,
        scfs: int | None = None,
        bytes: int | None = None,
    ) -> Owner:
        """Say what a researcher may have, in place of what goes for all; None: as for all.

        Parameters
        ----------
        name
            The researcher.
        priority
            The highest priority that counts against the jobs of others.
        jobs
            How many jobs may be queued or started.
        scfs
            How many SCFs workers of others may run at once.
        bytes
            How much may be kept of requests and results.
        """
        path = f"{_ADMIN}/owners/{quote(name, safe='')}/limits"
        fields = {"priority": priority, "jobs": jobs, "scfs": scfs, "bytes": bytes}
        return await self._call("PUT", path, Owner, body=Limits, fields=fields)

    async def retention(self) -> RetentionList:
        """List the projects of which it is said how long their jobs are remembered."""
        return await self._call("GET", f"{_ADMIN}/retention", RetentionList)

    async def retain(self, owner: str, project: str, days: float | None) -> Retention:
        """Say how long the jobs of a project are remembered once they are over.

        Those that are over already are meant too. What would go sooner than before stays for a day.

        Parameters
        ----------
        owner, project
            Whose project.
        days
            None: as for all.
        """
        fields = {"owner": owner, "project": project, "days": days}
        return await self._call("PUT", f"{_ADMIN}/retention", Retention, body=RetentionRequest, fields=fields)

    async def leases(self) -> LeaseList:
        """List the leases in force, the first to expire first."""
        return await self._call("GET", f"{_COMPUTE}/leases", LeaseList)

    async def release_lease(self, lease_id: str) -> Ok:
        """Release a lease; its unfinished SCFs go to other workers."""
        return await self._call("DELETE", f"{_COMPUTE}/leases/{quote(lease_id, safe='')}", Ok)

    async def dead_jobs(
        self, *, limit: int | None = None, offset: int | None = None, code: str | None = None
    ) -> DeadJobList:
        """List the dead-letter queue: jobs that failed for good, the newest first."""
        params = {"limit": limit, "offset": offset, "code": code}
        return await self._call("GET", f"{_ADMIN}/dlq", DeadJobList, params=params)

    async def requeue(
        self, job_ids: Sequence[str] | None = None, *, code: str | None = None, dry_run: bool = False
    ) -> DeadJobsReply:
        """Put dead jobs back into the queue, by id or all that failed with ``code``; done SCFs are kept.

        With ``dry_run`` nothing is done: the reply says which they are.
        """
        return await self._dead("requeue", job_ids, code, dry_run)

    async def discard(
        self, job_ids: Sequence[str] | None = None, *, code: str | None = None, dry_run: bool = False
    ) -> DeadJobsReply:
        """Take dead jobs out of the dead-letter queue for good, by id or all that failed with ``code``.

        With ``dry_run`` nothing is done: the reply says which they are.
        """
        return await self._dead("discard", job_ids, code, dry_run)

    async def overview(self) -> Overview:
        """Return the service at a glance: jobs, workers, switches, and how the last day went."""
        return await self._call("GET", f"{_ADMIN}/overview", Overview)

    async def flags(self) -> Flags:
        """Return the operational switches."""
        return await self._call("GET", f"{_ADMIN}/flags", Flags)

    async def set_flags(
        self, *, submission_enabled: bool | None = None, dequeue_enabled: bool | None = None
    ) -> Flags:
        """Set operational switches; None leaves one as it is."""
        fields = {"submission_enabled": submission_enabled, "dequeue_enabled": dequeue_enabled}
        return await self._call("PATCH", f"{_ADMIN}/flags", Flags, body=Flags, fields=fields)

    async def api_token(
        self,
        owner: str,
        *,
        role: PersonRole = "researcher",
        ttl_seconds: int | None = None,
        label: str | None = None,
    ) -> ApiTokenReply:
        """Mint a token of a researcher, an observer or an administrator. It is shown only now."""
        fields = {"owner": owner, "role": role, "ttl_seconds": ttl_seconds, "label": label}
        return await self._call(
            "POST", f"{_ADMIN}/tokens", ApiTokenReply, body=ApiTokenRequest, fields=fields
        )

    async def api_tokens(self) -> ApiTokenList:
        """List the tokens of people, without the tokens themselves."""
        return await self._call("GET", f"{_ADMIN}/tokens", ApiTokenList)

    async def revoke_api_token(self, token_id: str) -> RevokeReply:
        """Revoke the token of a person; the jobs stay."""
        return await self._call("DELETE", f"{_ADMIN}/tokens/{quote(token_id, safe='')}", RevokeReply)

    async def audit(self, *, limit: int | None = None) -> AuditTrail:
        """Return the newest entries of the audit trail."""
        return await self._call("GET", f"{_ADMIN}/audit", AuditTrail, params={"limit": limit})

    async def _dead(
        self, what: str, job_ids: Sequence[str] | None, code: str | None, dry_run: bool
    ) -> DeadJobsReply:
        ids = None if job_ids is None else list(job_ids)
        fields = {"job_ids": ids, "code": code, "dry_run": dry_run}
        return await self._call(
            "POST", f"{_ADMIN}/dlq/{what}", DeadJobsReply, body=DeadJobsRequest, fields=fields
        )
