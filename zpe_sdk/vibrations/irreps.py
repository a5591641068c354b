"""Which irreducible representation of the point group each mode belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zpe_sdk.vibrations.plan import Plan
from zpe_sdk.vibrations.point_groups import find_point_group
from zpe_sdk.vibrations.symmetry import Operation

Array = NDArray[np.float64]

# No point group of a crystal has more; a supercell with its translations may.
_MOST = 48
_SAME_MASS = 1e-6  # u
# A mode with less of one representation mixes several: they have the same wavenumber by chance.
_PURE = 0.95


@dataclass(frozen=True)
class Irreps:
    """The symmetry of modes.

    Attributes
    ----------
    point_group
        Of the operations, after Schoenflies.
    names
        Of the representation of each mode; None where it mixes several.
    """

    point_group: str
    names: list[str | None]


def point_operations(plan: Plan) -> tuple[Operation, ...]:
    """Return all operations of the point group by which a job was planned, the identity included.

    There are none if no symmetry was found or asked for, and in a supercell, whose translations make more
    modes equivalent than a point group tells of.

    Notes
    -----
    From a plan follow all operations that leave an atom in its place, and one that leads to each atom
    equivalent to it. Their products are the whole group.
    """
    if not 1 < plan.order <= _MOST:
        return ()
    place = plan.mobile.index(next(d.atom for d in plan.displacements if d.atom is not None))
    staying = plan.site(place)
    leading = {place: staying[0]}
    for source, operation, target in plan.paths(place):
        leading[target] = _product(operation, leading[source])
    whole = tuple(_product(outer, inner) for outer in leading.values() for inner in staying)
    matrices = {tuple(np.rint(1e3 * o.matrix).ravel().tolist()) for o in whole}
    return whole if len(whole) == len(matrices) == plan.order else ()


def assign_irreps(
    operations: Sequence[Operation], masses: Array, eigenvectors: Array, *, axis: Array | None = None
) -> Irreps | None:
    """Return the point group and the representation of each mode; None without operations.

    Operations that take an atom to another isotope do not count. A linear molecule has all turns about its
    axis, though its box leaves it but a few.

    Parameters
    ----------
    operations
        Those of a point group.
    masses
        Of the mobile atoms in u, shape (M,).
    eigenvectors
        Orthonormal mass-weighted vectors of the modes, shape (K, M, 3).
    axis
        That of a linear molecule, a unit vector; None: it is none.

    Notes
    -----
    The share of a mode v in the representation Γ is χ_Γ(E)/Σ_R χ_Γ(R)² · Σ_R χ_Γ(R) ⟨v|R v⟩, the expectation
    value of the projector onto it: E. B. Wilson, J. C. Decius, P. C. Cross, *Molecular Vibrations* (1955),
    chapter 6. It is the same for each mode of a degenerate set, however that is mixed.
    """
    kept = [o for o in operations if np.all(abs(masses[list(o.permutation)] - masses) < _SAME_MASS)]
    if not kept:
        return None
    if axis is not None:
        return _of_a_linear_molecule(axis, kept, eigenvectors)
    own = np.arange(len(masses))
    unmoved = np.array([np.sum(np.array(o.permutation) == own) for o in kept])
    group = find_point_group(np.array([o.matrix for o in kept]), unmoved)
    traces = np.array(
        [
            np.sum(eigenvectors[:, list(o.permutation)] * (eigenvectors @ o.matrix.T), axis=(1, 2))
            for o in kept
        ]
    )
    sizes = group.characters.max(axis=1)
    shares = (sizes / np.sum(group.characters**2, axis=1))[:, None] * (group.characters @ traces)
    return Irreps(group.name, _named(group.irreps, shares))


def _of_a_linear_molecule(axis: Array, operations: Sequence[Operation], eigenvectors: Array) -> Irreps:
    """Return D∞h or C∞v, and Σ for what moves along the axis, Π for what moves across.

    Whatever turns the axis round takes each atom to where the inversion takes it: g is what the inversion
    leaves as it is, u what it reverses.
    """
    along = eigenvectors @ axis
    sigma = np.sum(along**2, axis=1)
    whole = np.array([sigma, np.sum(eigenvectors**2, axis=(1, 2)) - sigma])
    turning = next((o for o in operations if axis @ o.matrix @ axis < 0), None)
    if turning is None:
        return Irreps("C∞v", _named(("Σ+", "Π"), whole))
    places = list(turning.permutation)
    inverted = -np.sum(along[:, places] * along, axis=1)
    parity = np.array([inverted, -np.sum(eigenvectors[:, places] * eigenvectors, axis=(1, 2)) - inverted])
    shares = np.vstack([(whole + parity) / 2, (whole - parity) / 2])
    return Irreps("D∞h", _named(("Σg+", "Πg", "Σu+", "Πu"), shares))


def _named(irreps: Sequence[str], shares: Array) -> list[str | None]:
    """Return the name of what each mode is, from its share of each representation, shape (I, K)."""
    return [
        irreps[n] if share > _PURE else None
        for n, share in zip(shares.argmax(axis=0), shares.max(axis=0), strict=True)
    ]


def _product(outer: Operation, inner: Operation) -> Operation:
    """Return the operation that is the outer one after the inner one."""
    matrix = outer.matrix @ inner.matrix
    return Operation(
        tuple(tuple(row) for row in (np.round(matrix, 15) + 0.0).tolist()),
        tuple(outer.permutation[k] for k in inner.permutation),
    )
