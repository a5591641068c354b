"""What researchers can know before they submit: what machines there are, and what a job would take."""

from __future__ import annotations

from zpe_sdk.wire.compute import PseudopotentialHeader
from zpe_sdk.wire.messages import Line, Message
from zpe_sdk.wire.names import EngineName, JobKind


class Machine(Message):
    """A compute node as researchers see it.

    ``takes_work``: it is there, and not drained. ``leases`` is the number of shares of jobs that it works on,
    ``slots`` how many SCFs it runs side by side. ``pseudopotentials`` are its files with their headers, null
    where a header cannot be read; the whole is null if it is not known what there is.
    """

    name: Line
    takes_work: bool
    engine: Line
    engine_version: Line | None = None
    zpe_version: Line | None = None
    slots: int = 1
    leases: int = 0
    cores: int | None = None
    memory_gb: float | None = None
    tags: list[Line] = []
    environ: bool = False
    relaxes: bool = False
    pseudopotentials: dict[Line, PseudopotentialHeader | None] | None = None


class MachineList(Message):
    """The compute nodes that have enrolled, those first that take work."""

    machines: list[Machine]


class JobPlan(Message):
    """What a job would take, and what seems to be wrong with it.

    ``scfs`` are its SCFs (without those of a relaxation), ``full`` what they would be without symmetry,
    ``known`` those of them that earlier jobs have computed. ``space_group`` is that of the atoms in their
    cell (international symbol), ``operations`` the number of its operations that everything else in the
    input leaves as it is. ``mobile_indices`` are the atoms that vibrate. ``warnings`` are in sentences, the
    gravest first.

    ``machines`` is how many could begin now; without any, ``detail`` says why. ``scf_seconds`` is the median
    of what ``similar`` SCFs have taken, scaled to this size; ``seconds`` what all SCFs take if nobody else
    wants the machines, at best and at worst of the middle 80 %. Both are null where nothing similar was run.
    """

    kind: JobKind
    engine: EngineName
    relaxes: bool = False
    formula: Line
    atoms: int
    mobile_indices: list[int]
    scfs: int
    full: int
    known: int = 0
    space_group: Line | None = None
    operations: int | None = None
    ecutwfc: float | None = None
    ecutrho: float | None = None
    kpts: tuple[int, int, int]
    pseudopotentials: list[Line]
    warnings: list[Line] = []
    machines: int = 0
    detail: Line | None = None
    scf_seconds: float | None = None
    seconds: tuple[float, float] | None = None
    similar: int = 0
