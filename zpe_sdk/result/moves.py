"""How the atoms of a result move in its modes."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from zpe_sdk.errors import InputError
from zpe_sdk.result.data import ResultData
from zpe_sdk.vibrations.molecule import find_molecule

Array = NDArray[np.float64]


def checked_mode(result: ResultData, mode: int) -> int:
    """Return the index of a mode, counted from 0, or from the end if negative.

    Raises
    ------
    InputError
        ``bad_mode``.
    """
    count = len(result.frequencies_cm)
    if not isinstance(mode, int | np.integer) or not -count <= mode < count:
        raise InputError(f"mode {mode}: there are {count}, from 0", code="bad_mode", field="mode")
    return int(mode) % count


def in_one_piece(result: ResultData) -> Array:
    """Return the positions in Å, shape (N, 3); of a molecule, in one piece."""
    document = result.document
    positions = np.array(document.positions)
    molecule = find_molecule(document.symbols, positions, np.array(document.cell))
    return positions if molecule is None else molecule.positions


def mode_moves(result: ResultData, mode: int) -> Array:
    """Return the Cartesian displacements of all atoms in a mode, normalised to 1, shape (N, 3)."""
    moves = np.zeros((len(result.document.symbols), 3))
    moves[result.document.mobile_indices] = result.modes[checked_mode(result, mode)]
    return moves


def mode_images(result: ResultData, mode: int, *, amplitude: float = 0.3, count: int = 30) -> list[Atoms]:
    """Return a period of a mode as structures: a trajectory for ``ase.io.write`` or ``ase.visualize.view``.

    Parameters
    ----------
    mode
        From 0, or from the end if negative.
    amplitude
        Of the atom that moves most, in Å.
    count
        Number of structures.

    Raises
    ------
    InputError
        ``bad_mode``.
    """
    moves, places = mode_moves(result, mode), in_one_piece(result)
    moves *= amplitude / np.linalg.norm(moves, axis=1).max()
    images = []
    for phase in 2 * np.pi * np.arange(count) / count:
        image = result.atoms
        image.positions = places + np.sin(phase) * moves
        images.append(image)
    return images
