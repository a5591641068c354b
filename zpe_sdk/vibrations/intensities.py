"""Atomic polar tensors and infrared intensities from the dipoles of a plan's SCFs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from ase import units
from numpy.typing import ArrayLike, NDArray

from zpe_sdk.errors import InputError
from zpe_sdk.vibrations.hessian import pairs
from zpe_sdk.vibrations.kinds import vibrations
from zpe_sdk.vibrations.plan import Plan

Array = NDArray[np.float64]

# 1 e in D/Å.
DEBYE_PER_E_ANG = float(1 / units.Debye)
# N_A μ₀ / 12 in km/mol for 1 D²/(Å² u): CODATA 2014, as ASE's units have them.
KM_PER_MOL = float(
    units._Nav * units._mu0 / 12 * (units._e * 1e-10 / DEBYE_PER_E_ANG) ** 2 * 1e20 / units._amu / 1e3
)


def polar_tensors(plan: Plan, dipoles: Mapping[int, ArrayLike]) -> Array:
    """Return the atomic polar tensors (Born effective charges) of the mobile atoms.

    Parameters
    ----------
    plan
        The plan whose SCFs were run.
    dipoles
        By task index, the dipole of the cell in e Å, shape (3,).

    Returns
    -------
    numpy.ndarray
        (M, 3, 3) in e: ∂μ_a/∂x_b in row a, column b, of each atom in the order of ``plan.mobile``.

    Raises
    ------
    InputError
        ``dipoles_invalid``: one is missing, or is not three finite numbers.

    Notes
    -----
    As forces do in :func:`zpe_sdk.vibrations.hessian.raw_hessian`, the changes of the dipole after a
    displacement d turn with the structure: an operation with rotation R takes (d, Δμ) to (R d, R Δμ), and
    the tensor Z of one atom to R Z Rᵀ of another. Δμ = Z d is solved by least squares over all images.
    """
    stacked = np.array([_checked(dipoles, step.index) for step in plan.displacements])
    changes: dict[int, list[tuple[Array, Array]]] = {}
    for step, opposite in pairs(plan):
        assert step.atom is not None
        after = stacked[step.index]
        change = after - stacked[0] if opposite is None else (after - stacked[opposite.index]) / 2
        changes.setdefault(step.atom, []).append((np.array(step.displacement), change))

    tensors = np.full((len(plan.mobile), 3, 3), np.nan)
    for atom, found in changes.items():
        place = plan.mobile.index(atom)
        site = [operation.matrix for operation in plan.site(place)]
        steps, responses = (np.array([R @ pair[part] for R in site for pair in found]) for part in (0, 1))
        tensors[place] = (np.linalg.pinv(steps) @ responses).T
        for source, operation, target in plan.paths(place):
            tensors[target] = operation.matrix @ tensors[source] @ operation.matrix.T
    return tensors


def dipole_derivatives(tensors: ArrayLike, modes: ArrayLike, masses: ArrayLike) -> Array:
    """Return the derivatives of the dipole by the normal coordinates.

    Parameters
    ----------
    tensors
        Of :func:`polar_tensors`, in e, shape (M, 3, 3).
    modes
        Cartesian displacements of the atoms in each mode, of any length, shape (K, M, 3).
    masses
        In u, shape (M,).

    Returns
    -------
    numpy.ndarray
        ∂μ/∂Q in D/(Å √u), shape (K, 3).
    """
    moves = np.asarray(modes, dtype=float)
    reduced = np.sqrt(np.einsum("kmb,m->k", moves**2, np.asarray(masses, dtype=float)))
    derivatives: Array = np.einsum("mab,kmb->ka", np.asarray(tensors), moves) / reduced[:, None]
    return derivatives * DEBYE_PER_E_ANG


def ir_intensities(tensors: ArrayLike, modes: ArrayLike, masses: ArrayLike, kinds: Sequence[str]) -> Array:
    """Return the infrared intensities of the modes in km/mol, shape (K,); of motions of the whole, 0.

    Divide by :data:`KM_PER_MOL` for D²/(Å² u). Parameters as of :func:`dipole_derivatives`.

    Parameters
    ----------
    kinds
        Of each mode, see :class:`zpe_sdk.vibrations.modes.Modes`. A molecule that turns takes its dipole
        along: that is its rotational spectrum.

    Notes
    -----
    A = N_A |∂μ/∂Q|² / (12 ε₀ c²), the integral of the (natural) molar absorption coefficient over the
    wavenumber in the double harmonic approximation, averaged over all orientations: E. B. Wilson, J. C.
    Decius, P. C. Cross, *Molecular Vibrations* (1955), chapter 7.
    """
    squares = np.sum(dipole_derivatives(tensors, modes, masses) ** 2, axis=1)
    intensities: Array = np.where(vibrations(kinds), squares * KM_PER_MOL, 0.0)
    return intensities


def sum_rule_residual(tensors: ArrayLike, charge: float) -> Array:
    """Return by how much the tensors of all atoms miss their sum rule, in e, shape (3, 3).

    A shift of the whole changes the dipole by the charge times the shift: Σ Z = charge · 1 (R. Pick,
    M. H. Cohen, R. M. Martin, Phys. Rev. B 1, 910 (1970)). What is missed comes from the grid in real space.
    The box's own effect does not show here: in a cubic box the field of the images makes a dipole and its
    derivatives larger by a factor of about 1 + 4πα/3V, α the polarisability and V the volume of the box.
    """
    residual: Array = np.sum(np.asarray(tensors, dtype=float), axis=0) - charge * np.eye(3)
    return residual


def obeying_sum_rule(tensors: Array, charge: float) -> Array:
    """Return the tensors of all atoms with what they miss of their sum rule taken from each of them alike.

    As is usual for Born charges (X. Gonze, C. Lee, Phys. Rev. B 55, 10355 (1997)).
    """
    corrected: Array = tensors - sum_rule_residual(tensors, charge) / len(tensors)
    return corrected


def _checked(dipoles: Mapping[int, ArrayLike], index: int) -> Array:
    array = np.asarray(dipoles.get(index, ()), dtype=float)
    if array.shape != (3,) or not np.all(np.isfinite(array)):
        raise InputError(
            f"the dipole of task {index} is not three numbers", code="dipoles_invalid", field="dipoles"
        )
    return array
