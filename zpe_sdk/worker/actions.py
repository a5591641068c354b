"""What a :class:`~zpe_sdk.worker.workload.Workload` wants done."""

from __future__ import annotations

from dataclasses import dataclass

from zpe_sdk.worker.held import Entry, Run
from zpe_sdk.worker.messages import OutboxMessage


@dataclass(frozen=True)
class Send:
    """Put a message into the outbox; with ``hurry``, it does not wait for others to travel with."""

    message: OutboxMessage
    hurry: bool = True


@dataclass(frozen=True)
class Note:
    """Write an entry into the journal, in place of an earlier one about the same lease."""

    entry: Entry


@dataclass(frozen=True)
class Strike:
    """Remove a lease's entry from the journal, if there is one."""

    lease_id: str


@dataclass(frozen=True)
class Stop:
    """End a run at once."""

    run: Run


@dataclass(frozen=True)
class Forget:
    """Remove what the engine keeps for a job."""

    job_id: str


Action = Send | Note | Strike | Stop | Forget
