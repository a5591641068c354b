"""Symmetry operations of a crystal, and the k-points of a mesh that they leave."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from zpe_sdk.espresso.input import PwInput

Point = tuple[float, float, float]

_SAME = 1e-5  # in crystal coordinates: what pw.x takes for the same place
_LARGEST = 4000  # points that are worth counting


@dataclass(frozen=True, eq=False)
class Operation:
    """An operation of the space group: x becomes ``rotation`` x + ``translation``, in crystal coordinates."""

    rotation: NDArray[np.int64]
    translation: NDArray[np.float64]


@lru_cache(maxsize=32)
def kpoint_count(pw_input: PwInput) -> int:
    """Return at how many k-points the SCF of an input is, each spin for itself; 1, if that is not known.

    It is not known if the points are no mesh, if the mesh is not as symmetric as the lattice, so that pw.x
    adds to it what symmetry wants, and if the input itself says how symmetry is to be used.
    """
    k, system = pw_input.kpoints, pw_input.namelists["system"]
    if k.mesh is None or np.prod(k.mesh) > _LARGEST or "ADDITIONAL_K_POINTS" in pw_input.cards:
        return 1
    if any(system.get(key) for key in ("noncolin", "lspinorb", "nosym", "nosym_evc", "noinv")):
        return 1
    mesh, shift = np.array(k.mesh), np.array(k.shift or (0, 0, 0))
    # Twice the place of a point, in steps of the mesh.
    points = 2 * np.array(list(product(*(range(n) for n in k.mesh)))) + shift

    def turned(rotation: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray((points / mesh) @ np.linalg.inv(rotation) * mesh)

    for rotation in lattice_rotations(pw_input.cell):
        off = (turned(rotation) - shift) / 2
        if np.abs(off - off.round()).max() > _SAME:
            return 1
    images = [turned(o.rotation) * sign for o in operations(pw_input) for sign in (1, -1)]
    places = np.mod(np.rint(images).astype(int), 2 * mesh)  # (operations, points, 3)
    stars = {min(map(tuple, places[:, n].tolist())) for n in range(len(points))}
    return len(stars) * (2 if system.get("nspin") == 2 else 1)


def lattice_rotations(cell: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the rotations of a lattice, on crystal coordinates of places, shape (n, 3, 3); identity first.

    Parameters
    ----------
    cell
        Lattice vectors, one per row, shape (3, 3).
    """
    metric = cell @ cell.T
    every = np.array(list(product((-1, 0, 1), repeat=9))).reshape(-1, 3, 3)
    off = np.abs(np.swapaxes(every, 1, 2) @ metric @ every - metric).max(axis=(1, 2))
    kept = every[off < _SAME * np.abs(metric).max()]
    return np.asarray(sorted(kept.tolist(), key=lambda rotation: rotation != np.eye(3, dtype=int).tolist()))


@lru_cache(maxsize=32)
def operations(pw_input: PwInput) -> tuple[Operation, ...]:
    """Return the operations that take the atoms to themselves, identity first.

    Of operations that differ by a translation of the crystal, there is one. Atoms are alike if their labels
    are: magnetisation and all else that pw.x gives by species may differ with these.
    """
    places = pw_input.positions @ np.linalg.inv(pw_input.cell)
    labels = sorted(set(pw_input.labels), key=pw_input.labels.count)
    kinds = np.array([labels.index(label) for label in pw_input.labels])
    rarest = np.flatnonzero(kinds == 0)
    different = kinds[:, None] != kinds[None, :]
    found = []
    for rotation in lattice_rotations(pw_input.cell):
        turned = places @ rotation.T
        for other in rarest:
            translation = places[other] - turned[rarest[0]]
            off = (turned + translation)[:, None, :] - places[None, :, :]
            far = np.abs(off - off.round()).max(axis=2) + different
            if (far.min(axis=1) < _SAME).all():
                found.append(Operation(rotation, translation))
                break
    return tuple(found)
