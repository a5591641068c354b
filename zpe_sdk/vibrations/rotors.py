"""Groups that turn about a bond: which atoms, about which moment of inertia, in place of which mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import lcm

import numpy as np
from numpy.typing import NDArray

from zpe_sdk.errors import InputError
from zpe_sdk.vibrations.analysis import Structure
from zpe_sdk.vibrations.molecule import find_bonds

Array = NDArray[np.float64]

# Of a mode that is replaced at least so much is the rotation.
_LEAST = 0.5
_SAME = 0.3  # Å; a turned group whose atoms are this near to where others were is the same. Methyl tilts.
_MOST_ARMS = 6
_ON_AXIS = 0.1  # u Å²


@dataclass(frozen=True)
class Rotor:
    """A group that turns.

    Attributes
    ----------
    inertia
        Reduced moment of inertia in u Å².
    symmetry_number
        In how many positions of a turn the molecule is the same, isotopes included. Both ends of the bond
        count (3 for methanol, 6 for nitromethane), but for one on a surface that the group turns against.
    """

    inertia: float
    symmetry_number: int


def find_rotors(
    bonds: Sequence[tuple[int, int]], structure: Structure, eigenvectors: Array
) -> tuple[list[Rotor], list[int]]:
    """Return the groups that turn about bonds, and the modes that they take the place of.

    Parameters
    ----------
    bonds
        Pairs of bonded atoms. What hangs on the first turns about the bond to the second.
    structure
        The atoms.
    eigenvectors
        Orthonormal mass-weighted vectors of its vibrations, shape (K, M, 3).

    Raises
    ------
    InputError
        ``bad_rotor``: there is no such bond, or it is in a ring, or what hangs on it does not turn.

    Notes
    -----
    A turn of the group is a motion t = √m u × r. What moves the molecule as a whole is no internal rotation
    and is projected out; |t|² is then the reduced moment: of a symmetric top A (1 − A Σ λᵢ²/Iᵢ), A its own
    moment, λᵢ the cosines between its axis and the principal axes of the molecule, Iᵢ the moments of that
    (K. S. Pitzer, W. D. Gwinn, J. Chem. Phys. 10, 428 (1942)). Where atoms are held the reduced moment is A.
    Several groups are taken as independent of one another. The modes replaced are those with most of these
    motions.
    """
    neighbours = find_bonds(structure.symbols, structure.positions, structure.cell)
    rotors, turns = [], []
    for bond in bonds:
        rotor, turn = _rotor(bond, neighbours, structure)
        rotors.append(rotor)
        turns.append(turn)
    flat = eigenvectors.reshape(len(eigenvectors), -1)
    span = np.linalg.qr(np.array(turns).T)[0]
    shares = np.sum((flat @ span) ** 2, axis=1)
    modes = np.argsort(-shares, kind="stable")[: len(rotors)]
    if shares[modes].min() < _LEAST:
        raise _bad(f"no vibration is the rotation about {_listed(bonds)} for the most part")
    return rotors, sorted(modes.tolist())


def _rotor(
    bond: tuple[int, int], neighbours: dict[int, list[tuple[int, Array]]], structure: Structure
) -> tuple[Rotor, Array]:
    """Return a group that turns, and its turn as a mass-weighted motion of the mobile atoms, shape (3M,)."""
    masses, external = structure.masses, structure.external
    place = {atom: n for n, atom in enumerate(structure.mobile)}
    turning, held = bond
    axes = [vector for atom, vector in neighbours.get(turning, []) if atom == held]
    if len(axes) != 1:
        raise _bad(f"there is no bond from atom {turning} to atom {held}")
    axis = axes[0] / np.linalg.norm(axes[0])
    group = _hanging(turning, held, neighbours)
    if not group.keys() <= place.keys():
        raise _bad(f"not all atoms that hang on atom {turning} are mobile")
    turn = np.zeros((len(masses), 3))
    for atom, from_axis in group.items():
        turn[place[atom]] = np.sqrt(masses[place[atom]]) * np.cross(axis, from_axis)
    motion = turn.ravel()
    if external is not None:
        motion = motion - external.T @ (external @ motion)
    inertia = float(motion @ motion)
    if inertia < _ON_AXIS:
        raise _bad(f"nothing that hangs on atom {turning} turns about the bond to atom {held}")
    ends = [group] if external is None else [group, _hanging(held, turning, neighbours)]
    arms = [
        _arms(
            np.array(list(end.values())),
            [(structure.symbols[atom], round(float(masses[place[atom]]), 3)) for atom in end],
            axis,
        )
        for end in ends
    ]
    return Rotor(inertia, lcm(*arms)), motion


def _hanging(start: int, held: int, neighbours: dict[int, list[tuple[int, Array]]]) -> dict[int, Array]:
    """Return the atoms that hang on one end of a bond, and the vectors to them from that end.

    Along the bonds they are in one piece, in whichever cell the atoms are.
    """
    group, waiting = {start: np.zeros(3)}, [start]
    while waiting:
        atom = waiting.pop()
        for other, vector in neighbours[atom]:
            if other == held and atom == start:
                continue
            if other == held:
                raise _bad(f"the bond from atom {start} to atom {held} is in a ring")
            if other not in group:
                group[other] = group[atom] + vector
                waiting.append(other)
    return group


def _arms(places: Array, kinds: Sequence[tuple[str, float]], axis: Array) -> int:
    """Return how many times in a turn about an axis through the origin atoms are where they were."""
    cross = np.cross(np.eye(3), axis)
    for count in range(_MOST_ARMS, 1, -1):
        angle = 2 * np.pi / count
        rotation = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
        apart = np.linalg.norm((places @ rotation)[:, None] - places[None], axis=2)
        nearest = apart.argmin(axis=1)
        same = all(kinds[i] == kinds[j] for i, j in enumerate(nearest))
        if same and apart.min(axis=1).max() < _SAME:
            return count
    return 1


def _listed(bonds: Sequence[tuple[int, int]]) -> str:
    return ", ".join(f"{a}–{b}" for a, b in bonds)


def _bad(message: str) -> InputError:
    return InputError(message, code="bad_rotor", field="free_rotors")
