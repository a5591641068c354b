"""Every request and reply of the HTTP API, defined once and used by client, worker and server.

Lengths are in Å, energies in eV, forces in eV/Å, frequencies in cm⁻¹, temperatures in K and durations
in seconds, unless a field's name says otherwise. Times are ISO 8601 in UTC. Unknown fields are ignored,
so that an older or newer peer goes on working.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from zpe_sdk.errors import Side

JobState = Literal["queued", "started", "finished", "failed", "cancelled"]
Vector = tuple[float, float, float]


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
    """Where a job stands. ``detail`` says in a sentence why it waits or why it failed."""

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


class JobList(Message):
    """One page of jobs, newest first."""

    jobs: list[JobStatus]
    total: int


class ResultReply(Message):
    """The result document of a finished job (see :class:`ZPEResultDocument`)."""

    result: dict[str, Any]


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

    ``modes[k]`` is the Cartesian displacement of each mobile atom in mode k (not mass-weighted,
    normalised to 1); ``hessian`` is (3M, 3M) in eV/Å² over the mobile atoms, ``masses`` in amu.
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

    token: str
    expires_at: str
    ttl_seconds: int
    label: str | None = None


class RegisterRequest(Message):
    """A compute node enrolling with a one-time token."""

    token: str
    name: Annotated[str, Field(max_length=200)] | None = None
    meta: dict[str, Any] = {}


class RegisterReply(Message):
    """The node's identity and its worker token; this is the only time the token is shown."""

    server_id: str
    registered_at: str
    name: str | None = None
    worker_token: str
    token_expires_at: str
    token_ttl_seconds: int


class RevokeReply(Message):
    """How many tokens were revoked."""

    revoked_count: int


# --------------------------------------------------------------------------- compute nodes: leases


class Capabilities(Message):
    """What a worker can run. ``pseudopotentials`` null means: unknown, offer anything."""

    engine: str = "espresso"
    engine_version: str | None = None
    pseudopotentials: list[str] | None = None
    environ: bool = False
    slots: Annotated[int, Field(ge=1, le=4096)] = 1


class LeaseRequest(Message):
    """A request for work. An empty body asks for one whole job (``max_tasks`` null).

    ``wait_seconds`` holds the request open until there is work (at most 30 s).
    """

    max_tasks: Annotated[int, Field(ge=1, le=10_000)] | None = None
    wait_seconds: Annotated[float, Field(ge=0, le=30)] = 0
    capabilities: Capabilities | None = None


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

    task: int
    energy_ev: float
    forces_ev_ang: list[Vector]
    fingerprint: Fingerprint
    scf_seconds: Annotated[float, Field(ge=0)]
    scf_iterations: int | None = None
    pseudo_dir: str | None = None


class TaskReportRequest(Message):
    """Finished tasks of a lease."""

    lease_id: str
    reports: Annotated[list[TaskReport], Field(min_length=1)]


class TaskReportReply(Message):
    """``accepted``: stored now; ``idempotent``: already there; ``refused``: not needed any more, or
    from other physics than the job's first result (``detail`` says which).
    """

    ok: bool = True
    accepted: list[int] = []
    idempotent: list[int] = []
    refused: list[int] = []
    detail: str | None = None
    job_status: JobState
    progress: Progress
    lease_held: bool = True


class HeartbeatRequest(Message):
    """The leases a worker still works on."""

    lease_ids: list[str] = []


class HeartbeatReply(Message):
    """State of each lease: ``held`` (renewed), ``lost`` (expired or released) or ``cancelled``."""

    leases: dict[str, Literal["held", "lost", "cancelled"]]
    lease_ttl_seconds: float


class WholeResultRequest(Message):
    """The result of a whole job from a worker that settles it in one go."""

    lease_id: str
    result: dict[str, Any]
    summary_text: str
    freqs_csv: str
    meta: dict[str, Any] = {}


class WholeResultReply(Message):
    """``idempotent`` is true if this lease had settled the job already."""

    ok: bool = True
    idempotent: bool = False


class FailedRequest(Message):
    """A failure of some ``tasks`` of a lease, or of all its unfinished ones (``tasks`` null)."""

    lease_id: str
    error_code: Annotated[str, Field(max_length=100)]
    error_message: str
    traceback: str | None = None
    tasks: list[int] | None = None
    side: Side = "compute"


class FailedReply(Message):
    """Whether the tasks will be tried again, and how often they have failed by now."""

    ok: bool = True
    requeued: bool
    retry_count: int


class ReleaseRequest(Message):
    """Hand a lease back unfinished (a clean shutdown); counts as no attempt."""

    lease_id: str


class Ok(Message):
    """Done."""

    ok: bool = True
