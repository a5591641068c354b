"""The calls of administrators, blocking."""

from __future__ import annotations

from collections.abc import Sequence

from zpe_sdk.client.async_admin import AsyncAdmin
from zpe_sdk.client.blocking import run
from zpe_sdk.wire import (
    Accepts,
    ApiTokenList,
    ApiTokenReply,
    AuditTrail,
    DeadJobList,
    DeadJobsReply,
    DroppedReply,
    EnrollTokenList,
    EnrollTokenReply,
    Flags,
    Group,
    GroupList,
    KeptScfList,
    LeaseList,
    Ok,
    Overview,
    Owner,
    OwnerList,
    Retention,
    RetentionList,
    RevokeReply,
    WorkerList,
)
from zpe_sdk.wire.names import PersonRole


class Admin:
    """What an administrator may do: the calls of :class:`AsyncAdmin`, blocking."""

    def __init__(self, admin: AsyncAdmin) -> None:
        self._async = admin

    # Written by scripts/write_blocking.py from async_admin.py: do not edit.

    def enroll_token(
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
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(
            self._async.enroll_token(label=label, ttl_seconds=ttl_seconds, owner=owner, accepts=accepts)
        )

    def enroll_tokens(self) -> EnrollTokenList:
        """List the enroll tokens that nobody has used yet, without the tokens themselves."""
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.enroll_tokens())

    def revoke_enroll_token(self, token_id: str) -> RevokeReply:
        """Make an enroll token useless."""
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.revoke_enroll_token(token_id))

    def workers(self, *, revoked: bool = False) -> WorkerList:
        """List the compute nodes, the most recently active first; with ``revoked``, also those shut out."""
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.workers(revoked=revoked))

    def revoke_worker(self, server_id: str, *, and_its_results: bool = False) -> RevokeReply:
        """Shut a compute node out; its leases are released.

        With ``and_its_results``, what it computed is taken back: SCFs kept for later jobs are dropped,
        unfinished jobs compute it anew, and finished ones that contain it are marked.
        """
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.revoke_worker(server_id, and_its_results=and_its_results))

    def scfs(
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
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(
            self._async.scfs(owner=owner, worker=worker, version=version, pseudopotential=pseudopotential)
        )

    def drop_scfs(
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
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(
            self._async.drop_scfs(
                owner=owner, worker=worker, version=version, pseudopotential=pseudopotential
            )
        )

    def groups(self) -> GroupList:
        """List the groups of researchers, in which workers may be shared and jobs be shown."""
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.groups())

    def group(self, name: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> Group:
        """Change who is in a group; it begins with its first member and ends with its last."""
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.group(name, add=add, remove=remove))

    def owners(self) -> OwnerList:
        """List the researchers who have jobs, a token, a worker, a group or limits of their own, by name."""
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.owners())

    def owner(self, name: str) -> Owner:
        """Return what a researcher has and may have."""
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.owner(name))

    def limit(
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
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.limit(name, priority=priority, jobs=jobs, scfs=scfs, bytes=bytes))

    def retention(self) -> RetentionList:
        """List the projects of which it is said how long their jobs are remembered."""
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.retention())

    def retain(self, owner: str, project: str, days: float | None) -> Retention:
        """Say how long the jobs of a project are remembered once they are over.

        Those that are over already are meant too. What would go sooner than before stays for a day.

        Parameters
        ----------
        owner, project
            Whose project.
        days
            None: as for all.
        """
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.retain(owner, project, days))

    def leases(self) -> LeaseList:
        """List the leases in force, the first to expire first."""
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.leases())

    def release_lease(self, lease_id: str) -> Ok:
        """Release a lease; its unfinished SCFs go to other workers."""
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.release_lease(lease_id))

    def dead_jobs(
        self, *, limit: int | None = None, offset: int | None = None, code: str | None = None
    ) -> DeadJobList:
        """List the dead-letter queue: jobs that failed for good, the newest first."""
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.dead_jobs(limit=limit, offset=offset, code=code))

    def requeue(
        self, job_ids: Sequence[str] | None = None, *, code: str | None = None, dry_run: bool = False
    ) -> DeadJobsReply:
        """Put dead jobs back into the queue, by id or all that failed with ``code``; done SCFs are kept.

        With ``dry_run`` nothing is done: the reply says which they are.
        """
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.requeue(job_ids, code=code, dry_run=dry_run))

    def discard(
        self, job_ids: Sequence[str] | None = None, *, code: str | None = None, dry_run: bool = False
    ) -> DeadJobsReply:
        """Take dead jobs out of the dead-letter queue for good, by id or all that failed with ``code``.

        With ``dry_run`` nothing is done: the reply says which they are.
        """
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.discard(job_ids, code=code, dry_run=dry_run))

    def overview(self) -> Overview:
        """Return the service at a glance: jobs, workers, switches, and how the last day went."""
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.overview())

    def flags(self) -> Flags:
        """Return the operational switches."""
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.flags())

    def set_flags(
        self, *, submission_enabled: bool | None = None, dequeue_enabled: bool | None = None
    ) -> Flags:
        """Set operational switches; None leaves one as it is."""
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(
            self._async.set_flags(submission_enabled=submission_enabled, dequeue_enabled=dequeue_enabled)
        )

    def api_token(
        self,
        owner: str,
        *,
        role: PersonRole = "researcher",
        ttl_seconds: int | None = None,
        label: str | None = None,
    ) -> ApiTokenReply:
        """Mint a token of a researcher, an observer or an administrator. It is shown only now."""
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.api_token(owner, role=role, ttl_seconds=ttl_seconds, label=label))

    def api_tokens(self) -> ApiTokenList:
        """List the tokens of people, without the tokens themselves."""
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.api_tokens())

    def revoke_api_token(self, token_id: str) -> RevokeReply:
        """Revoke the token of a person; the jobs stay."""
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.revoke_api_token(token_id))

    def audit(self, *, limit: int | None = None) -> AuditTrail:
        """Return the newest entries of the audit trail."""
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.audit(limit=limit))

    # End of what is written.
