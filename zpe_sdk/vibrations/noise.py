"""How far the forces' noise reaches: what should be zero in a Hessian but is not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zpe_sdk.vibrations.modes import CM_EV, QUANTUM_EV, Modes

Array = NDArray[np.float64]

# eV/Å²; differences below this are rounding, not noise.
ROUNDING = 1e-12


def asymmetry(hessian: Array) -> Array:
    """Return H - Hᵀ above the diagonal, in eV/Å²: zero if forces were exact and displacements small."""
    above: Array = (hessian - hessian.T)[np.triu_indices(len(hessian), 1)]
    return above


def acoustic_residual(hessian: Array) -> Array:
    """Return the sums of Hᵢⱼ over all displaced atoms i, in eV/Å², shape (3, 3N).

    These are the forces on the atoms when all are moved alike: zero in free space (the acoustic sum rule),
    not on a real-space grid. Summing over j instead would tell nothing, since pw.x makes the forces of every
    SCF add up to zero.

    Parameters
    ----------
    hessian
        As measured, displacements by row, of all atoms, in eV/Å², shape (3N, 3N).
    """
    residual: Array = hessian.reshape(-1, 3, len(hessian)).sum(axis=0)
    return residual


def hessian_noise(hessian: Array, *, complete: bool) -> float | None:
    """Estimate the standard error of an element of a Hessian as measured.

    Parameters
    ----------
    hessian
        Not symmetrised, in eV/Å², shape (3M, 3M).
    complete
        It holds all atoms, so that the acoustic sum rule applies.

    Returns
    -------
    float or None
        In eV/Å². Independent errors σ of the elements make rms(Hᵢⱼ − Hⱼᵢ) = √2 σ and, over N atoms,
        rms(Σᵢ Hᵢⱼ) = √N σ; the larger σ is taken, since symmetry may hide one of the two. None if it hides
        both.
    """
    estimates = [float(np.sqrt(np.mean(asymmetry(hessian) ** 2) / 2))]
    if complete:
        atoms = len(hessian) // 3
        estimates.append(float(np.sqrt(np.mean(acoustic_residual(hessian) ** 2) / atoms)))
    return max(estimates) if max(estimates) > ROUNDING else None


def zpe_error(modes: Modes, masses: Array, counted: NDArray[np.bool_], noise: float) -> float:
    """Return the standard error in eV of the zero-point energy that noise in the Hessian makes.

    Parameters
    ----------
    modes, masses
        Normal modes, and masses of the atoms in u, shape (M,).
    counted
        Which modes the zero-point energy sums, shape (3M,).
    noise
        Standard error σ of each element of the Hessian in eV/Å².

    Notes
    -----
    To first order ZPE = Σ hν/2 changes by Σᵢⱼ Gᵢⱼ dHᵢⱼ with G = Σ ħ²/(4hν) u uᵀ over the counted modes,
    u their mass-weighted eigenvectors over √mass: independent errors add up to σ √(Σ Gᵢⱼ²).
    """
    vectors = (modes.eigenvectors[counted] / np.sqrt(masses)[:, None]).reshape(int(counted.sum()), -1)
    weights = QUANTUM_EV**2 / (4 * modes.frequencies_cm[counted] * CM_EV)
    gradient = np.einsum("k,ki,kj->ij", weights, vectors, vectors)
    return float(noise * np.linalg.norm(gradient))
