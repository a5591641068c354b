"""Along which directions a structure repeats, and along which there is nothing between it and its image."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from numpy.typing import NDArray

VACUUM = 4.0  # Å between images along a direction in which the structure is not to repeat, at least
# Times the sum of the covalent radii (Cordero et al., Dalton Trans. 2832 (2008)): no bond is longer. The
# planes of caesium are 4.3 Å apart.
BOND = 1.3


def repeating(atoms: Atoms) -> NDArray[np.bool_]:
    """Return along which lattice vectors a structure repeats, shape (3,).

    Along one that is not periodic (``pbc``) it does not. Nor does it where a gap of 4 Å or more, wider than
    its longest bond could be, lies between the atoms and their images: a molecule in a box is a molecule, and
    a slab a slab, be the cell called periodic or not.
    """
    repeats: NDArray[np.bool_] = atoms.pbc.copy()
    gap = max(VACUUM, 2 * BOND * float(covalent_radii[atoms.numbers].max(initial=0.0)))
    for axis in np.flatnonzero(repeats).tolist():
        if np.any(atoms.cell[axis]) and emptiness(atoms.positions, atoms.cell.complete().array, axis) >= gap:
            repeats[axis] = False
    return repeats


def emptiness(positions: NDArray[np.float64], cell: NDArray[np.float64], axis: int) -> float:
    """Return the widest gap between atoms along a lattice vector, images included.

    Parameters
    ----------
    positions, cell
        In Å, shapes (nat, 3) and (3, 3).
    axis
        The lattice vector.

    Returns
    -------
    float
        In Å, across the planes of the other two vectors.
    """
    inverse = np.linalg.inv(cell)
    around = np.sort((positions @ inverse)[:, axis] % 1.0)
    gaps = np.diff(around, append=around[0] + 1)
    return float(gaps.max() / np.linalg.norm(inverse[:, axis]))
