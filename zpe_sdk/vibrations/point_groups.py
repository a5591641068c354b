"""Point groups by their operations, and their character tables.

The tables are those in the appendix of E. B. Wilson, J. C. Decius, P. C. Cross, *Molecular Vibrations*
(1955). Eleven are written down, those of the crystallographic groups of rotations; all 32 point groups
follow. One with an inversion i is such a group times {E, i}, and each of its representations comes twice,
``g`` and ``u``. One with reflections and no inversion has the table of a group of rotations, which its
operations R become as ``det(R) R``: C3v that of D3, Td that of O. Some have names of their own in it.

Where a table leaves the axes open they are those of R. S. Mulliken, J. Chem. Phys. 23, 1997 (1955): σv and
C2' are planes and axes with more atoms than σd and C2''; in C2v and D2h the x axis is normal to the plane
that holds most atoms, in D2h and D2 the z axis passes through most. Where that is even, the axes of the input
decide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# E of groups without a twofold axis across (C3, C4, C6, T) is a pair of complex ones, which come together.
_TABLES = """
C1  E
A   1

C2  E  C2
A   1   1
B   1  -1

C3  E  C3
A   1   1
E   2  -1

C4  E  C4  C2
A   1   1   1
B   1  -1   1
E   2   0  -2

C6  E  C6  C3  C2
A   1   1   1   1
B   1  -1   1  -1
E1  2   1  -1  -2
E2  2  -1  -1   2

D2  E  C2  C2' C2''
A   1   1   1   1
B1  1   1  -1  -1
B2  1  -1   1  -1
B3  1  -1  -1   1

D3  E  C3  C2'
A1  1   1   1
A2  1   1  -1
E   2  -1   0

D4  E  C4  C2  C2' C2''
A1  1   1   1   1   1
A2  1   1   1  -1  -1
B1  1  -1   1   1  -1
B2  1  -1   1  -1   1
E   2   0  -2   0   0

D6  E  C6  C3  C2  C2' C2''
A1  1   1   1   1   1   1
A2  1   1   1   1  -1  -1
B1  1  -1   1  -1   1  -1
B2  1  -1   1  -1  -1   1
E1  2   1  -1  -2   0   0
E2  2  -1  -1   2   0   0

T   E  C3  C2
A   1   1   1
E   2  -1   2
T   3   0  -1

