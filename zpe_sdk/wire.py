"""Every request and reply of the HTTP API, defined once and used by client, worker and server.

Lengths are in Å, energies in eV, forces in eV/Å, frequencies in cm⁻¹, temperatures in K and durations
in seconds, unless a field's name says otherwise. Times are ISO 8601 in UTC. Unknown fields are ignored,
so that an older or newer peer goes on working.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from zpe_sdk.errors import Side

JobState = Literal["queued", "started", "finished", "failed", "cancelled"]
JobOrder = Literal["newest", "oldest"]
Vector = tuple[float, float, float]


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    # Any JSON object is welcome, but what JSON or UTF-8 cannot hold could not be answered with later.
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except ValueError:
        raise ValueError("holds a number or a character that JSON cannot") from None
    return value


JsonObject = Annotated[dict[str, Any], AfterValidator(_plain)]
# Ids become parts of key names in the store: nothing else may get there.
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
TaskIndex = Annotated[int, Field(ge=0, le=10_000_000)]


class Message(BaseModel):
    """Base of all messages."""

    # NaN and infinity are no JSON and no physics: refused at the door, in both directions.
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, ser_json_inf_nan="null")


# ----------------------------------------------------------------------------------------- errors


class ErrorInfo(Message):
    """A failure: whose it is, its stable name, and what to tell the user."""

    side: Side
    code: str
    message: str
    request_id: str | None = None
    field: str | None = None
    traceback: str | None = None
    worker: str | None = None


class ErrorReply(Message):
    """The body of every reply with a status of 400 or more."""

    detail: str
    error: ErrorInfo


# ---------------------------------------------------------------------------------- QE input parse


class Point(Message):
    """A Cartesian vector in Å."""

    x: float
    y: float
    z: float


class Atom(Point):
    """An atom: chemical symbol and Cartesian position in Å."""

    symbol: str


class Lattice(Message):
    """The three lattice vectors in Å."""

    a: Point
    b: Point
    c: Point


class Structure(Message):
    """Atoms and lattice of a QE input."""

    atoms: list[Atom]
    lattice: Lattice


class ParseRequest(Message):
    """A QE input to look into."""

    content: str
    structure_id: str | None = None


class ParseReply(Message):
    """What a QE input holds. ``kpoints`` is the mesh of ``K_POINTS automatic``, else null."""

    structure: Structure
    fixed_indices: list[int]
    atomic_species: dict[str, str]
    kpoints: tuple[int, int, int] | None = None


# -------------------------------------------------------------------------------------------- jobs


Tag = Annotated[str, Field(min_length=1, max_length=50, pattern=r"^[\w.:@+-]+$")]


class Requirements(Message):
    """What a job wants of a compute node, beyond the pseudopotentials that its input names.

    ``tags`` are labels that administrators give to their nodes; ``cores`` and ``memory_gb`` (10⁹ bytes)
    are the least that a node must have.
    """

    tags: Annotated[list[Tag], Field(max_length=20)] = []
    cores: Annotated[int, Field(ge=1, le=100_000)] | None = None
    memory_gb: Annotated[float, Field(gt=0, le=1e6)] | None = None


class JobRequest(Message):
    """A vibrational calculation to run.

    Attributes
    ----------
    content
        The text of a ``pw.x`` input file.
    mobile_indices
        0-based indices of the atoms that vibrate; default: every atom without ``0 0 0`` flags.
    delta
        Displacement in Å.
    low_cut_cm
        Modes below this wavenumber are left out of ZPE and entropy.
    symmetry
        Use crystal symmetry to run fewer SCFs.
    """

    content: str
    mobile_indices: list[int] | None = None
    use_environ: bool = False
    input_dir: str | None = None
    calc_mode: Literal["continue", "new"] = "continue"
    structure_id: str | None = None
    delta: Annotated[float, Field(gt=0, le=0.5)] | None = None
    low_cut_cm: Annotated[float, Field(ge=0, le=1e10)] | None = None
    temperature: Annotated[float, Field(gt=0, le=1e5)] | None = None
    symmetry: bool = True
    name: Annotated[str, Field(max_length=200)] | None = None
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    requires: Requirements = Requirements()


class JobReply(Message):
    """The id of an accepted job."""

    job_id: str


class Progress(Message):
    """SCFs done of all that the job needs; ``full`` is what it would need without symmetry."""

    done: int
    total: int
    reused: int = 0
    running: int = 0
    full: int | None = None


class JobStatus(Message):
    """Where a job stands. ``detail`` says in a sentence why it waits or why it failed.

    ``version`` grows with every change; ``GET …/jobs/{id}?wait_seconds=30&after=VERSION`` answers when it
    has.
    """

    job_id: str
    status: JobState
    detail: str | None = None
    updated_at: str
    created_at: str
    started_at: str | None = None
    finished_at: str | None = None
    progress: Progress
    owner: str | None = None
    name: str | None = None
    formula: str | None = None
    error: ErrorInfo | None = None
    workers: list[str] = []
    in_dlq: bool = False
    version: int = 0


class JobList(Message):
    """One page of jobs, by the time of their submission."""

    jobs: list[JobStatus]
    total: int


class TaskStatus(Message):
    """One SCF of a job: ``open`` tasks wait, ``held`` ones are with a worker, ``done`` ones have forces."""

    index: int
    atom: int | None = None
    displacement: Vector | None = None
    state: Literal["open", "held", "done"]
    worker: str | None = None
    scf_seconds: float | None = None
    attempts: int = 0


class HistoryEvent(Message):
    """Something that happened to a job: a failed attempt, an expiry, a requeue, a cancellation."""

    at: str
    what: str
    worker: str | None = None
    by: str | None = None
    code: str | None = None
    message: str | None = None
    traceback: str | None = None
    tasks: list[int] = []


class JobDetail(JobRequest):
    """A job from inside: its request, its SCFs, its history (newest first), its pinned physics.

    What the request left open stands here as it was decided, so that the same can be asked for again.
    """

    job: JobStatus
    mobile_indices: list[int]
    delta: float
    low_cut_cm: float
    temperature: float
    tasks: list[TaskStatus]
    history: list[HistoryEvent]
    fingerprint: Fingerprint | None = None


class ResultReply(Message):
    """The result document of a finished job (see :class:`ZPEResultDocument`)."""

    result: dict[str, Any]


class PartialReply(Message):
    """What the SCFs that are in tell of an unfinished job: the modes of some of its mobile atoms.

    ``freqs_cm`` (ascending, imaginary modes negative) are three for each of ``atoms`` (0-based indices),
    whose chemical symbols are ``symbols``; all other atoms are held in place. ``differences`` is ``forward``
    as long as opposite displacements of these atoms are missing. ``detail`` says in a sentence what the
    numbers are worth.
    """

    freqs_cm: list[float]
    atoms: list[int]
    symbols: list[str]
    scf_done: int
    scf_total: int
    differences: Literal["central", "forward"]
    detail: str


class TaskRun(Message):
    """Who ran one SCF of a job, and how long it took."""

    task: int
    worker: str
    scf_seconds: float
    scf_iterations: int | None = None
    reused: bool = False


class Fingerprint(Message):
    """All that decides the forces besides the positions; forces mix in a Hessian only if it is equal.

    ``pseudopotentials`` maps file name to SHA-256 of its bytes, ``physics`` is the SHA-256 of the
    normalised input without positions and run control.
    """

    engine: str
    engine_version: str
    pseudopotentials: dict[str, str] = {}
    environ: str | None = None
    physics: str


class ZPEResultDocument(Message):
    """The result of a job. Imaginary modes are negative numbers in ``freqs_cm``, never zero.

    Atoms and modes are counted from 0. ``freqs_cm`` ascend. ZPE, U, F, S and Cv sum the modes above
    ``low_cut_cm``; U and F include the ZPE. ``kpts`` is (1, 1, 1) for the gamma point and (0, 0, 0) for a
    list of k-points, which is in ``qe_input``. ``fixed_indices`` are the atoms with ``0 0 0`` flags,
    ``cache_checked`` counts the SCFs taken over from earlier jobs, ``ecutwfc`` and ``ecutrho`` are in Ry.

    ``modes[k]`` is the Cartesian displacement of each mobile atom in mode k (not mass-weighted,
    normalised to 1), ``mode_kinds[k]`` is ``translation`` or ``rotation`` where the mode moves the whole,
    else ``vibration``; ``imaginary_modes`` are indices. ``hessian`` is (3M, 3M) in eV/Å² over the mobile
    atoms, ``masses`` are theirs in amu; ``symbols`` and ``positions`` are of all atoms, ``cell`` has a vector
    per row. ``max_force_ev_ang`` is the largest force on a mobile atom at the equilibrium. ``symmetry`` and
    ``checks``: see docs/formulas.md.
    """

    freqs_cm: list[float]
    zpe_ev: float
    s_vib_jmol_k: float
    mobile_indices: list[int]
    fixed_indices: list[int]
    kpts: tuple[int, int, int]
    delta: float
    low_cut_cm: float
    temperature: float
    use_environ: bool
    qe_input: str
    pseudo_dir: str
    calc_start_time: str
    calc_end_time: str
    elapsed_seconds: float
    cache_checked: int
    cache_deleted: int
    ecutwfc: float | None = None
    ecutrho: float | None = None
    # Ours.
    u_vib_ev: float
    f_vib_ev: float
    cv_jmol_k: float
    symbols: list[str]
    positions: list[Vector]
    cell: list[Vector]
    masses: list[float]
    hessian: list[list[float]]
    modes: list[list[Vector]]
    mode_kinds: list[str]
    imaginary_modes: list[int]
    energy_ev: float
    max_force_ev_ang: float
    warnings: list[str] = []
    symmetry: dict[str, Any] = {}
    checks: dict[str, Any] = {}
    fingerprint: Fingerprint
    tasks: list[TaskRun]


# ----------------------------------------------------------------------------- compute nodes: doors


class EnrollTokenRequest(Message):
    """An enroll token to mint."""

    ttl_seconds: Annotated[int, Field(gt=0, le=30 * 86400)] | None = None
    label: Annotated[str, Field(max_length=200)] | None = None


class EnrollTokenReply(Message):
    """A one-time enroll token; this is the only time it is shown."""

    token: str = Field(repr=False)
    expires_at: str
    ttl_seconds: int
    label: str | None = None


class RegisterRequest(Message):
    """A compute node enrolling with a one-time token."""

    token: str = Field(repr=False)
    name: Annotated[str, Field(max_length=200)] | None = None
    meta: JsonObject = {}


class RegisterReply(Message):
    """The node's identity and its worker token; this is the only time the token is shown."""

    server_id: str
    registered_at: str
    name: str | None = None
    worker_token: str = Field(repr=False)
    token_expires_at: str
    token_ttl_seconds: int


