"""Which modes of a free molecule or crystal are motions of it as a whole."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
ModeKind = Literal["translation", "rotation", "vibration"]

# A mode is a motion of the whole if at least this share of its (mass-weighted) square is.
EXTERNAL_SHARE = 0.5
# Å of emptiness between periodic images, along each lattice direction, that make a molecule of the atoms:
# above any bond and any distance between layers, below the vacuum of a usable box.
VACUUM = 4.0
# A molecule is linear if its smallest moment of inertia is below this share of its largest. One that was
# relaxed ends a little off the line; its third rotation would be a bending mode.
LINEAR_SHARE = 1e-3


def mode_kinds(eigenvectors: Array, masses: Array, positions: Array, cell: Array) -> list[ModeKind]:
    """Name the kind of each mode of atoms that are all free to move.

    Parameters
    ----------
    eigenvectors
        Orthonormal mass-weighted eigenvectors, shape (3N, N, 3).
    masses
        In u, shape (N,).
    positions
        In Å, shape (N, 3).
    cell
        Lattice vectors in Å, one per row, shape (3, 3).

    Notes
    -----
    The modes with at least half of their square in the space of translations, and for a molecule of
    rotations (Wilson, Decius and Cross, *Molecular Vibrations* (1955), chapter 2),
    are motions of the whole. Without a restoring force these mix among themselves at will; so the three
    with most of a translation are given as such and the rest as rotations. A crystal, a surface or a chain
    has only translations.
    """
    translations = _translations(masses)
    molecule = unwrapped(positions, cell)
    external = translations
    if molecule is not None:
        external = np.vstack([translations, _rotations(masses, molecule)])
    vectors = eigenvectors.reshape(len(eigenvectors), -1)
    share = np.sum((vectors @ external.T) ** 2, axis=1)
    translating = np.sum((vectors @ translations.T) ** 2, axis=1)
    whole = np.flatnonzero(share >= EXTERNAL_SHARE)
    kinds: list[ModeKind] = ["vibration"] * len(vectors)
    for rank, mode in enumerate(whole[np.argsort(-translating[whole], kind="stable")]):
        kinds[mode] = "translation" if rank < 3 else "rotation"
    return kinds


def unwrapped(positions: Array, cell: Array) -> Array | None:
    """Return the atoms of a molecule in one piece, shape (N, 3) in Å, or None if they are no molecule."""
    scaled = positions @ np.linalg.inv(cell)
    for axis in range(3):
        empty, first = emptiness(positions, cell, axis)
        if empty < VACUUM:
            return None
        # A hair below the first atom, or rounding would put it at the other end.
        scaled[:, axis] = (scaled[:, axis] - first + 1e-9) % 1.0
    molecule: Array = scaled @ cell
    return molecule


def emptiness(positions: Array, cell: Array, axis: int) -> tuple[float, float]:
    """Return the widest gap between atoms along a lattice vector, images included, and where it ends.

    Returns
    -------
    float
        Its width in Å, across the planes of the other two vectors.
    float
        The scaled coordinate, from 0 to 1, of the atom behind it.
    """
    inverse = np.linalg.inv(cell)
    around = np.sort((positions @ inverse)[:, axis] % 1.0)
    gaps = np.diff(around, append=around[0] + 1)
    widest = int(np.argmax(gaps))
    return float(gaps[widest] / np.linalg.norm(inverse[:, axis])), float(around[(widest + 1) % len(around)])


def _translations(masses: Array) -> Array:
    translations: Array = np.tile(np.eye(3), len(masses)) * np.repeat(np.sqrt(masses / masses.sum()), 3)
    return translations


def _rotations(masses: Array, positions: Array) -> Array:
    from_centre = positions - masses @ positions / masses.sum()
    turned = np.cross(np.eye(3)[:, None], from_centre[None])
    rotations: Array = (turned * np.sqrt(masses)[:, None]).reshape(3, -1)
    # Squared, the lengths are the principal moments of inertia: about its axis a linear molecule has no
    # rotation, and an atom has none at all.
    _, lengths, about_axes = np.linalg.svd(rotations, full_matrices=False)
    kept: Array = about_axes[(lengths > 0) & (lengths**2 >= LINEAR_SHARE * lengths[0] ** 2)]
    return kept
