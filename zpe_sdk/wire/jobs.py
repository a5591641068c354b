"""What researchers, and the existing web interface, ask and hear: inputs, jobs, their progress."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from zpe_sdk.task import Vector
from zpe_sdk.wire.labels import Labels
from zpe_sdk.wire.messages import (
    AtomIndex,
    ErrorInfo,
    Fingerprint,
    Id,
    Line,
    Lines,
    Many,
    Message,
    Number,
    Tag,
    TaskIndex,
)
from zpe_sdk.wire.names import EngineName, Expect, JobKind, JobState
from zpe_sdk.wire.relaxation import RelaxOptions
from zpe_sdk.wire.versions import check_condition


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
    structure_id: Line | None = None


class ParseReply(Message):
    """What a QE input holds. ``kpoints`` is the mesh of ``K_POINTS automatic``, else null."""

    structure: Structure
    fixed_indices: list[int]
    atomic_species: dict[str, str]
    kpoints: tuple[int, int, int] | None = None


class Requirements(Message):
    """What a job wants of a compute node, beyond the pseudopotentials that its input names.

    ``tags`` are labels that administrators give to their nodes; ``cores`` and ``memory_gb`` (10⁹ bytes)
    are the least that a node must have. ``pw`` is a condition on its version of pw.x, such as ``">=7.1"`` or
    ``">=6.7,<7.3"``, beside what the input itself needs. ``max_scf_seconds`` is the longest that an SCF may
    take.
    """

    # A wish that nobody understands would be granted by any node.
    model_config = ConfigDict(extra="forbid")

    tags: Annotated[list[Tag], Field(max_length=20)] = []
    cores: Annotated[int, Field(strict=True, ge=1, le=100_000)] | None = None
    memory_gb: Annotated[float, Number, Field(gt=0, le=1e6)] | None = None
    pw: Annotated[str, Field(max_length=100), AfterValidator(check_condition)] | None = None
    max_scf_seconds: Annotated[float, Number, Field(gt=0, le=1e9)] | None = None


# Displacements that a finite difference is made of: shorter ones drown in the noise of the forces, longer
# ones leave the harmonic region.
Delta = Annotated[float, Field(ge=1e-3, le=0.1)]
# No molecule vibrates faster than H2 (4400 cm-1): a higher cutoff would leave nothing.
MAX_CUTOFF_CM = 5000.0
Cutoff = Annotated[float, Field(ge=0, le=MAX_CUTOFF_CM)]
MIN_KELVIN, MAX_KELVIN = 1e-3, 1e5
Temperature = Annotated[float, Field(ge=MIN_KELVIN, le=MAX_KELVIN)]
# JSON's true is no atom 1.
Index = Annotated[int, Field(strict=True)]


def _how_to_relax(value: object) -> object:
    # Not a union with bool: its errors would be of both, and name no field.
    return {} if value is True else None if value is False else value


class JobRequest(Labels):
    """A calculation to run, and the labels of its job.

    Attributes
    ----------
    kind
        ``vibrations``; ``relax``: the structure of lowest energy nearby; ``energy``: one SCF.
    relax
        Of ``vibrations``: relax the structure first; of ``relax``: how. True stands for the defaults of
        :class:`RelaxOptions`, false for null.
    content
        The text of a ``pw.x`` input file.
    use_environ
        Run with Environ (implicit solvent); with the worker's own ``environ.in`` if ``environ`` is null.
    environ
        The text of an ``environ.in``; implies ``use_environ``.
    mobile_indices
        0-based indices of the atoms that vibrate; default: every atom without ``0 0 0`` flags.
    delta
        Displacement in Å.
    low_cut_cm
        Modes below this wavenumber are left out of ZPE and entropy.
    symmetry
        Use crystal symmetry to run fewer SCFs.
    allow_state_changes
        Finish the job, with a warning, although SCFs ended in another electronic state than the equilibrium
        and did so again from other starts. Otherwise it fails (``electronic_state_differs``).
    where
        On which workers: ``any``; ``mine``: workers of one's own; the name or id of a worker, or the name of
        a group that one is in; null: the target selected for oneself, or any.
    verify
        The share of SCFs (0 to 1) that two workers compute and that are compared; at least one if above 0.
    expect
        What the structure is: at a ``saddle`` point one imaginary vibration is no alarm.
    once
        If the owner has a job of this name in this project, it is that one and no other is made, unless it
        was cancelled. One that has failed may be asked for with other settings.
    engine
        ``espresso``: by pw.x alone; ``mock``: by springs alone; null: what the control plane is set up for.
    """

    content: str
    kind: JobKind = "vibrations"
    relax: Annotated[RelaxOptions | None, BeforeValidator(_how_to_relax)] = None
    mobile_indices: Annotated[list[Index], Many] | None = None
    use_environ: bool = False
    environ: str | None = None
    input_dir: Line | None = None
    calc_mode: Literal["continue", "new"] = "continue"
    structure_id: Line | None = None
    delta: Annotated[Delta, Number] | None = None
    low_cut_cm: Annotated[Cutoff, Number] | None = None
    temperature: Annotated[Temperature, Number] | None = None
    symmetry: bool = True
    name: Annotated[Line, Field(max_length=200)] | None = None
    priority: Annotated[int, Field(strict=True, ge=-100, le=100)] = 0
    requires: Requirements = Requirements()
    where: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    allow_state_changes: bool = False
    engine: EngineName | None = None
    verify: Annotated[float, Field(ge=0, le=1)] = 0.0
    expect: Expect = "minimum"
    once: bool = False

    @property
    def relaxation(self) -> RelaxOptions | None:
        """How the structure is to be relaxed; None: not at all."""
        return self.relax or (RelaxOptions() if self.kind == "relax" else None)

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.expect == "saddle" and self.relaxation:
            raise ValueError("expect: a relaxation leads to a minimum, not to a saddle point")
        if self.kind == "energy" and self.relax:
            raise ValueError("relax: a job of the kind 'energy' leaves the structure as it is")
        if self.once and not (self.project and self.name):
            raise ValueError("once: a job is found again by its project and its name, which are to be given")
        return self


class JobReply(Message):
    """The id of an accepted job, and what its author should know of the input: one sentence each.

    ``created`` is false where it was there already.
    """

    job_id: Id
    warnings: list[Line] = []
    created: bool = True


class Progress(Message):
    """SCFs done of all that the job needs; ``full`` is what it would need without symmetry."""

    done: int
    total: int
    reused: int = 0
    running: int = 0
    full: int | None = None


class RunningScf(Message):
    """How far an SCF is that runs, as its worker told it with the latest heartbeat.

    ``iteration`` counts from 1, in a relaxation anew at each step; ``accuracy_ry`` is what pw.x estimates
    that the energy still lacks. Both are null before the first iteration has ended. ``seconds``: since it
    began.
    """

    task: Annotated[int, Field(ge=0, le=10**6)]
    iteration: Annotated[int, Field(ge=1, le=10**9)] | None = None
    accuracy_ry: Annotated[float, Field(ge=0, le=1e99)] | None = None
    seconds: Annotated[float, Field(ge=0, le=1e9)]
    worker: Annotated[str, Field(max_length=200)] | None = None


class JobStatus(Labels):
    """Where a job stands. ``detail`` says in a sentence why it waits or why it failed.

    ``taken_back`` names the workers that computed a part of this finished job and were revoked with their
    results since: its numbers are not to be trusted.

    ``running``: how far the SCFs are that run, as far as their workers tell.

    ``stage`` is what is being computed; of a relaxation ``ionic_step`` counts the steps that are stored and
    ``max_force_ev_ang`` is the largest force of the last one.

    ``zpe_ev`` is the zero-point energy of a finished job's result; null where there is none, and where
    ``taken_back`` says that it is not to be trusted.

    ``expires_at`` is when a job that is over will be forgotten, with its result; null: never, or not yet
    known.

    ``version`` grows with every change; ``GET …/jobs/{id}?wait_seconds=30&after=VERSION`` answers when it
    has.
    """

    job_id: Id
    status: JobState
    detail: Line | None = None
    updated_at: str
    created_at: str
    started_at: str | None = None
    finished_at: str | None = None
    progress: Progress
    owner: Line | None = None
    name: Line | None = None
    formula: Line | None = None
    error: ErrorInfo | None = None
    workers: list[Line] = []
    running: list[RunningScf] = []
    in_dlq: bool = False
    version: int = 0
    engine: EngineName | None = None
    taken_back: list[Line] = []
    kind: JobKind = "vibrations"
    stage: JobKind = "vibrations"
    ionic_step: int | None = None
    max_force_ev_ang: float | None = None
    zpe_ev: float | None = None
    expires_at: str | None = None


class JobList(Message):
    """One page of jobs, by the time of their submission."""

    jobs: list[JobStatus]
    total: int


class CancelledReply(Message):
    """The jobs that were cancelled, or would be; ``total`` is how many there were to cancel."""

    jobs: list[Id]
    total: int


class TaskStatus(Message):
    """One SCF of a job: ``open`` tasks wait, ``held`` ones are with a worker, ``done`` ones have forces.

    ``copy_of`` is the task whose SCF this one computes again, on another worker.
    """

    index: TaskIndex
    atom: AtomIndex | None = None
    displacement: Vector | None = None
    copy_of: TaskIndex | None = None
    state: Literal["open", "held", "done"]
    worker: Line | None = None
    scf_seconds: float | None = None
    attempts: int = 0


class HistoryEvent(Message):
    """Something that happened to a job: a failed attempt, an expiry, a requeue, a cancellation."""

    at: str
    what: Line
    worker: Line | None = None
    by: Line | None = None
    code: Line | None = None
    message: Lines | None = None
    traceback: Lines | None = None
    tasks: list[TaskIndex] = []


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
    whose chemical symbols are ``symbols``; all other atoms are held in place. ``mode_kinds`` are those of a
    :class:`ZPEResultDocument`: where some atoms are held, all modes are vibrations. ``differences`` is
    ``forward`` as long as opposite displacements of these atoms are missing. ``detail`` says in a sentence
    what the numbers are worth. ``engine`` is what computes the job.
    """

    freqs_cm: list[float]
    mode_kinds: list[str] = []
    atoms: list[int]
    symbols: list[Line]
    scf_done: int
    scf_total: int
    differences: Literal["central", "forward"]
    detail: Line
    engine: EngineName | None = None