class RevokeReply(Message):
    """How many tokens were revoked."""

    revoked_count: int


# --------------------------------------------------------------------------- compute nodes: leases


class Capabilities(Message):
    """What a worker can run. ``pseudopotentials`` null means: unknown, offer anything.

    ``slots`` SCFs run side by side. ``cores``, ``memory_gb`` and ``tags`` are held against what jobs require.
    """

    engine: str = "espresso"
    engine_version: str | None = None
    pseudopotentials: list[str] | None = None
    environ: bool = False
    slots: Annotated[int, Field(ge=1, le=4096)] = 1
    cores: Annotated[int, Field(ge=1)] | None = None
    memory_gb: Annotated[float, Field(gt=0)] | None = None
    tags: list[Tag] = []


class LeaseRequest(Message):
    """A request for work. An empty body asks for one whole job (``max_tasks`` null).

    ``wait_seconds`` holds the request open until there is work (at most 30 s). ``lease_key`` names the
    request: sent again after a lost reply, it brings the same lease and not another one. ``warm`` are jobs of
    which the worker has densities: it may get more of one before its turn.
    """

    max_tasks: Annotated[int, Field(ge=1, le=10_000)] | None = None
    wait_seconds: Annotated[float, Field(ge=0, le=30)] = 0
    capabilities: Capabilities | None = None
    lease_key: Annotated[str, Field(min_length=16, max_length=100)] | None = None
    warm: Annotated[list[Id], Field(max_length=16)] = []


