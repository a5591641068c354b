"""How far the forces' noise reaches: what should be zero in a Hessian but is not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zpe_sdk.vibrations.hessian import fitted
from zpe_sdk.vibrations.modes import CM_EV, QUANTUM_EV, Modes
from zpe_sdk.vibrations.plan import Plan

Array = NDArray[np.float64]

DRAWS = 32  # of random forces; the estimate is good to some 10 % by it, which is enough for an error
# eV/Å per √Ry: the error of a force by what pw.x estimates that the energy lacks, which grows with its
# square. 3 to 40 were measured, on molecules, slabs and a magnet (docs/engine.md).
STALLED = 20.0
AT_ONCE = 5_000_000  # numbers; large cells are drawn in several goes


@dataclass(frozen=True)
class Noise:
    """Standard errors: of a component of the forces in eV/Å, and of the zero-point energy in eV."""

    force_ev_ang: float
    zpe_ev: float


@dataclass(frozen=True)
class Residuals:
    """What should be zero in a Hessian as measured, and what follows for the errors.

    Attributes
    ----------
    asymmetry_ev_ang2
        Largest |Hᵢⱼ − Hⱼᵢ| in eV/Å².
    acoustic_sum_ev_ang2
        Largest force constant in eV/Å² that is left when all atoms move alike; None if some are held.
    noise
        Standard errors; None if symmetry makes all that should be zero so, whatever the forces.
    """

    asymmetry_ev_ang2: float
    acoustic_sum_ev_ang2: float | None
    noise: Noise | None


def residuals(
    plan: Plan,
    hessian: Array,
    modes: Modes,
    masses: Array,
    counted: NDArray[np.bool_],
    *,
    complete: bool,
    stalled: Mapping[int, float] | None = None,
) -> Residuals:
    """Return what should be zero in a Hessian as measured; parameters as of :func:`estimate_noise`."""
    return Residuals(
        float(np.abs(asymmetry(hessian)).max()),
        float(np.abs(acoustic_residual(hessian)).max()) if complete else None,
        estimate_noise(plan, hessian, modes, masses, counted, complete=complete, stalled=stalled),
    )


def asymmetry(hessian: Array) -> Array:
    """Return H - Hᵀ above the diagonal, in eV/Å²: zero if forces were exact and displacements small.

    Takes one Hessian, shape (3M, 3M), or B of them, shape (3M, 3M, B), and gives one row per element.
    """
    above: Array = (hessian - hessian.swapaxes(0, 1))[np.triu_indices(len(hessian), 1)]
    return above


def acoustic_residual(hessian: Array) -> Array:
    """Return the sums of Hᵢⱼ over all displaced atoms i, in eV/Å², shape (3, 3N).

    These are the forces on the atoms when all are moved alike: zero in free space (the acoustic sum rule),
    not on a real-space grid. Summing over j instead would tell nothing, since pw.x makes the forces of every
    SCF add up to zero.

    Parameters
    ----------
    hessian
        As measured, displacements by row, of all atoms, in eV/Å², shape (3N, 3N), or B of them, shape
        (3N, 3N, B).
    """
    residual: Array = hessian.reshape(-1, 3, *hessian.shape[1:]).sum(axis=0)
    return residual


def grid_part(hessian: Array) -> Array:
    """Return the part of a Hessian that breaks the acoustic sum rule, as a grid in real space makes it.

    Each atom is held to its place by springs Dᵢ of its own, and pw.x spreads the force that they exert
    evenly over the N atoms: Dᵢ(δᵢⱼ − 1/N). The smallest such springs that explain the acoustic residual are
    that residual itself; what is left of the Hessian then has none.

    Parameters
    ----------
    hessian
        As :func:`acoustic_residual` takes it.

    Returns
    -------
    numpy.ndarray
        In eV/Å², of the shape of ``hessian``.
    """
    count = len(hessian) // 3
    springs = acoustic_residual(hessian).reshape(3, count, 3, -1).swapaxes(0, 1)
    shared = np.eye(count) - 1 / count
    return (springs[:, :, None] * shared[:, None, :, None, None]).reshape(hessian.shape)


def estimate_noise(
    plan: Plan,
    hessian: Array,
    modes: Modes,
    masses: Array,
    counted: NDArray[np.bool_],
    *,
    complete: bool,
    stalled: Mapping[int, float] | None = None,
) -> Noise | None:
    """Estimate the noise in the forces from what should be zero, and what it makes of the ZPE.

    Parameters
    ----------
    plan, hessian
        The plan and the Hessian as measured by it, not symmetrised, in eV/Å², shape (3M, 3M).
    modes, masses
        Normal modes, and masses of the atoms in u, shape (M,).
    counted
        Which modes the zero-point energy sums, shape (3M,).
    complete
        The Hessian holds all atoms, so that the acoustic sum rule applies.
    stalled
        SCFs that came to no end, by task index: what pw.x estimates that their energy lacks, in Ry. Their
        forces are taken to be off by ``STALLED`` times its root, beside what the rest tells.

    Returns
    -------
    Noise or None
        None if symmetry makes all that should be zero so, whatever the forces.

    Notes
    -----
    Random forces of standard deviation 1 are put through the same plan, since symmetry spreads the noise of
    one SCF over many elements. The noise is the factor by which these residuals have to be multiplied to give
    those measured. To first order ZPE = Σ hν/2 changes by Σᵢⱼ Gᵢⱼ dHᵢⱼ with G = Σ ħ²/(4hν) u uᵀ over the
    counted modes, u their mass-weighted eigenvectors over √mass. These are vibrations, which lie across the
    motions of the whole: what noise does to those, soft as they are, does not matter.

    What breaks the acoustic sum rule is mostly no noise but the grid, and far larger. So the error of the ZPE
    is taken in two parts: what the ZPE changes by without it (:func:`grid_part`), and what follows, in the
    same way as above, from the asymmetry that the Hessian then has. It is at most what follows if all is
    noise.
    """
    vectors = (modes.eigenvectors[counted] / np.sqrt(masses)[:, None]).reshape(-1, len(hessian))
    weights = QUANTUM_EV**2 / (4 * modes.frequencies_cm[counted] * CM_EV)
    gradient = (vectors.T * weights) @ vectors
    noise = _by_residuals(plan, hessian, gradient, complete=complete)
    if not stalled:
        return noise
    errors = {index: STALLED * math.sqrt(lacking) for index, lacking in stalled.items()}
    known = noise or Noise(0.0, 0.0)
    return Noise(
        max(known.force_ev_ang, *errors.values()),
        math.hypot(known.zpe_ev, _by_errors(plan, gradient, errors, complete=complete)),
    )


def _by_errors(plan: Plan, gradient: Array, errors: Mapping[int, float], *, complete: bool) -> float:
    """Return the error of the zero-point energy (eV) by those of the forces of some SCFs (eV/Å)."""
    sizes = np.array([errors.get(d.index, 0.0) for d in plan.displacements])
    energies: list[float] = []
    for draws in _drawn(plan, complete=complete, sizes=sizes):
        energies += np.tensordot(gradient, draws, 2).tolist()
    return float(_rms(energies))


def _by_residuals(plan: Plan, hessian: Array, gradient: Array, *, complete: bool) -> Noise | None:
    sizes: list[float] = []
    residuals: list[float] = []
    left: list[float] = []
    energies: list[float] = []
    for draws in _drawn(plan, complete=complete):
        sizes += _rms(draws, axis=(0, 1)).tolist()
        residuals += _rms(_residuals(draws, complete), axis=0).tolist()
        left += _rms(asymmetry(draws - grid_part(draws) if complete else draws), axis=0).tolist()
        energies += np.tensordot(gradient, draws, 2).tolist()
    tiny = 1e-9 * _rms(sizes)
    if _rms(residuals) <= tiny:
        return None
    force = float(_rms(_residuals(hessian, complete)) / _rms(residuals))
    grid = grid_part(hessian) if complete else np.zeros_like(hessian)
    # With high symmetry the sum rule's residual is all that tells.
    random = float(_rms(asymmetry(hessian - grid)) / _rms(left)) if _rms(left) > tiny else 0.0
    by_noise = float(_rms(energies))
    by_grid = float(np.sum(gradient * grid))
    return Noise(force, min(math.hypot(random * by_noise, by_grid), force * by_noise))


def _drawn(plan: Plan, *, complete: bool, sizes: Array | None = None) -> Iterator[Array]:
    """Yield the Hessians of random forces, of standard deviation 1 or of one for each SCF, some at a time."""
    rng = np.random.default_rng(0)
    shape = (len(plan.displacements), len(plan.mobile), 3)
    at_once = max(1, AT_ONCE // math.prod(shape))
    for start in range(0, DRAWS, at_once):
        forces = rng.standard_normal((*shape, min(at_once, DRAWS - start)))
        if sizes is not None:
            forces *= sizes[:, None, None, None]
        if complete:  # pw.x makes the forces of every SCF add up to zero
            forces -= forces.mean(axis=1, keepdims=True)
        yield fitted(plan, forces)


def _residuals(hessian: Array, complete: bool) -> Array:
    parts = [asymmetry(hessian)]
    if complete:
        parts.append(acoustic_residual(hessian).reshape(-1, *hessian.shape[2:]))
    return np.concatenate(parts)


def _rms(values: ArrayLike, axis: int | tuple[int, ...] | None = None) -> Array:
    mean: Array = np.sqrt(np.mean(np.square(np.asarray(values)), axis=axis))
    return mean
