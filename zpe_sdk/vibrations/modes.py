"""Normal modes of a Hessian."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import units
from numpy.typing import NDArray

from zpe_sdk.errors import InputError
from zpe_sdk.vibrations.kinds import ModeKind

Array = NDArray[np.float64]

# ħ·sqrt(1 eV/Å²/u) in eV, and 1 cm⁻¹ in eV (CODATA 2014, as ASE's units have them).
QUANTUM_EV = float(units._hbar * 1e10 / np.sqrt(units._e * units._amu))
CM_EV = float(units.invcm)
# A wavenumber nearer to zero than this, in cm⁻¹, is rounding and noise: neither real nor imaginary.
ZERO_CM = 0.01


@dataclass(frozen=True)
class Modes:
    """Normal modes, in ascending order of frequency.

    Attributes
    ----------
    frequencies_cm
        Wavenumbers in cm⁻¹, shape (3M,); imaginary ones are negative, those within ±0.01 zero.
    eigenvectors
        Orthonormal mass-weighted vectors, shape (3M, M, 3).
    displacements
        Cartesian displacements of the atoms, each mode normalised to 1, shape (3M, M, 3).
    kinds
        ``translation`` or ``rotation`` for motions of the whole, else ``vibration``.
    """

    frequencies_cm: Array
    eigenvectors: Array
    displacements: Array
    kinds: tuple[ModeKind, ...]


def normal_modes(hessian: Array, masses: Array, external: Array | None = None) -> Modes:
    """Diagonalise a mass-weighted Hessian, vibrations apart from motions of the whole.

    Parameters
    ----------
    hessian
        Second derivatives of the energy in eV/Å², shape (3M, 3M); its symmetric part is used.
    masses
        Masses of the atoms in u, shape (M,).
    external
        The motions of the whole, see :func:`zpe_sdk.vibrations.kinds.external_motions`; None: some atoms are
        held, and there are none.

    Raises
    ------
    InputError
        ``bad_masses``: a mass is not positive, or their number is not that of the Hessian's atoms.

    Notes
    -----
    Wilson, Decius and Cross, *Molecular Vibrations* (1955), chapter 2. The Hessian is diagonalised twice: for
    the vibrations in the space across all motions of the whole (their projection: W. H. Miller, N. C. Handy,
    J. E. Adams, J. Chem. Phys. 72, 99 (1980)), and in the space of these motions, where free space would give
    zeros. What couples the two is what box and grid do, and is left out.
    """
    masses = np.asarray(masses, dtype=np.float64)
    if hessian.shape != (3 * masses.size, 3 * masses.size) or not np.all(masses > 0):
        raise InputError(
            f"{masses.size} positive masses are needed for a Hessian of shape {hessian.shape}",
            code="bad_masses",
            field="masses",
        )
    weights = np.repeat(masses**-0.5, 3)
    weighted = weights[:, None] * (hessian + hessian.T) / 2 * weights[None, :]
    whole = np.empty((0, masses.size * 3)) if external is None else external
    # The rows of the last factor behind the first ones span what is across these.
    across = np.linalg.svd(whole)[2][len(whole) :] if len(whole) else np.eye(masses.size * 3)
    parts = [_diagonalised(weighted, basis) for basis in (whole, across)]
    frequencies = np.concatenate([cm for cm, _ in parts])
    vectors = np.concatenate([vectors for _, vectors in parts])
    kinds = np.array(_external_kinds(parts[0][1], whole) + ["vibration"] * len(across))
    order = np.argsort(frequencies, kind="stable")
    cartesian = vectors[order] * weights
    cartesian /= np.linalg.norm(cartesian, axis=1, keepdims=True)
    shape = (masses.size * 3, masses.size, 3)
    return Modes(
        frequencies[order],
        vectors[order].reshape(shape),
        cartesian.reshape(shape),
        tuple(kinds[order].tolist()),
    )


def _diagonalised(weighted: Array, basis: Array) -> tuple[Array, Array]:
    """Return wavenumbers in cm⁻¹, shape (B,), and modes, shape (B, 3M), within a space of B vectors."""
    squares, mixed = np.linalg.eigh(basis @ weighted @ basis.T)
    frequencies = np.sign(squares) * np.sqrt(np.abs(squares)) * QUANTUM_EV / CM_EV
    return np.where(np.abs(frequencies) < ZERO_CM, 0.0, frequencies), mixed.T @ basis


def _external_kinds(vectors: Array, whole: Array) -> list[ModeKind]:
    """Name the motions of the whole. They may be mixed: the three with most of a shift are translations."""
    shift = np.sum((vectors @ whole[:3].T) ** 2, axis=1)
    kinds: list[ModeKind] = ["rotation"] * len(vectors)
    for mode in np.argsort(-shift, kind="stable")[:3]:
        kinds[mode] = "translation"
    return kinds


def wavenumber(value: float, digits: int = 1) -> str:
    """Write a wavenumber, or its energy, for people: ``123.4``, or ``123.4i`` if imaginary."""
    text = f"{abs(value):.{digits}f}"
    return f"{text}i" if value < 0 and float(text) else text