class Task(Message):
    """One SCF. Task 0 is the equilibrium; the others displace ``atom`` by ``displacement`` (Å)."""

    index: int
    atom: int | None = None
    displacement: Vector | None = None


class JobPayload(Message):
    """What a worker needs to know of a job, besides the tasks of its lease."""

    content: str
    mobile_indices: list[int]
    use_environ: bool = False
    input_dir: str | None = None
    calc_mode: Literal["continue", "new"] = "continue"
    structure_id: str | None = None
    delta: float
    low_cut_cm: float
    temperature: float


class LeaseReply(Message):
    """The right to run ``tasks`` of a job until ``lease_ttl_seconds`` pass without a renewal."""

    job_id: str
    payload: JobPayload
    lease_id: str
    lease_ttl_seconds: float
    tasks: list[Task]
    request_id: str | None = None


class TaskReport(Message):
    """The outcome of one SCF: ``forces_ev_ang`` has one row per atom of the input, (nat, 3)."""

    task: TaskIndex
    energy_ev: float
    forces_ev_ang: list[Vector]
    fingerprint: Fingerprint
    scf_seconds: Annotated[float, Field(ge=0)]
    scf_iterations: int | None = None
    pseudo_dir: str | None = None


class TaskReportRequest(Message):
    """Finished tasks of a lease."""

    lease_id: Id
    reports: Annotated[list[TaskReport], Field(min_length=1)]


