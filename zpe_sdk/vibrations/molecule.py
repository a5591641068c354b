"""Which atoms are a molecule: a piece that hangs together and is tied to none of its periodic images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Times the sum of the covalent radii (Cordero et al., Dalton Trans. 2832 (2008)): the longest bond. Metals
# have the longest ones for their radii: 1.15 in lead and in potassium.
BOND = 1.3
# Pieces without a bond between them are one cluster if their images are further away than they are from one
# another, by this factor. In a crystal of molecules they are as far.
APART = 1.2

_AROUND = np.array(list(product((-1, 0, 1), repeat=3)))


@dataclass(frozen=True)
class Molecule:
    """Atoms that are free to turn in their box.

    Attributes
    ----------
    positions
        In Å, in one piece, shape (N, 3); atom 0 is where it was.
    image_distance
        In Å, from an atom to the nearest of an image.
    """

    positions: Array
    image_distance: float


def find_molecule(symbols: Sequence[str], positions: Array, cell: Array) -> Molecule | None:
    """Return the atoms as a molecule, or None if they make a chain, a layer or a crystal.

    Parameters
    ----------
    symbols
        Chemical symbol of each atom.
    positions
        In Å, shape (N, 3); parts of the molecule may lie in different cells.
    cell
        Lattice vectors in Å, one per row, shape (3, 3).

    Notes
    -----
    Beginning with the first atom, the one that is nearest to those taken already, for its size, is put
    beside them. That is a minimum spanning tree over all images: if an atom of it bonds to an image of
    another, a chain of bonds leads from an atom to its own image, and the bonds go on for ever.
    """
    radii = covalent_radii[[atomic_numbers[symbol] for symbol in symbols]]
    # In a reduced cell the nearest images are in the cells around.
    reduced, _ = minkowski_reduce(cell)
    places, loosest = _in_one_piece(positions, radii, reduced)
    distance = np.inf
    for place, radius in zip(places, radii, strict=True):
        vectors, itself = _to_images(place, places, reduced)
        lengths = np.linalg.norm(vectors, axis=2)
        lengths[itself] = np.inf
        nearest = lengths.min(axis=1)
        if np.any(nearest < BOND * (radius + radii)):
            return None
        distance = min(distance, float(nearest.min()))
    return None if distance < APART * loosest else Molecule(places, distance)


def find_bonds(symbols: Sequence[str], positions: Array, cell: Array) -> dict[int, list[tuple[int, Array]]]:
    """Return the atoms to which each is bonded, and the vectors to them in Å; parameters as above."""
    # Half a second of imports, which a molecule alone does not need.
    from ase.neighborlist import primitive_neighbor_list

    radii = BOND * covalent_radii[[atomic_numbers[symbol] for symbol in symbols]]
    first, second, vectors = primitive_neighbor_list("ijD", (True,) * 3, cell, positions, radii.tolist())
    found: dict[int, list[tuple[int, Array]]] = {n: [] for n in range(len(symbols))}
    for i, j, vector in zip(first.tolist(), second.tolist(), vectors, strict=True):
        found[i].append((j, vector))
    return found


def _in_one_piece(positions: Array, radii: Array, cell: Array) -> tuple[Array, float]:
    """Return the atoms in one piece, and the longest distance across which two are side by side unbonded."""
    count = len(positions)
    places, placed = positions.copy(), np.full(count, False)
    reach, length = np.full(count, np.inf), np.zeros(count)
    latest = 0
    for _ in range(count):
        placed[latest] = True
        vectors, _ = _to_images(places[latest], positions, cell)
        lengths = np.linalg.norm(vectors, axis=2)
        image = np.argmin(lengths, axis=1)
        shortest = lengths[np.arange(count), image]
        scaled = shortest / (radii[latest] + radii)
        nearer = ~placed & (scaled < reach)
        reach[nearer], length[nearer] = scaled[nearer], shortest[nearer]
        places[nearer] = places[latest] + vectors[nearer, image[nearer]]
        latest = int(np.argmin(np.where(placed, np.inf, reach)))
    return places, float(np.max(length[reach > BOND], initial=0.0))


def _to_images(place: Array, others: Array, cell: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Return vectors from a place to images of others nearby, (N, 27, 3), and which are to none, (N, 27)."""
    apart = others - place
    shifts = _AROUND - np.round(apart @ np.linalg.inv(cell))[:, None]
    itself: NDArray[np.bool_] = ~np.any(shifts, axis=2)
    return apart[:, None] + shifts @ cell, itself
