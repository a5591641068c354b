"""From a Hessian to modes and thermochemistry: what follows without another SCF."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import units
from numpy.typing import NDArray

from zpe_sdk.vibrations.kinds import counted_modes, external_motions, imaginary_modes, vibrations
from zpe_sdk.vibrations.modes import (
    Modes,
    heat_capacity,
    internal_energy,
    normal_modes,
    vibrational_entropy,
    wavenumber,
    zero_point_energy,
)
from zpe_sdk.vibrations.molecule import Molecule, find_molecule

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

J_PER_MOL_K_IN_EV = float(units.mol / units.J)  # J/mol in 1 eV
# Beyond it, in cm⁻¹, a motion of the whole says that something is amiss.
RESIDUAL_CM = 200.0
# Nearer to its images than this, in Å, a molecule feels them.
NEAR_IMAGE = 6.0


@dataclass(frozen=True)
class Evaluation:
    """What a Hessian comes to.

    Attributes
    ----------
    modes
        The normal modes.
    counted
        Which of them zero-point energy and thermochemistry sum, shape (3M,).
    fields
        The fields of a result document that follow, by name.
    warnings
        What is to be told of the modes and of the box.
    """

    modes: Modes
    counted: Mask
    fields: dict[str, Any]
    warnings: list[str]


def evaluate(
    hessian: Array,
    masses: Array,
    symbols: Sequence[str],
    positions: Array,
    cell: Array,
    mobile: Sequence[int],
    *,
    low_cut_cm: float,
    temperature: float,
) -> Evaluation:
    """Return modes and harmonic thermochemistry.

    Parameters
    ----------
    hessian
        Of the mobile atoms in eV/Å², shape (3M, 3M).
    masses
        Of the mobile atoms in u, shape (M,).
    symbols, positions, cell
        All atoms, their positions in Å, shape (N, 3), and the lattice vectors in Å, one per row.
    mobile
        Indices of the mobile atoms.
    low_cut_cm
        Vibrations up to it, in cm⁻¹, are left out.
    temperature
        In K.
    """
    modes, molecule = spectrum(hessian, masses, symbols, positions, cell, mobile)
    counted = counted_modes(modes.frequencies_cm, modes.kinds, low_cut_cm)
    real = modes.frequencies_cm[counted]
    entropy, energy = vibrational_entropy(real, temperature), internal_energy(real, temperature)
    fields = {
        "freqs_cm": modes.frequencies_cm.tolist(),
        # Rounded: they are for arrows and animations, and as many numbers as the Hessian has.
        "modes": [
            [(x, y, z) for x, y, z in mode] for mode in (np.round(modes.displacements, 6) + 0.0).tolist()
        ],
        "mode_kinds": list(modes.kinds),
        "imaginary_modes": np.flatnonzero(imaginary_modes(modes.frequencies_cm, modes.kinds)).tolist(),
        "masses": masses.tolist(),
        "low_cut_cm": low_cut_cm,
        "temperature": temperature,
        "zpe_ev": zero_point_energy(real),
        "s_vib_jmol_k": entropy,
        "u_vib_ev": energy,
        "f_vib_ev": energy - temperature * entropy / J_PER_MOL_K_IN_EV,
        "cv_jmol_k": heat_capacity(real, temperature),
    }
    warnings = _of_the_box(molecule) + mode_warnings(modes.frequencies_cm, modes.kinds, low_cut_cm)
    return Evaluation(modes, counted, fields, warnings)


def spectrum(
    hessian: Array,
    masses: Array,
    symbols: Sequence[str],
    positions: Array,
    cell: Array,
    mobile: Sequence[int],
) -> tuple[Modes, Molecule | None]:
    """Return the normal modes, and the molecule if that is what moves; parameters as of :func:`evaluate`."""
    if len(mobile) < len(symbols):
        return normal_modes(hessian, masses), None
    order = list(mobile)
    molecule = find_molecule(symbols, positions, cell)
    external = external_motions(masses, None if molecule is None else molecule.positions[order])
    return normal_modes(hessian, masses, external), molecule


def mode_warnings(frequencies: Array, kinds: Sequence[str], low_cut_cm: float) -> list[str]:
    """Return the warnings about the modes; each sentence begins with the modes that it is about.

    Parameters
    ----------
    frequencies
        Wavenumbers in cm⁻¹, shape (3M,); imaginary modes are negative.
    kinds
        Of each mode, see :class:`zpe_sdk.vibrations.modes.Modes`.
    low_cut_cm
        Vibrations above it, in cm⁻¹, are counted.
    """
    vibrating = vibrations(kinds)
    left_out = vibrating & (frequencies >= 0) & ~counted_modes(frequencies, kinds, low_cut_cm)
    lost_mev = 500 * float(frequencies[left_out].sum()) * float(units.invcm)
    box = "a larger box, " if "rotation" in kinds else ""
    told = [
        (
            imaginary_modes(frequencies, kinds),
            "imaginary, the energy falls along it; not in ZPE and entropy",
        ),
        (
            left_out,
            f"left out of ZPE and entropy, being at or below {low_cut_cm:g} cm⁻¹; "
            f"would add {lost_mev:.2f} meV to the ZPE",
        ),
        (
            ~vibrating & (np.abs(frequencies) > RESIDUAL_CM),
            f"a motion of the whole, never in ZPE and entropy, but further from 0 than {RESIDUAL_CM:g} cm⁻¹: "
            f"the vibrations may be off too. Try {box}a higher ecutrho and ecutwfc, or a tighter relaxation",
        ),
    ]
    return [f"{_named(which, frequencies, kinds)}: {what}" for which, what in told if which.any()]


def _named(which: Mask, frequencies: Array, kinds: Sequence[str]) -> str:
    return ", ".join(
        f"mode {k} ({wavenumber(frequencies[k])} cm⁻¹, {kinds[int(k)]})" for k in np.flatnonzero(which)
    )


def _of_the_box(molecule: Molecule | None) -> list[str]:
    if molecule is None or molecule.image_distance >= NEAR_IMAGE:
        return []
    return [
        f"the box is small: the molecule is {molecule.image_distance:.1f} Å from its periodic images, which "
        f"it may feel; {NEAR_IMAGE:g} Å or more are better"
    ]
