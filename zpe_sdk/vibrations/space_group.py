"""The name of a structure's symmetry."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from zpe_sdk.vibrations.symmetry import SYMPREC


def space_group(
    positions: NDArray[np.float64], cell: NDArray[np.float64], labels: Sequence[str]
) -> str | None:
    """Return the international symbol of the space group, such as ``Pmm2``; None if none is found.

    Parameters
    ----------
    positions, cell
        In Å, shapes (nat, 3) and (3, 3).
    labels
        Atoms are alike if theirs are.
    """
    import spglib

    kinds = {label: number for number, label in enumerate(sorted(set(labels)), start=1)}
    atoms = (cell, positions @ np.linalg.inv(cell), [kinds[label] for label in labels])
    try:
        found = spglib.get_spacegroup(atoms, symprec=SYMPREC)
    except spglib.SpglibError:
        return None
    return found.partition(" ")[0] if found else None
