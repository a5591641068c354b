"""Whether the atoms of an input leave one another room: two in one place are a slip, not a structure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray
from scipy.spatial import KDTree

from zpe_sdk.errors import InputError

# Of the sum of the covalent radii (Cordero et al., Dalton Trans. 2008, 2832; as in ASE). The bonds of the G2
# molecules have 0.77 of it (CN) or more, H2 1.2, those of the elements in their crystals 0.73 (U) or more. So
# this leaves room for crystals compressed to a sixth of their volume.
NEAREST = 0.4
# Of the same sum. An atom with a neighbour within the first is bound to it; one with none within the second
# is bound to nothing.
BOUND, LOST = 2.0, 3.0
# Å³ for an atom: less than a ball of the size of hydrogen at its nearest takes, closely packed or not.
SMALLEST_VOLUME = 0.1
# A bound on the work: closer neighbours than these are looked at in order of their distance.
_NEIGHBOURS = 24


def check_contacts(
    symbols: Sequence[str],
    labels: Sequence[str],
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
) -> None:
    """Refuse a structure in which two atoms, periodic images included, are nearer than any bond.

    pw.x itself refuses only places that agree to 1e-5 of the lattice vectors.

    Parameters
    ----------
    symbols, labels
        Chemical symbol and species label of each atom.
    positions
        Cartesian, in Å, shape (nat, 3).
    cell
        Lattice vectors as rows, in Å, shape (3, 3).

    Raises
    ------
    InputError
        ``atoms_too_close``, naming the nearest such pair and its distance.
    """
    radii = NEAREST * np.array([covalent_radii[atomic_numbers[symbol]] for symbol in symbols])
    reduced = minkowski_reduce(cell)[0]
    shortest = float(np.linalg.norm(reduced, axis=1).min())
    largest = int(radii.argmax())
    if shortest < 2 * radii[largest]:
        raise _too_close(labels, largest, largest, shortest, 2 * radii[largest])
    if abs(np.linalg.det(cell)) < SMALLEST_VOLUME * len(symbols):
        raise InputError(
            f"{len(symbols)} atoms do not fit into a cell of {abs(np.linalg.det(cell)):.3g} Å³",
            code="atoms_too_close",
            field="ATOMIC_POSITIONS",
        )
    places, atoms = _images(positions, reduced, reach=2 * float(radii.max()))
    # The atoms themselves come first among the places.
    order = list(range(1, min(_NEIGHBOURS, len(places)) + 1))
    near = KDTree(places).query(places[: len(symbols)], k=order)
    distances, found = np.asarray(near[0]), atoms[np.asarray(near[1])]
    bounds = radii[:, None] + radii[found]
    # Each atom is its own nearest.
    worst = np.where(
        (distances < bounds) & (np.asarray(near[1]) != np.arange(len(symbols))[:, None]), distances, np.inf
    )
    nearest = int(worst.argmin())
    if np.isfinite(worst.flat[nearest]):
        one, column = divmod(nearest, worst.shape[1])
        i, j = sorted((one, int(found[one, column])))
        raise _too_close(labels, i, j, float(worst.flat[nearest]), float(bounds[one, column]))


def _images(
    positions: NDArray[np.float64], cell: NDArray[np.float64], *, reach: float
) -> tuple[NDArray[np.float64], NDArray[np.int_]]:
    """Return the atoms in the cell, then their images within reach of it, and which atom each one is."""
    fractions = positions @ np.linalg.inv(cell) % 1.0
    # Distance of the cell's opposite faces.
    heights = abs(np.linalg.det(cell)) / np.linalg.norm(
        np.cross(np.roll(cell, -1, axis=0), np.roll(cell, -2, axis=0)), axis=1
    )
    margin = reach / heights
    steps = [np.arange(-np.ceil(m), np.ceil(m) + 1) for m in margin]
    shifts = np.array(np.meshgrid(*steps, indexing="ij")).reshape(3, -1).T
    shifts = shifts[np.argsort(np.abs(shifts).sum(axis=1), kind="stable")]  # the cell itself first
    places, atoms = [], []
    for shift in shifts:
        moved = fractions + shift
        inside = np.all((moved > -margin) & (moved < 1 + margin), axis=1)
        places.append(moved[inside] @ cell)
        atoms.append(np.flatnonzero(inside))
    return np.concatenate(places), np.concatenate(atoms)


def _too_close(labels: Sequence[str], i: int, j: int, distance: float, bound: float) -> InputError:
    pair = (
        f"atom {i} ({labels[i]}) and its own image in the next cell"
        if i == j
        else f"atoms {i} ({labels[i]}) and {j} ({labels[j]})"
    )
    return InputError(
        f"{pair} are {round(distance, 6):.4g} Å apart; no bond between them is shorter than {bound:.2g} Å",
        code="atoms_too_close",
        field="ATOMIC_POSITIONS",
    )


def lost_atom(
    symbols: Sequence[str],
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    cell: NDArray[np.float64],
) -> int | None:
    """Return the first atom that was bound to another one and has left all others since; None: none has.

    Parameters
    ----------
    symbols
        Chemical symbols.
    before, after
        Cartesian positions in Å, shape (nat, 3).
    cell
        Lattice vectors as rows, in Å, shape (3, 3).
    """
    from ase.neighborlist import primitive_neighbor_list  # it loads much of SciPy

    radii = np.array([covalent_radii[atomic_numbers[symbol]] for symbol in symbols])

    def with_neighbours(positions: NDArray[np.float64], reach: float) -> set[int]:
        return set(primitive_neighbor_list("i", (True, True, True), cell, positions, reach * radii).tolist())

    return min(with_neighbours(before, BOUND) - with_neighbours(after, LOST), default=None)
