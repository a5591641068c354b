"""The result of a job, and where its numbers come from."""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from zpe_sdk.task import Vector
from zpe_sdk.wire.messages import Fingerprint, Line, Message, TaskRun
from zpe_sdk.wire.names import Expect
from zpe_sdk.wire.relaxation import RelaxationRecord


class SymmetryOperation(Message):
    """A Cartesian orthogonal matrix, row by row, and the place to which it takes each mobile atom."""

    rotation: tuple[Vector, Vector, Vector]
    permutation: tuple[int, ...]


def input_of_before(document: Any) -> Any:
    """Return a document with its input in ``pw_input``: earlier versions had it in ``qe_input``."""
    if not isinstance(document, dict) or "pw_input" in document:
        return document
    text = document.get("qe_input")
    # Of a worker that settles whole jobs it is a label, as it is now.
    if not isinstance(text, str) or "\n" not in text:
        return document
    return {**document, "pw_input": text, "qe_input": "inline"}


class BareDocument(Message):
    """The result of a worker that settles whole jobs and sends the numbers alone.

    Names and units are those of a :class:`ZPEResultDocument`; null: the worker did not say. Imaginary modes
    may stand as 0.
    """

    freqs_cm: list[float]
    zpe_ev: float
    s_vib_jmol_k: float
    mobile_indices: list[int]
    fixed_indices: list[int] | None = None
    kpts: tuple[int, int, int] | None = None
    delta: float | None = None
    low_cut_cm: float | None = None
    temperature: float | None = None
    use_environ: bool | None = None
    qe_input: str | None = None
    pseudo_dir: str | None = None
    calc_start_time: str | None = None
    calc_end_time: str | None = None
    elapsed_seconds: float | None = None
    cache_checked: int | None = None
    cache_deleted: int | None = None
    ecutwfc: float | None = None
    ecutrho: float | None = None


class ZPEResultDocument(Message):
    """The result of a job. Imaginary modes are negative numbers in ``freqs_cm``; within ±0.01 they are 0.

    Atoms and modes are counted from 0. ``freqs_cm`` ascend. ZPE, U, F, S and Cv sum the vibrations above
    ``low_cut_cm`` (:func:`zpe_sdk.vibrations.kinds.counted_modes`); U and F include the ZPE. ``kpts`` is
    (1, 1, 1) for the gamma point and (0, 0, 0) for a list of k-points, which is in ``pw_input``,
    the text of the pw.x input; ``qe_input`` is a short label, the request's ``input_dir`` or ``inline``.
    ``fixed_indices`` are the atoms with ``0 0 0`` flags, ``cache_checked`` counts the SCFs taken over from
    earlier jobs, ``ecutwfc`` and ``ecutrho`` are in Ry.

    ``modes[k]`` is the Cartesian displacement of each mobile atom in mode k (not mass-weighted,
    normalised to 1), ``mode_kinds[k]`` is ``translation`` or ``rotation`` where the mode moves the whole,
    else ``vibration``; ``imaginary_modes`` are the indices of imaginary vibrations. ``hessian`` is (3M, 3M)
    in eV/Å² over the mobile atoms, ``masses`` are theirs in amu; ``symbols`` and ``positions`` are of all
    atoms, ``cell`` has a vector per row. ``max_force_ev_ang`` is the largest force on a mobile atom at the
    equilibrium;
    ``total_magnetization`` and ``absolute_magnetization`` (Bohr magnetons per cell) are the equilibrium's,
    null without spin. ``dipole_e_ang`` is the equilibrium's (of a charged molecule about its centre of mass,
    of a slab the component along its normal), ``born_charges[k][a][b]`` the derivative ∂μ_a/∂x_b for each
    mobile atom in e, ``ir_intensities_km_mol`` one for each mode, 0 for motions of the whole; null without
    dipoles. ``point_group`` and ``irreps`` name the symmetry of structure, cell and k-points and that of each
    mode, from ``symmetry_operations``; null where no symmetry was used, and for a mode that mixes several. A
    linear molecule is D∞h or C∞v, whatever its cell leaves of that.
    ``relaxation`` tells of the relaxation that came first, ``expect`` what the structure was to be.
    ``symmetry`` and ``checks``: see docs/formulas.md.
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
    pseudo_dir: Line
    calc_start_time: Line
    calc_end_time: Line
    elapsed_seconds: float
    cache_checked: int
    cache_deleted: int
    ecutwfc: float | None = None
    ecutrho: float | None = None
    # Ours.
    pw_input: str
    u_vib_ev: float
    f_vib_ev: float
    cv_jmol_k: float
    symbols: list[Line]
    positions: list[Vector]
    cell: list[Vector]
    masses: list[float]
    hessian: list[list[float]]
    modes: list[list[Vector]]
    mode_kinds: list[Line]
    imaginary_modes: list[int]
    energy_ev: float
    max_force_ev_ang: float
    total_magnetization: float | None = None
    absolute_magnetization: float | None = None
    dipole_e_ang: Vector | None = None
    born_charges: list[tuple[Vector, Vector, Vector]] | None = None
    ir_intensities_km_mol: list[float] | None = None
    warnings: list[Line] = []
    expect: Expect = "minimum"
    symmetry: dict[str, Any] = {}
    symmetry_operations: list[SymmetryOperation] = []
    point_group: str | None = None
    irreps: list[str | None] | None = None
    checks: dict[str, Any] = {}
    relaxation: RelaxationRecord | None = None
    fingerprint: Fingerprint
    tasks: list[TaskRun]

    @model_validator(mode="before")
    @classmethod
    def _of_before(cls, document: Any) -> Any:
        return input_of_before(document)

    @property
    def is_mock(self) -> bool:
        """Whether the forces are those of springs in place of pw.x: no physics."""
        return self.fingerprint.engine == "mock"
