"""What administrators ask and hear: tokens, workers, leases, dead jobs, flags, the audit trail."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from zpe_sdk.wire.compute import Capabilities
from zpe_sdk.wire.jobs import HistoryEvent, JobStatus, RunningScf
from zpe_sdk.wire.messages import ErrorInfo, Id, Line, Many, Message, OwnerName, SecretToken, TaskIndex
from zpe_sdk.wire.names import Accepts, JobState, PersonRole
from zpe_sdk.wire.researchers import Presence


class EnrollTokenRequest(Message):
    """An enroll token to mint.

    The worker that enrols with it has an ``owner``: the researcher who asks, or whom an administrator names;
    null: none, and it runs everybody's jobs. ``accepts`` says whose jobs it takes beside its owner's; null:
    no others.
    """

    ttl_seconds: Annotated[int, Field(gt=0, le=30 * 86400)] | None = None
    label: Annotated[Line, Field(max_length=200)] | None = None
    owner: OwnerName | None = None
    accepts: Accepts | None = None


class EnrollTokenReply(Message):
    """A one-time enroll token; this is the only time it is shown."""

    token: SecretToken
    token_id: Id
    expires_at: str
    ttl_seconds: int
    label: Line | None = None
    owner: Line | None = None
    accepts: Accepts = "all"


class EnrollToken(Message):
    """An enroll token that nobody has used yet, without the token itself."""

    token_id: Id
    label: Line | None = None
    created_at: str
    expires_at: str
    owner: Line | None = None
    accepts: Accepts = "all"


class EnrollTokenList(Message):
    """Enroll tokens that may still be used."""

    enroll_tokens: list[EnrollToken]


class ApiTokenRequest(Message):
    """The token of a person to mint.

    ``owner`` is their name: jobs carry it, and the audit trail. An ``observer`` sees all that an
    administrator sees, and changes nothing.
    """

    owner: OwnerName
    role: PersonRole = "researcher"
    ttl_seconds: Annotated[int, Field(gt=0, le=3650 * 86400)] | None = None
    label: Annotated[Line, Field(max_length=200)] | None = None


class ApiToken(Message):
    """The token of a person, without the token itself."""

    token_id: Id
    owner: Line
    role: PersonRole = "researcher"
    label: Line | None = None
    created_at: str
    expires_at: str | None = None


class ApiTokenList(Message):
    """Tokens of people that are in force."""

    tokens: list[ApiToken]


class RevokeReply(Message):
    """How many tokens were revoked.

    Of a worker that was revoked with its results: how many of the SCFs kept for later jobs were dropped, how
    many jobs compute anew what it had computed, and how many finished ones were marked.
    """

    revoked_count: int
    scfs_dropped: int = 0
    jobs_reopened: int = 0
    jobs_marked: int = 0


class KeptScfs(Message):
    """SCFs of one origin that are kept for later jobs of ``owner``.

    ``pseudopotentials`` maps file name to SHA-256 of its bytes. ``server_id`` is null if only the name of the
    worker was noted.
    """

    owner: Line
    server_id: Id | None = None
    worker: Line
    engine_version: Line
    pseudopotentials: dict[Line, str] = {}
    count: int


class KeptScfList(Message):
    """All SCFs that are kept for later jobs, those of the most common origin first."""

    scfs: list[KeptScfs]
    total: int


class DroppedReply(Message):
    """How many SCFs were dropped."""

    dropped: int


class WorkerScf(RunningScf):
    """How far an SCF is that a worker runs, and of which job."""

    job_id: Id
    job_name: Line | None = None
    job_owner: Line | None = None


class WorkerStatus(Presence):
    """A compute node as its owner and administrators see it.

    ``running`` is what it runs, as far as it tells; old workers tell nothing. ``memory_free_gb`` (10⁹ bytes)
    is what its latest heartbeats have told; null of one that is not alive or tells nothing.

    ``owner`` is null for one that administrators have enrolled; ``accepts`` says whose jobs it takes beside
    its owner's.
    """

    server_id: Id
    name: Line
    registered_at: str
    last_seen_at: str | None = None
    revoked: bool = False
    owner: Line | None = None
    accepts: Accepts = "all"
    meta: dict[str, Any] = {}
    capabilities: Capabilities | None = None
    leases: list[Id] = []
    running: list[WorkerScf] = []
    memory_free_gb: float | None = None
    scf_done: int = 0
    scf_failed: int = 0
    scf_seconds: float = 0.0


class WorkerList(Message):
    """All compute nodes, the last heard of first."""

    workers: list[WorkerStatus]


class DrainRequest(Message):
    """Give a worker no new work (true), or work again (false)."""

    drain: bool = True


class AcceptRequest(Message):
    """Whose jobs a worker takes from now on, beside its owner's."""

    accepts: Accepts


class LeaseStatus(Message):
    """A lease in force."""

    lease_id: Id
    job_id: Id
    job_name: Line | None = None
    server_id: Id
    worker: Line
    tasks: list[TaskIndex]
    issued_at: str
    expires_at: str
    expires_in_seconds: float
    renewals: int


class LeaseList(Message):
    """Leases in force, the first to expire first."""

    leases: list[LeaseStatus]


class DeadJob(Message):
    """A job of the dead-letter queue: why it failed, and every attempt that came before."""

    job: JobStatus
    failed_at: str
    error: ErrorInfo
    attempts: list[HistoryEvent]


class DeadReason(Message):
    """How many jobs of the dead-letter queue failed for the same reason."""

    side: Line
    code: Line
    count: int


class DeadJobList(Message):
    """One page of the dead-letter queue, newest first, and how often each reason is in all of it."""

    jobs: list[DeadJob]
    total: int
    reasons: list[DeadReason] = []


class DeadJobsRequest(Message):
    """Which jobs of the dead-letter queue to act on: some by id, or all that failed with ``code``.

    With ``dry_run`` they are named, and nothing is done.
    """

    job_ids: Annotated[list[Id], Field(max_length=10_000), Many] | None = None
    code: str | None = None
    dry_run: bool = False


class DeadJobsReply(Message):
    """The jobs acted on, or that would be; and those that were not in the dead-letter queue (any more)."""

    done: list[Id]
    skipped: list[Id] = []


class Flags(Message):
    """Operational switches. A null field of a request leaves its switch as it is."""

    submission_enabled: bool | None = None
    dequeue_enabled: bool | None = None


class Overview(Message):
    """The service at a glance.

    ``dead`` is the length of the dead-letter queue, ``oldest`` the job that waits the longest. Lists by hour
    have one number for each of the last 24 hours, the last hour first; ``failed_by_hour`` counts jobs that
    are still in the dead-letter queue. ``replicas`` of the control plane are there; ``differences`` says in
    sentences in which settings they differ, which they must not.
    """

    jobs: dict[JobState, int]
    dead: int
    scfs_running: int
    workers: int
    workers_alive: int
    oldest: JobStatus | None = None
    flags: Flags
    finished_by_hour: list[int]
    failed_by_hour: list[int]
    replicas: int = 1
    differences: list[str] = []


class AuditEntry(Message):
    """An act of an admin, or a registration: who did what, when, from where."""

    at: str
    who: Line
    what: Line
    subject: Line | None = None
    address: Line | None = None


class AuditTrail(Message):
    """The newest entries of the audit trail first."""

    entries: list[AuditEntry]
