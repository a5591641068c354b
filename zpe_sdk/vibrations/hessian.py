"""The Hessian from the forces of a plan's SCFs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zpe_sdk.errors import InputError
from zpe_sdk.task import Task
from zpe_sdk.vibrations.plan import Plan

Forces = Mapping[int, ArrayLike]


def assemble_hessian(plan: Plan, forces: Forces) -> NDArray[np.float64]:
    """Return the symmetric Hessian of the mobile atoms.

    Parameters
    ----------
    plan
        The plan whose SCFs were run.
    forces
        By task index, forces on all atoms in eV/Å, shape (nat, 3).

    Returns
    -------
    numpy.ndarray
        (3M, 3M) in eV/Å², rows and columns in the order atom, xyz of ``plan.mobile``.

    Raises
    ------
    InputError
        ``forces_missing`` or ``forces_invalid``: forces are missing, not finite, or of the wrong shape.
    """
    return symmetrised(raw_hessian(plan, forces))


def symmetrised(hessian: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (H + Hᵀ)/2, what two differentiations in either order must give."""
    return (hessian + hessian.T) / 2


def raw_hessian(plan: Plan, forces: Forces) -> NDArray[np.float64]:
    """Return the Hessian as measured: row (atom, xyz) of the displacement, column of the force.

    The force after a small displacement d of atom i is F = -H d, and an operation with rotation R turns
    this into R F = -H' R d for the atom it takes i to. For a displaced atom all such equations of its site
    symmetry are solved by least squares (the method of Parlinski, Li and Kawazoe, Phys. Rev. Lett. 78,
    4063 (1997)); operations that take it elsewhere then give the other atoms' rows. The result has the
    symmetry of the structure exactly, and differs from its transpose by the noise of the forces.
    Parameters and errors are those of :func:`assemble_hessian`.
    """
    stacked = np.array([mobile_forces(plan, forces, d.index) for d in plan.displacements])
    return fitted(plan, stacked[..., None])[..., 0]


def fitted(plan: Plan, forces: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Hessians that several sets of forces give, as :func:`raw_hessian` does for one.

    Parameters
    ----------
    forces
        On the mobile atoms in eV/Å, by task, shape (tasks, M, 3, B) for B sets.

    Returns
    -------
    numpy.ndarray
        (3M, 3M, B) in eV/Å².
    """
    size, sets = len(plan.mobile), forces.shape[-1]
    blocks = np.full((size, 3, size, 3, sets), np.nan)
    for atom, changes in _force_changes(plan, forces).items():
        place = plan.mobile.index(atom)
        blocks[place] = _displaced_rows(plan, place, changes)
        for source, operation, target in plan.paths(place):
            R = operation.matrix
            turned = R @ np.tensordot(R, blocks[source], 1)
            blocks[target][:, list(operation.permutation)] = turned
    return blocks.reshape(3 * size, 3 * size, sets)


def pairs(plan: Plan) -> list[tuple[Task, Task | None]]:
    """Return each displacement with its opposite, or with None where symmetry supplies that."""
    by_step = {(d.atom, d.displacement): d for d in plan.displacements[1:]}
    found: list[tuple[Task, Task | None]] = []
    for step in plan.displacements[1:]:
        assert step.displacement is not None
        x, y, z = step.displacement
        opposite = by_step.get((step.atom, (-x, -y, -z)))
        if opposite is None or opposite.index > step.index:
            found.append((step, opposite))
    return found


def mobile_forces(plan: Plan, forces: Forces, index: int) -> NDArray[np.float64]:
    """Return the forces on the mobile atoms in eV/Å, shape (M, 3), of one task, checked."""
    if index not in forces:
        raise InputError(f"the forces of task {index} are missing", code="forces_missing", field="forces")
    array = np.asarray(forces[index], dtype=float)
    if array.ndim != 2 or array.shape[1] != 3 or len(array) <= max(plan.mobile):
        raise InputError(
            f"the forces of task {index} have shape {array.shape}, not (nat, 3)",
            code="forces_invalid",
            field="forces",
        )
    if not np.all(np.isfinite(array)):
        raise InputError(f"the forces of task {index} are not finite", code="forces_invalid", field="forces")
    return array[list(plan.mobile)]


def _force_changes(
    plan: Plan, forces: NDArray[np.float64]
) -> dict[int, list[tuple[NDArray[np.float64], NDArray[np.float64]]]]:
    """Return, by atom, displacements (3,) in Å and the changes of the forces they make, (M, 3, B)."""
    found: dict[int, list[tuple[NDArray[np.float64], NDArray[np.float64]]]] = {}
    for step, opposite in pairs(plan):
        assert step.atom is not None
        after = forces[step.index]
        # Where the opposite was not run, the images under symmetry contain it, which makes the fit a central
        # difference. Forces left at the equilibrium by a structure only nearly symmetric, or by the grid in
        # real space, would not cancel there: they are taken away first.
        change = after - forces[0] if opposite is None else (after - forces[opposite.index]) / 2
        found.setdefault(step.atom, []).append((np.array(step.displacement), change))
    return found


def _displaced_rows(
    plan: Plan, place: int, changes: list[tuple[NDArray[np.float64], NDArray[np.float64]]]
) -> NDArray[np.float64]:
    """Fit the rows of one displaced atom: (3, M, 3, B) in eV/Å²."""
    steps, images = [], []
    for operation in plan.site(place):
        R = operation.matrix
        for vector, change in changes:
            turned = np.empty_like(change)
            turned[list(operation.permutation)] = R @ change
            steps.append(R @ vector)
            images.append(-turned.ravel())
    rows: NDArray[np.float64] = np.linalg.pinv(np.array(steps)) @ np.array(images)
    return rows.reshape(3, *changes[0][1].shape)