class TaskReportReply(Message):
    """``accepted``: stored now; ``idempotent``: already there; ``refused``: not needed any more, or
    from other physics than the job's first result (``detail`` says which). ``left``, if not null, are the
    tasks that the lease still has: others were taken out of it, because the worker was slow to begin them.
    """

    ok: bool = True
    accepted: list[int] = []
    idempotent: list[int] = []
    refused: list[int] = []
    detail: str | None = None
    job_status: JobState
    progress: Progress
    lease_held: bool = True
    left: list[int] | None = None


class HeartbeatRequest(Message):
    """The leases a worker still works on."""

    lease_ids: Annotated[list[Id], Field(max_length=10_000)] = []


class HeartbeatReply(Message):
    """State of each lease: ``held`` (renewed), ``lost`` (expired or released) or ``cancelled``.

    ``left``: as in a :class:`TaskReportReply`, of the leases of which it is not null.
    """

    leases: dict[str, Literal["held", "lost", "cancelled"]]
    left: dict[str, list[int]] = {}
    lease_ttl_seconds: float
    draining: bool = False


class WholeResultRequest(Message):
    """The result of a whole job from a worker that settles it in one go."""

    lease_id: Id
    result: JsonObject
    summary_text: str
    freqs_csv: str
    meta: JsonObject = {}


class WholeResultReply(Message):
    """``idempotent`` is true if this lease had settled the job already."""

    ok: bool = True
    idempotent: bool = False


class FailedRequest(Message):
    """A failure of some ``tasks`` of a lease, or of all its unfinished ones (``tasks`` null)."""

    lease_id: Id
    error_code: Annotated[str, Field(max_length=100)]
    error_message: str
    traceback: str | None = None
    tasks: list[TaskIndex] | None = None
    side: Side = "compute"


