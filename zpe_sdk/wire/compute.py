"""What compute nodes ask and hear: enrolment, leases, reports, heartbeats."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from zpe_sdk.errors import Side
from zpe_sdk.plain import plain_lines
from zpe_sdk.task import Task
from zpe_sdk.wire.jobs import Progress, RunningScf
from zpe_sdk.wire.messages import (
    AtomIndex,
    Fingerprint,
    Force,
    Id,
    JsonObject,
    LeasedTask,
    Line,
    Magnetization,
    Many,
    Message,
    RequestId,
    SecretToken,
    Tag,
    TaskIndex,
)
from zpe_sdk.wire.names import Accepts, EngineName, Expect, JobKind, JobState
from zpe_sdk.wire.relaxation import RelaxationEnd, RelaxationState, RelaxOptions

# In seconds.
Ttl = Annotated[float, Field(gt=0, le=1e9)]


class RegisterRequest(Message):
    """A compute node enrolling with a one-time token."""

    token: str = Field(repr=False)
    name: Annotated[Line, Field(max_length=200)] | None = None
    meta: JsonObject = {}


class RegisterReply(Message):
    """The node's identity and its worker token; this is the only time the token is shown.

    ``owner`` and ``accepts`` are as the enroll token has them, see :class:`EnrollTokenRequest`.
    """

    server_id: Id
    registered_at: str
    name: Line | None = None
    owner: Line | None = None
    accepts: Accepts = "all"
    worker_token: SecretToken
    token_expires_at: str
    token_ttl_seconds: Annotated[int, Field(gt=0)]


class PseudopotentialHeader(Message):
    """What a pseudopotential file says of itself; cutoffs in Ry, 0 where it suggests none.

    ``kind`` is ``PAW``, ``US`` or ``NC``; ``usual``: PBE and scalar-relativistic.
    """

    symbol: Annotated[str, Field(max_length=10)]
    kind: Literal["PAW", "US", "USPP", "NC"]
    ecutwfc: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    ecutrho: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    usual: bool = True


class Capabilities(Message):
    """What a worker can run. ``pseudopotentials`` null means: unknown, offer anything.

    ``headers`` are those of pseudopotential files, by name, as far as they can be read.

    ``environ``: has Environ and an input for it; ``environ_input``: has Environ, and takes an input that
    comes with a job. ``files_sha256`` stands for all files that decide forces (program, pseudopotentials,
    Environ's input); null: not known. ``zpe_version`` is that of the worker itself. ``relaxes``: knows
    relaxations, of which older workers would make single SCFs. ``slots`` SCFs run side by side. ``accepts``:
    whose jobs the machine takes at most, whatever its owner lets it. ``cores``,
    ``memory_gb`` and ``tags`` are held against what jobs require.
    """

    engine: Line = "espresso"
    engine_version: Line | None = None
    pseudopotentials: Annotated[list[Line], Many] | None = None
    headers: dict[str, PseudopotentialHeader] = {}
    environ: bool = False
    environ_input: bool = False
    relaxes: bool = False
    files_sha256: Annotated[str, Field(max_length=64)] | None = None
    zpe_version: Annotated[Line, Field(max_length=50)] | None = None
    slots: Annotated[int, Field(ge=1, le=4096)] = 1
    accepts: Accepts = "all"
    cores: Annotated[int, Field(ge=1, le=10**6)] | None = None
    memory_gb: Annotated[float, Field(gt=0, le=1e9)] | None = None
    tags: Annotated[list[Tag], Many] = []


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


class JobPayload(Message):
    """What a worker needs to know of a job, besides the tasks of its lease.

    ``stage``: in the stage ``relax`` the job has one task, a relaxation, to be carried out as ``relax`` says.
    After that ``content`` has the relaxed positions. ``max_scf_seconds``: the longest that an SCF may take.
    """

    content: str
    kind: JobKind = "vibrations"
    stage: JobKind = "vibrations"
    relax: RelaxOptions | None = None
    mobile_indices: list[AtomIndex]
    use_environ: bool = False
    environ: str | None = None
    input_dir: str | None = None
    calc_mode: Literal["continue", "new"] = "continue"
    structure_id: str | None = None
    delta: float
    low_cut_cm: float
    temperature: float
    expect: Expect = "minimum"
    engine: EngineName | None = None
    max_scf_seconds: Annotated[float, Field(gt=0)] | None = None


def _each_once(tasks: list[Task]) -> list[Task]:
    if len({task.index for task in tasks}) < len(tasks):
        raise ValueError("an SCF is in it twice")
    return tasks


class LeaseReply(Message):
    """The right to run ``tasks`` of a job until ``lease_ttl_seconds`` pass without a renewal.

    ``name`` is the job's, ``scfs`` how many tasks it has altogether. ``more``: whether other SCFs wait for a
    worker. ``relaxation``: where one goes on, if the job is in that stage.
    """

    job_id: Id
    name: Line | None = None
    scfs: Annotated[int, Field(ge=1)] | None = None
    payload: JobPayload
    lease_id: Id
    lease_ttl_seconds: Ttl
    tasks: Annotated[list[LeasedTask], AfterValidator(_each_once)]
    relaxation: RelaxationState | None = None
    more: bool = True
    request_id: RequestId | None = None


NO_FORCES = "all forces are exactly zero although an atom is displaced: none were computed"
# e Å; charges at the two ends of the longest cell that an input may have.
DipoleComponent = Annotated[float, Field(ge=-1e9, le=1e9)]


class TaskReport(Message):
    """The outcome of one SCF: ``forces_ev_ang`` has one row per atom of the input, (nat, 3).

    ``dipole_e_ang`` is the dipole moment of the cell, null where there is none (crystals) or it is not known.
    The magnetisations are those that pw.x prints with spin, in Bohr magnetons per cell; null without spin.
    ``lacking_ry``: of an SCF that came to no end, what pw.x estimates that its energy lacks.
    ``warnings`` are what pw.x itself warned of that tells something about the result. Of a relaxation, whose
    steps have been reported before, ``relaxation`` says how it ended; energy and forces are those of its end.
    """

    task: TaskIndex
    energy_ev: Annotated[float, Field(ge=-1e12, le=1e12)]
    forces_ev_ang: Annotated[list[tuple[Force, Force, Force]], Many]
    fingerprint: Fingerprint
    scf_seconds: Annotated[float, Field(ge=0, le=1e9)]
    scf_iterations: Annotated[int, Field(ge=0, le=10**9)] | None = None
    pseudo_dir: Line | None = None
    dipole_e_ang: tuple[DipoleComponent, DipoleComponent, DipoleComponent] | None = None
    total_magnetization: Magnetization | None = None
    absolute_magnetization: Magnetization | None = None
    lacking_ry: Annotated[float, Field(ge=0, le=1e6)] | None = None
    warnings: Annotated[list[Annotated[Line, Field(max_length=500)]], Field(max_length=20)] = []
    relaxation: RelaxationEnd | None = None

    @property
    def lacks_forces(self) -> bool:
        """Whether all forces are exactly zero although one of several atoms is displaced."""
        return self.task > 0 and len(self.forces_ev_ang) > 1 and not any(map(any, self.forces_ev_ang))


class TaskReportRequest(Message):
    """Finished tasks of a lease."""

    lease_id: Id
    reports: Annotated[list[TaskReport], Field(min_length=1), Many]


class TaskReportReply(Message):
    """``accepted``: stored now; ``idempotent``: already there; ``refused``: not needed any more, or not what
    was leased. ``reason`` is the code of a refusal (``not_leased``, ``wrong_engine``, ``wrong_physics``,
    ``wrong_pseudopotentials``, ``leased_again``, ``cancelled``, …), ``detail`` says it in words. ``left``, if
    not null, are the tasks that the lease still has: others were taken out of it, because the worker was slow
    to begin them.
    """

    ok: bool = True
    accepted: list[TaskIndex] = []
    idempotent: list[TaskIndex] = []
    refused: list[TaskIndex] = []
    reason: Line | None = None
    detail: Line | None = None
    job_status: JobState
    progress: Progress
    lease_held: bool = True
    left: list[TaskIndex] | None = None


class HeartbeatRequest(Message):
    """The leases a worker still works on, and how far the SCFs are that it runs under each.

    ``memory_free_gb`` (10⁹ bytes) is what programs may still take on the machine; null: not known. With
    ``ending`` the worker says goodbye: nobody is to wait for it until it calls again.
    """

    lease_ids: Annotated[list[Id], Field(max_length=10_000), Many] = []
    running: Annotated[
        dict[Id, Annotated[list[RunningScf], Field(max_length=4096)]], Field(max_length=10_000)
    ] = {}
    memory_free_gb: Annotated[float, Field(ge=0, le=1e9)] | None = None
    ending: bool = False


class HeartbeatReply(Message):
    """State of each lease: ``held`` (renewed), ``lost`` (expired or released) or ``cancelled``.

    ``left``: as in a :class:`TaskReportReply`, of the leases of which it is not null.
    """

    leases: dict[Id, Literal["held", "lost", "cancelled"]]
    left: dict[Id, list[TaskIndex]] = {}
    lease_ttl_seconds: Ttl
    draining: bool = False


class WholeResultRequest(Message):
    """The result of a whole job from a worker that settles it in one go."""

    lease_id: Id
    result: JsonObject
    summary_text: Annotated[str, Field(max_length=1_000_000), AfterValidator(plain_lines)]
    freqs_csv: Annotated[str, Field(max_length=1_000_000), AfterValidator(plain_lines)]
    meta: JsonObject = {}


class WholeResultReply(Message):
    """``idempotent`` is true if this lease had settled the job already."""

    ok: bool = True
    idempotent: bool = False


class FailedRequest(Message):
    """A failure of some ``tasks`` of a lease, or of all its unfinished ones (``tasks`` null).

    Of a longer ``error_message`` the first 2000 characters are kept, of a longer ``traceback`` the last
    20 000.
    """

    lease_id: Id
    error_code: Annotated[Line, Field(max_length=100)]
    error_message: Annotated[str, AfterValidator(lambda text: plain_lines(text[:2000]))]
    traceback: Annotated[str, AfterValidator(lambda text: plain_lines(text[-20_000:]))] | None = None
    tasks: Annotated[list[TaskIndex], Many] | None = None
    side: Side = "compute"


class FailedReply(Message):
    """Whether the tasks will be tried again, and how often they have failed by now."""

    ok: bool = True
    requeued: bool
    retry_count: int


class ReleaseRequest(Message):
    """Release ``tasks`` of a lease, or all its unfinished ones (``tasks`` null); counts as no attempt."""

    lease_id: Id
    tasks: Annotated[list[TaskIndex], Field(min_length=1), Many] | None = None


class Ok(Message):
    """Done."""

    ok: bool = True


class WorkerTokenReply(Message):
    """A new worker token; the old one goes on for a grace period."""

    worker_token: SecretToken
    token_expires_at: str
    token_ttl_seconds: Annotated[int, Field(gt=0)]
