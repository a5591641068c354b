"""What moves in a mode, in words: bonds that stretch, angles that bend, groups that twist.

The potential energy of a mode is shared out among internal coordinates s = B x (E. B. Wilson, J. C. Decius,
P. C. Cross, *Molecular Vibrations* (1955), chapter 4): with F = B⁺ᵀ H B⁺ and S = B x, coordinate i has the
share F_ii S_i² / Σ_j F_jj S_j² (Y. Morino, K. Kuchitsu, J. Chem. Phys. 20, 1809 (1952)). Coordinates of a
kind are taken together. The set is redundant, so the shares are a description and no observable.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from zpe_sdk.vibrations.molecule import find_bonds

Array = NDArray[np.float64]
Row = dict[int, Array]

# Beyond so many neighbours an atom is one of a metal, whose angles tell nothing.
_FEW = 4
# Numbers in B; beyond, some hundred mobile atoms, only whose motion it is is told: the rest takes too long.
_LARGE = 1_000_000
NAMED = 0.15  # the smallest share that is named
_ONE_WAY, _OPPOSED = 0.9, 0.1  # |Σ S| / Σ |S|: bonds that stretch together, or against one another
_SHARED = 0.7  # (Σ |S|)² / n Σ S²: 1 if all bonds take part alike, 1/n if one does
_STRAIGHT, _FLAT = np.radians(175), np.radians(358)


@dataclass(frozen=True)
class _Coordinate:
    """An internal coordinate: what it is called, and its derivatives by the positions of its atoms."""

    name: str
    row: Row


def assign_modes(
    symbols: Sequence[str],
    positions: Array,
    cell: Array,
    mobile: Sequence[int],
    hessian: Array,
    displacements: Array,
    kinds: Sequence[str],
) -> list[str]:
    """Describe each mode, e.g. ``"O–H stretch, antisymmetric, 100 %"``.

    Parameters
    ----------
    symbols, positions, cell
        Of all atoms: chemical symbols, positions in Å, shape (N, 3), and lattice vectors in Å, one per row.
    mobile
        Indices of the mobile atoms.
    hessian
        Of the mobile atoms in eV/Å², shape (3M, 3M).
    displacements
        Cartesian displacements of the mobile atoms in each mode, shape (K, M, 3).
    kinds
        Of each mode, see :class:`zpe_sdk.vibrations.modes.Modes`; motions of the whole are called that.
    """
    coordinates = list(_coordinates(symbols, positions, cell, set(mobile)))
    if len(coordinates) * 3 * len(mobile) > _LARGE:
        coordinates = []
    place = {atom: 3 * n for n, atom in enumerate(mobile)}
    B = np.zeros((len(coordinates), 3 * len(mobile)))
    for row, coordinate in zip(B, coordinates, strict=True):
        for atom, derivative in coordinate.row.items():
            if atom in place:
                row[place[atom] : place[atom] + 3] += derivative
    inverse = np.linalg.pinv(B, rcond=1e-6)
    stiffness = np.abs(np.sum(inverse * (hessian @ inverse), axis=0))
    moving = [symbols[atom] for atom in mobile]
    told = []
    for mode, kind in zip(displacements, kinds, strict=True):
        move = mode.ravel()
        change = B @ move
        energies = stiffness * change**2
        if kind != "vibration":
            told.append(kind)
        elif not energies.sum() or _is_beyond(move, inverse @ change, hessian):
            told.append(_of_atoms(moving, mode))
        else:
            told.append(_in_words(coordinates, change, energies / energies.sum()))
    return told


def _is_beyond(move: Array, seen: Array, hessian: Array) -> bool:
    """Tell whether more than half of a mode's energy is in what the coordinates do not see.

    That is so where atoms are held by more than bonds.
    """
    rest = move - seen
    return bool(abs(rest @ hessian @ rest) > abs(move @ hessian @ move) / 2)


def _in_words(coordinates: list[_Coordinate], change: Array, shares: Array) -> str:
    by_name: dict[str, float] = {}
    for coordinate, share in zip(coordinates, shares, strict=True):
        by_name[coordinate.name] = by_name.get(coordinate.name, 0.0) + float(share)
    ranked = sorted(by_name.items(), key=lambda item: -item[1])
    words = []
    for name, share in [item for n, item in enumerate(ranked) if n == 0 or item[1] >= NAMED]:
        moved = np.array([c for c, of in zip(change, coordinates, strict=True) if of.name == name])
        how = _phase(moved) if name.endswith("stretch") and len(moved) > 1 else ""
        words.append(f"{name}{how}, {100 * share:.0f} %")
    return "; ".join(words)


def _phase(changes: Array) -> str:
    together = abs(changes.sum()) / np.abs(changes).sum()
    # One bond alone, as in HDO, is in phase with nothing.
    share = np.abs(changes).sum() ** 2 / (len(changes) * np.sum(changes**2))
    if together > _ONE_WAY and share > _SHARED:
        return ", symmetric"
    return ", antisymmetric" if together < _OPPOSED else ""


def _of_atoms(symbols: list[str], mode: Array) -> str:
    """Say whose motion it is, where no bonds tell more."""
    moved = np.sum(mode**2, axis=1) / np.sum(mode**2)
    kinds = np.array(symbols)
    shares = {symbol: float(moved[kinds == symbol].sum()) for symbol in dict.fromkeys(symbols)}
    named = [f"{symbol} {100 * share:.0f} %" for symbol, share in shares.items() if share >= NAMED]
    return "motion of " + ", ".join(named)


def _coordinates(
    symbols: Sequence[str], positions: Array, cell: Array, mobile: set[int]
) -> Iterator[_Coordinate]:
    """Find the internal coordinates in which a mobile atom takes part."""
    neighbours = find_bonds(symbols, positions, cell)
    for i, around in neighbours.items():
        for j, vector in around:
            # Each bond is found from both its ends; one to an image of the atom itself does not change.
            if i < j and mobile & {i, j}:
                u = vector / np.linalg.norm(vector)
                yield _Coordinate(f"{_named(symbols[i], symbols[j])} stretch", {i: -u, j: u})
    few = {j: around for j, around in neighbours.items() if len(around) <= _FEW}
    for j, around in few.items():
        for (i, a), (k, b) in combinations(around, 2):
            if mobile & {i, j, k}:
                ends = sorted((symbols[i], symbols[k]), key=_rank)
                yield from _bends(f"{ends[0]}–{symbols[j]}–{ends[1]} bend", i, j, k, a, b)
        if len(around) == 3 and mobile & {j, *(i for i, _ in around)}:
            yield from _out_of_plane(symbols[j], j, around)
    for j, around in few.items():
        for k, axis in around:
            if j < k and k in few:
                name = f"torsion about {_named(symbols[j], symbols[k])}"
                for i, a in around:
                    for m, b in neighbours[k]:
                        atoms = {i, j, k, m}
                        if len(atoms) == 4 and mobile & atoms:
                            yield from _torsion(name, (i, j, k, m), a, axis, b)


def _bends(name: str, i: int, j: int, k: int, a: Array, b: Array) -> Iterator[_Coordinate]:
    """Yield the angle at j between bonds to i and k; if it is straight, the bends in two planes."""
    p, q = np.linalg.norm(a), np.linalg.norm(b)
    u, v = a / p, b / q
    cosine = float(np.clip(u @ v, -1, 1))
    if np.arccos(cosine) > _STRAIGHT:
        across = np.cross(u, np.eye(3)[np.argmin(np.abs(u))])
        across /= np.linalg.norm(across)
        for w in (across, np.cross(u, across)):
            yield _Coordinate(name, _summed((i, w / p), (k, w / q), (j, -w / p - w / q)))
        return
    sine = np.sqrt(1 - cosine**2)
    if sine < 1e-3:
        return
    first, last = (cosine * u - v) / (p * sine), (cosine * v - u) / (q * sine)
    yield _Coordinate(name, _summed((i, first), (k, last), (j, -first - last)))


def _out_of_plane(symbol: str, j: int, around: list[tuple[int, Array]]) -> Iterator[_Coordinate]:
    """Yield the height of an atom over its three neighbours, if it lies in their plane, by their distance."""
    units = [vector / np.linalg.norm(vector) for _, vector in around]
    angles = [np.arccos(np.clip(a @ b, -1, 1)) for a, b in combinations(units, 2)]
    if sum(angles) < _FLAT:
        return
    normal = np.cross(units[0], units[1])
    if np.linalg.norm(normal) < 1e-3:
        return
    normal /= np.linalg.norm(normal)
    vectors = np.array([vector for _, vector in around])
    # The atom as a mean of the three, so weighted that no turn of the whole changes the height.
    weights = np.linalg.lstsq(np.vstack([vectors.T, np.ones(3)]), np.array([0.0, 0.0, 0.0, 1.0]))[0]
    length = float(np.mean(np.linalg.norm(vectors, axis=1)))
    parts = [(i, -weight * normal / length) for (i, _), weight in zip(around, weights, strict=True)]
    yield _Coordinate(f"{symbol} out of plane", _summed((j, normal / length), *parts))


def _torsion(
    name: str, atoms: tuple[int, int, int, int], a: Array, axis: Array, b: Array
) -> Iterator[_Coordinate]:
    """Yield the dihedral angle i-j-k-m, with bonds a = j→i, axis = j→k and b = k→m."""
    i, j, k, m = atoms
    length = float(np.linalg.norm(axis))
    u, p, q = axis / length, np.cross(a, axis), np.cross(b, axis)
    if min(np.linalg.norm(p) / np.linalg.norm(a), np.linalg.norm(q) / np.linalg.norm(b)) < 0.1 * length:
        return  # three atoms in a row have no dihedral angle
    first = p * length / (p @ p)
    last = -q * length / (q @ q)
    along_a, along_b = a @ u / length, b @ u / length
    at_j = (along_a - 1) * first + along_b * last
    at_k = -along_a * first - (1 + along_b) * last
    yield _Coordinate(name, _summed((i, first), (j, at_j), (k, at_k), (m, last)))


def _summed(*parts: tuple[int, Array]) -> Row:
    """Return derivatives by atom; images of an atom move together."""
    row: Row = {}
    for atom, derivative in parts:
        row[atom] = row.get(atom, np.zeros(3)) + derivative
    return row


def _named(one: str, other: str) -> str:
    return "–".join(sorted((one, other), key=_rank))


def _rank(symbol: str) -> tuple[int, str]:
    """Order symbols as in formulas: carbon first, hydrogen last."""
    return {"C": 0, "H": 2}.get(symbol, 1), symbol