class FailedReply(Message):
    """Whether the tasks will be tried again, and how often they have failed by now."""

    ok: bool = True
    requeued: bool
    retry_count: int


class ReleaseRequest(Message):
    """Hand a lease back unfinished (a clean shutdown); counts as no attempt."""

    lease_id: Id


class Ok(Message):
    """Done."""

    ok: bool = True


class WorkerTokenReply(Message):
    """A new worker token; the old one goes on for a grace period."""

    worker_token: str = Field(repr=False)
    token_expires_at: str
    token_ttl_seconds: int


# ------------------------------------------------------------------------------------------- admin


class EnrollToken(Message):
    """An enroll token that nobody has used yet, without the token itself."""

    token_id: str
    label: str | None = None
    created_at: str
    expires_at: str


class EnrollTokenList(Message):
    """Enroll tokens that may still be used."""

    enroll_tokens: list[EnrollToken]


class ApiTokenRequest(Message):
    """A researcher's token to mint. ``owner`` is the name their jobs carry."""

    owner: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[\w.@+-]+$")]
    ttl_seconds: Annotated[int, Field(gt=0, le=3650 * 86400)] | None = None
    label: Annotated[str, Field(max_length=200)] | None = None


class ApiTokenReply(Message):
    """A researcher's token; this is the only time it is shown."""

    token: str = Field(repr=False)
    token_id: str
    owner: str
    label: str | None = None
    expires_at: str | None = None


class ApiToken(Message):
    """A researcher's token, without the token itself."""

    token_id: str
    owner: str
    label: str | None = None
    created_at: str
    expires_at: str | None = None


class ApiTokenList(Message):
    """Researchers' tokens that are in force."""

    tokens: list[ApiToken]


class WorkerStatus(Message):
    """A compute node as the admin sees it. ``alive``: heard of within a minute, or at work."""

    server_id: str
    name: str
    registered_at: str
    last_seen_at: str | None = None
    alive: bool
    draining: bool = False
    revoked: bool = False
    meta: dict[str, Any] = {}
    capabilities: Capabilities | None = None
    leases: list[str] = []
    scf_done: int = 0
    scf_failed: int = 0
    scf_seconds: float = 0.0


class WorkerList(Message):
    """All compute nodes, the last heard of first."""

    workers: list[WorkerStatus]


class DrainRequest(Message):
    """Give a worker no new work (true), or work again (false)."""

    drain: bool = True


class LeaseStatus(Message):
    """A lease in force."""

    lease_id: str
    job_id: str
    server_id: str
    worker: str
    tasks: list[int]
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

    side: str
    code: str
    count: int


class DeadJobList(Message):
    """One page of the dead-letter queue, newest first, and how often each reason is in all of it."""

    jobs: list[DeadJob]
    total: int
    reasons: list[DeadReason] = []


class DeadJobsRequest(Message):
    """Which jobs of the dead-letter queue to act on: some by id, or all that failed with ``code``."""

    job_ids: Annotated[list[Id], Field(max_length=10_000)] | None = None
    code: str | None = None


class DeadJobsReply(Message):
    """The jobs acted on, and those that were not in the dead-letter queue (any more)."""

    done: list[str]
    skipped: list[str] = []


class Flags(Message):
    """Operational switches. A null field of a request leaves its switch as it is."""

    submission_enabled: bool | None = None
    dequeue_enabled: bool | None = None


class Overview(Message):
    """The service at a glance.

    ``dead`` is the length of the dead-letter queue, ``oldest`` the job that waits the longest. Lists by hour
    have one number for each of the last 24 hours, the last hour first; ``failed_by_hour`` counts jobs that
    are still in the dead-letter queue.
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


class AuditEntry(Message):
    """An act of an admin, or a registration: who did what, when, from where."""

    at: str
    who: str
    what: str
    subject: str | None = None
    address: str | None = None


class AuditTrail(Message):
    """The newest entries of the audit trail first."""

    entries: list[AuditEntry]
