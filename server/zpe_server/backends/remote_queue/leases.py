"""Leases on a given job, for those to whom RQ has given it."""

from __future__ import annotations

from zpe_sdk.wire import Capabilities, LeaseReply
from zpe_server.leases import Leases, abilities
from zpe_server.tokens import Principal
from zpe_server.transitions.leases import Lease
from zpe_server.transitions.workers import Introduce

# More than any job has.
ALL_TASKS = 1_000_000


class JobLeases(Leases):
    """Leases of which the job and the id are given."""

    async def lease_job(
        self,
        worker: Principal,
        job_id: str,
        lease_id: str,
        capabilities: Capabilities | None,
        *,
        instance: str,
    ) -> LeaseReply | None:
        """Return a lease on all tasks of a job that are due, or None if there are none for this worker.

        Without ``capabilities`` it is there to tell of a failure only, whatever the job needs of a machine.
        """
        await self._store.transition(Introduce(worker=worker.subject, name=worker.name))
        reply = await self._store.transition(
            Lease(
                worker=worker.subject,
                instance=instance,
                lease=lease_id,
                ttl_ms=self._ttl_ms,
                max_tasks=ALL_TASKS,
                alive_ms=-1,  # RQ has given the job to this one alone
                of_job=job_id,
                force=capabilities is None,
                scan=1,
                able=abilities(capabilities),
                capabilities=capabilities.model_dump_json() if capabilities else "",
            )
        )
        return self._lease_reply(reply) if "job" in reply else None