O   E  C3  C4  C2  C2'
A1  1   1   1   1   1
A2  1   1  -1   1  -1
E   2  -1   0   2   0
T1  3   0   1  -1  -1
T2  3   0  -1  -1   1
"""
# Group of rotations by the number of its operations and the highest order of an axis.
_ROTATIONS = {
    (1, 1): "C1",
    (2, 2): "C2",
    (3, 3): "C3",
    (4, 4): "C4",
    (6, 6): "C6",
    (4, 2): "D2",
    (6, 3): "D3",
    (8, 4): "D4",
    (12, 6): "D6",
    (12, 3): "T",
    (24, 4): "O",
}
_WITH_INVERSION = {
    "C1": "Ci",
    "C2": "C2h",
    "C3": "S6",
    "C4": "C4h",
    "C6": "C6h",
    "D2": "D2h",
    "D3": "D3d",
    "D4": "D4h",
    "D6": "D6h",
    "T": "Th",
    "O": "Oh",
}
# Those with reflections and no inversion: by group of rotations, and whether its main axis is one.
_WITH_REFLECTIONS = {
    ("C2", False): "Cs",
    ("C4", False): "S4",
    ("C6", False): "C3h",
    ("D2", True): "C2v",
    ("D3", True): "C3v",
    ("D4", True): "C4v",
    ("D4", False): "D2d",
    ("D6", True): "C6v",
    ("D6", False): "D3h",
    ("O", False): "Td",
}
# Names in the order of the table, where they are not those of the group of rotations.
_RENAMED = {
    "Cs": "A' A''",
    "C3h": "A' A'' E'' E'",
    "C2v": "A1 A2 B1 B2",
    "D3h": "A1' A2' A1'' A2'' E'' E'",
}


@dataclass(frozen=True)
class PointGroup:
    """A point group, and the characters of its operations.

    Attributes
    ----------
    name
        After Schoenflies: ``"C2v"``.
    irreps
        Names of its I irreducible representations.
    characters
        Of each operation, in their order, shape (I, G).
    """

    name: str
    irreps: tuple[str, ...]
    characters: Array


@dataclass(frozen=True)
class _Twofold:
    """An axis of order two, or the normal of a plane.

    Attributes
    ----------
    axis
        Its direction.
    proper
        Whether a rotation about it is one of the operations.
    on_axis, in_plane
        How many atoms that rotation, and the reflection, leave in their places.
    """

    axis: Array
    proper: bool
    on_axis: int
    in_plane: int


def find_point_group(rotations: Array, unmoved: NDArray[np.int_]) -> PointGroup:
    """Return the point group of operations.

    Parameters
    ----------
    rotations
        Cartesian orthogonal matrices of a crystallographic group, each once, shape (G, 3, 3).
    unmoved
        How many atoms each leaves in their places, shape (G,).
    """
    signs = np.rint(np.linalg.det(rotations)).astype(int)
    turns = signs[:, None, None] * rotations
    orders = [_order(turn) for turn in turns]
    inversion = any(sign < 0 and order == 1 for sign, order in zip(signs, orders, strict=True))
    highest = max(orders)
    rotational = _ROTATIONS[len(rotations) // (2 if inversion else 1), highest]
    names, headings, table = _read_tables()[rotational]
    kinds = _kinds(rotational, turns, orders, signs, unmoved)
    characters = table[:, [headings.index(kind) for kind in kinds]]
    if inversion:
        name = _WITH_INVERSION[rotational]
        even = tuple(f"{irrep}g" for irrep in names)
        odd = tuple(f"{irrep}u" for irrep in names)
        return PointGroup(name, even + odd, np.vstack([characters, signs * characters]))
    if np.all(signs > 0):
        return PointGroup(rotational, names, characters)
    main = any(sign > 0 and order == highest for sign, order in zip(signs, orders, strict=True))
    name = _WITH_REFLECTIONS[rotational, main]
    return PointGroup(name, tuple(_RENAMED[name].split()) if name in _RENAMED else names, characters)


def _read_tables() -> dict[str, tuple[tuple[str, ...], list[str], Array]]:
    """Return irreps, headings of the columns and characters of each group of rotations."""
    found = {}
    for block in _TABLES.strip().split("\n\n"):
        (name, *headings), *rows = [line.split() for line in block.splitlines()]
        characters = np.array([[float(value) for value in row[1:]] for row in rows])
        found[name] = (tuple(row[0] for row in rows), headings, characters)
    return found


def _order(turn: Array) -> int:
    """Return after how many turns all is as before."""
    return {3: 1, -1: 2, 0: 3, 1: 4, 2: 6}[round(float(np.trace(turn)))]


def _axis(turn: Array, order: int) -> Array:
    # The mean of all powers projects onto the axis.
    projector = sum((np.linalg.matrix_power(turn, k) for k in range(order)), np.zeros((3, 3))) / order
    column: Array = projector[:, np.argmax(np.diag(projector))]
    return column / np.linalg.norm(column)


def _kinds(
    rotational: str, turns: Array, orders: list[int], signs: NDArray[np.int_], unmoved: NDArray[np.int_]
) -> list[str]:
    """Return the heading of the column in the table that each operation belongs to."""
    kinds = ["E" if order == 1 else f"C{order}" for order in orders]
    places = [g for g, order in enumerate(orders) if order == 2]
    axes = {g: _axis(turns[g], 2) for g in places}
    if rotational == "D3":
        return ["C2'" if kind == "C2" else kind for kind in kinds]
    if rotational not in ("D2", "D4", "D6", "O"):
        return kinds
    highest = max(orders)
    main = [_axis(turns[g], highest) for g, order in enumerate(orders) if order == highest > 2]
    lines: list[tuple[_Twofold, list[int]]] = []
    for g in places:
        if any(_parallel(axes[g], other) for other in main):
            continue
        # With an inversion, an axis is normal to a plane: two operations.
        both = [h for h in places if _parallel(axes[g], axes[h])]
        if g == both[0]:
            lines.append((_twofold(axes[g], both, signs, unmoved), both))
    if rotational == "O":
        chosen = dict.fromkeys(range(len(lines)), "C2'")
    elif rotational == "D2":
        chosen = dict(zip(_three_axes([line for line, _ in lines]), ("C2", "C2'", "C2''"), strict=True))
    else:
        chosen = _two_sets([line for line, _ in lines], highest)
    for n, kind in chosen.items():
        for g in lines[n][1]:
            kinds[g] = kind
    return kinds


def _twofold(axis: Array, places: list[int], signs: NDArray[np.int_], unmoved: NDArray[np.int_]) -> _Twofold:
    on_axis = [int(unmoved[g]) for g in places if signs[g] > 0]
    in_plane = [int(unmoved[g]) for g in places if signs[g] < 0]
    return _Twofold(axis, bool(on_axis), sum(on_axis), sum(in_plane))


def _three_axes(lines: list[_Twofold]) -> list[int]:
    """Return which of three twofold axes are z, y and x."""

    def like(n: int, direction: int) -> float:
        return round(abs(float(lines[n].axis[direction])), 3)

    rest = set(range(3))
    if any(line.in_plane for line in lines) and all(line.proper for line in lines):  # D2h
        x = max(rest, key=lambda n: (lines[n].in_plane, like(n, 0)))
        z = max(rest - {x}, key=lambda n: (lines[n].on_axis, like(n, 2)))
    else:
        z = max(
            rest, key=lambda n: (lines[n].proper, lines[n].on_axis, like(n, 2))
        )  # in C2v there is but one
        x = max(rest - {z}, key=lambda n: (lines[n].in_plane, lines[n].on_axis, like(n, 0)))
    (y,) = rest - {x, z}
    return [z, y, x]


def _two_sets(lines: list[_Twofold], order: int) -> dict[int, str]:
    """Tell the two sets of axes across a main one apart: C2' and C2'', or σv and σd, or C2' and σd."""

    def angle(line: _Twofold) -> float:
        return float(np.arccos(np.clip(abs(line.axis @ lines[0].axis), 0, 1)))

    # Turns about the main axis take an axis to others of its set: to every second line.
    step = 2 * np.pi / order
    sets: list[list[int]] = [[], []]
    for n, line in enumerate(lines):
        sets[round(2 * angle(line) / step) % 2].append(n)

    def first(members: list[int]) -> tuple[bool, int, int, float]:
        line = lines[members[0]]
        along = max(round(abs(float(lines[n].axis[0])), 3) for n in members)
        return line.proper, line.on_axis, line.in_plane, along

    ordered = sorted(sets, key=first, reverse=True)
    return {n: kind for members, kind in zip(ordered, ("C2'", "C2''"), strict=True) for n in members}


def _parallel(one: Array, other: Array) -> bool:
    return abs(float(one @ other)) > 0.99
