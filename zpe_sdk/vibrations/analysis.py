"""From a Hessian to all that follows from it without another SCF: the one way there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from zpe_sdk.vibrations.hessian import symmetrised
from zpe_sdk.vibrations.intensities import ir_intensities
from zpe_sdk.vibrations.irreps import Irreps, assign_irreps
from zpe_sdk.vibrations.kinds import (
    counted_modes,
    external_motions,
    imaginary_modes,
    linear_axis,
    vibrations,
)
from zpe_sdk.vibrations.modes import Modes, normal_modes, wavenumber
from zpe_sdk.vibrations.molecule import Molecule, find_molecule
from zpe_sdk.vibrations.noise import Residuals, residuals
from zpe_sdk.vibrations.oscillators import Thermodynamics, thermodynamics, zero_point_energy
from zpe_sdk.vibrations.plan import Plan
from zpe_sdk.vibrations.symmetry import Operation

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Beyond it, in cm⁻¹, a motion of the whole says that something is amiss.
RESIDUAL_CM = 200.0
# Nearer to its images than this, in Å, a molecule feels them.
NEAR_IMAGE = 6.0
# How the warnings of an analysis begin, those of earlier versions too.
_BOX = "the box is small"
_NO_SADDLE = "this is not the saddle point that was expected"
_BEGINNING = re.compile(rf"mode \d+ \(|{_BOX}|{_NO_SADDLE}")


@dataclass(frozen=True)
class Structure:
    """The atoms that a Hessian is of.

    Attributes
    ----------
    symbols, positions, cell
        Chemical symbols of all atoms, their positions in Å, shape (N, 3), and the lattice vectors in Å, one
        per row.
    mobile
        Indices of the mobile atoms.
    masses
        Of the mobile atoms in u, shape (M,).
    operations
        Those of its point group, as far as they are known.
    """

    symbols: Sequence[str]
    positions: Array
    cell: Array
    mobile: Sequence[int]
    masses: Array
    operations: Sequence[Operation] = ()

    @property
    def is_free(self) -> bool:
        """Whether all atoms are mobile, and can move as a whole."""
        return len(self.mobile) == len(self.symbols)

    @cached_property
    def molecule(self) -> Molecule | None:
        """The molecule that the atoms are; None if they are none, or some are held."""
        return find_molecule(self.symbols, self.positions, self.cell) if self.is_free else None

    @property
    def external(self) -> Array | None:
        """The motions of the whole, see :func:`~zpe_sdk.vibrations.kinds.external_motions`.

        None where some atoms are held.
        """
        if not self.is_free:
            return None
        places = None if self.molecule is None else self.molecule.positions[list(self.mobile)]
        return external_motions(self.masses, places)

    @property
    def axis(self) -> Array | None:
        """The direction of a linear molecule, a unit vector; None if it is none."""
        if self.molecule is None or self.external is None:
            return None
        return linear_axis(self.molecule.positions, self.external)


@dataclass(frozen=True)
class Settings:
    """What is chosen: vibrations above ``low_cut_cm`` (cm⁻¹) count, at a ``temperature`` in K.

    Of what is to be a ``saddle`` point, one imaginary vibration is no alarm.
    """

    low_cut_cm: float
    temperature: float
    saddle: bool = False


@dataclass(frozen=True)
class Analysis:
    """What a Hessian comes to.

    Attributes
    ----------
    structure, settings
        What it was made from.
    hessian
        The symmetric Hessian in eV/Å², shape (3M, 3M).
    modes
        Its normal modes.
    counted, imaginary
        Which of them zero-point energy and thermochemistry sum, and along which the energy falls, shape
        (3M,).
    thermodynamics
        Of the counted modes.
    ir_intensities
        Infrared intensities of the modes in km/mol, shape (3M,); None without polar tensors.
    irreps
        Point group, and representations of the modes; None without operations.
    residuals
        What should be zero in the Hessian as measured, and the errors that follow; None if it is not known
        how that was measured.
    warnings
        What is to be told of the modes and of the box.
    """

    structure: Structure
    settings: Settings
    hessian: Array
    modes: Modes
    counted: Mask
    imaginary: Mask
    thermodynamics: Thermodynamics
    ir_intensities: Array | None
    irreps: Irreps | None
    residuals: Residuals | None
    warnings: list[str]


def analyse(
    hessian: Array,
    structure: Structure,
    settings: Settings,
    *,
    plan: Plan | None = None,
    tensors: Array | None = None,
    stalled: Mapping[int, float] | None = None,
) -> Analysis:
    """Return modes, harmonic thermodynamics, intensities, representations, errors and warnings.

    Parameters
    ----------
    hessian
        Of the mobile atoms in eV/Å², shape (3M, 3M), as measured or symmetrised.
    structure, settings
        Its atoms, and what counts.
    plan
        The plan by which the Hessian was measured, if it is as measured. The errors follow from that alone.
    tensors
        Atomic polar tensors of the mobile atoms in e, shape (M, 3, 3), if they are known.
    stalled
        SCFs that came to no end, see :func:`zpe_sdk.vibrations.noise.estimate_noise`.

    Raises
    ------
    InputError
        ``bad_masses``: a mass is not positive, or their number is not that of the Hessian's atoms.
    """
    symmetric = symmetrised(hessian)
    molecule = structure.molecule
    modes = normal_modes(symmetric, structure.masses, structure.external)
    counted = counted_modes(modes.frequencies_cm, modes.kinds, settings.low_cut_cm)
    imaginary = imaginary_modes(modes.frequencies_cm, modes.kinds)
    return Analysis(
        structure=structure,
        settings=settings,
        hessian=symmetric,
        modes=modes,
        counted=counted,
        imaginary=imaginary,
        thermodynamics=thermodynamics(modes.frequencies_cm[counted], settings.temperature),
        ir_intensities=None
        if tensors is None
        else ir_intensities(tensors, modes.displacements, structure.masses, modes.kinds),
        irreps=assign_irreps(structure.operations, structure.masses, modes.eigenvectors, axis=structure.axis),
        residuals=None
        if plan is None
        else residuals(
            plan,
            hessian,
            modes,
            structure.masses,
            counted,
            complete=structure.is_free,
            stalled=stalled,
        ),
        warnings=_of_the_box(molecule) + _of_the_modes(modes, counted, imaginary, settings),
    )


def with_warnings_of(analysis: Analysis, told: Sequence[str]) -> list[str]:
    """Return the warnings of a result with those of an analysis in place of an earlier one's.

    Parameters
    ----------
    analysis
        What is true now.
    told
        All warnings of the result until now.
    """
    earlier = [n for n, warning in enumerate(told) if _BEGINNING.match(warning)]
    place = earlier[0] if earlier else len(told)
    others = [warning for n, warning in enumerate(told) if n not in earlier]
    return [*others[:place], *analysis.warnings, *others[place:]]


def _of_the_modes(modes: Modes, counted: Mask, imaginary: Mask, settings: Settings) -> list[str]:
    """Return the warnings about the modes; all but that of no saddle point begin with their modes."""
    count = int(imaginary.sum())
    frequencies = modes.frequencies_cm
    vibrating = vibrations(modes.kinds)
    left_out = vibrating & ~imaginary & ~counted
    lost_mev = 1000 * zero_point_energy(frequencies[left_out & (frequencies > 0)])
    box = "a larger box, " if "rotation" in modes.kinds else ""
    told = [
        (
            imaginary & (not settings.saddle or count > 1),
            "imaginary, the energy falls along it; not in ZPE and entropy",
        ),
        (
            left_out,
            f"left out of ZPE and entropy, being at or below {settings.low_cut_cm:g} cm⁻¹; "
            f"would add {lost_mev:.2f} meV to the ZPE",
        ),
        (
            ~vibrating & (np.abs(frequencies) > RESIDUAL_CM),
            f"a motion of the whole, never in ZPE and entropy, but further from 0 than {RESIDUAL_CM:g} cm⁻¹: "
            f"the vibrations may be off too. Try {box}a higher ecutrho and ecutwfc, or a tighter relaxation",
        ),
    ]
    warnings = [f"{_named(which, modes)}: {what}" for which, what in told if which.any()]
    if settings.saddle and count != 1:
        warnings.insert(0, f"{_NO_SADDLE}: {count or 'no'} modes are imaginary, and not one")
    return warnings


def _named(which: Mask, modes: Modes) -> str:
    return ", ".join(
        f"mode {k} ({wavenumber(modes.frequencies_cm[k])} cm⁻¹, {modes.kinds[int(k)]})"
        for k in np.flatnonzero(which)
    )


def _of_the_box(molecule: Molecule | None) -> list[str]:
    if molecule is None or molecule.image_distance >= NEAR_IMAGE:
        return []
    return [
        f"{_BOX}: the molecule is {molecule.image_distance:.1f} Å from its periodic images, which "
        f"it may feel; {NEAR_IMAGE:g} Å or more are better"
    ]
