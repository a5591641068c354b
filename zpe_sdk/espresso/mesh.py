"""Meshes of k-points and the symmetry operations that take their points to one another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from zpe_sdk.espresso.input import PwInput

Point = tuple[float, float, float]

_SAME = 1e-5  # in crystal coordinates: what pw.x takes for the same place
_LARGEST = 1000  # points of a list that is worth writing


@dataclass(frozen=True, eq=False)
class Operation:
    """An operation of the space group: x becomes ``rotation`` x + ``translation``, in crystal coordinates."""

    rotation: NDArray[np.int64]
    translation: NDArray[np.float64]


@lru_cache(maxsize=32)
def whole_mesh(pw_input: PwInput) -> tuple[tuple[Point, float], ...] | None:
    """Return the k-points of an input that serve whatever the symmetry of the atoms, with their weights.

    Of each k and -k one: time reversal takes one to the other. With ``nosym`` these points give the same
    density as those that pw.x chooses for each symmetry.

    Returns
    -------
    tuple or None
        Points in units of the reciprocal lattice vectors, and weights that add up to 1. None, if the points
        of the input are to stay: they are no mesh, or Γ alone, or not as symmetric as the lattice, so that
        pw.x would add to them what symmetry wants; the input itself says how symmetry is to be used; or
        time reversal does not hold.
    """
    k, system = pw_input.kpoints, pw_input.namelists["system"]
    if k.mesh is None or k.mesh == (1, 1, 1) or np.prod(k.mesh) > 2 * _LARGEST:
        return None
    if any(system.get(key) for key in ("noncolin", "lspinorb", "nosym", "nosym_evc", "noinv")):
        return None
    if system.get("nspin") == 4 or "ADDITIONAL_K_POINTS" in pw_input.cards:
        return None
    mesh, shift = np.array(k.mesh), np.array(k.shift or (0, 0, 0))
    indices = np.array(list(product(*(range(n) for n in k.mesh))))
    for rotation in lattice_rotations(pw_input.cell):
        turned = ((indices + shift / 2) / mesh) @ np.linalg.inv(rotation) * mesh - shift / 2
        if np.abs(turned - turned.round()).max() > _SAME:
            return None
    points: dict[tuple[int, ...], float] = {}
    for index in indices:
        opposite = tuple(int(i) for i in (-index - shift) % mesh)
        own = tuple(int(i) for i in index)
        kept = opposite if opposite in points else own
        points[kept] = points.get(kept, 0.0) + 1.0 / len(indices)
    return tuple((_point((np.array(index) + shift / 2) / mesh), weight) for index, weight in points.items())


@lru_cache(maxsize=32)
def kpoint_count(pw_input: PwInput, *, symmetric: bool) -> int:
    """Return at how many k-points an SCF is at least, each spin for itself; 1, if that is not known.

    Parameters
    ----------
    pw_input
        The input.
    symmetric
        With the symmetry of its atoms; else on the points of :func:`whole_mesh`.
    """
    mesh = whole_mesh(pw_input)
    if mesh is None:
        return 1
    spins = 2 if pw_input.namelists["system"].get("nspin") == 2 else 1
    points = np.array([point for point, _ in mesh])
    if not symmetric:
        return spins * len(points)
    rotations = [np.linalg.inv(operation.rotation) for operation in operations(pw_input)]
    images = np.array([sign * points @ rotation for rotation in rotations for sign in (1, -1)])
    places = np.array(pw_input.kpoints.mesh) * 2  # whole numbers, with a shift of half a step too
    own = np.mod(np.rint(images * places).astype(int), places)  # (operations, points, 3)
    return spins * len({min(map(tuple, own[:, n].tolist())) for n in range(len(points))})


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


def _point(values: NDArray[np.float64]) -> Point:
    x, y, z = (float(value) for value in values)
    return x, y, z
