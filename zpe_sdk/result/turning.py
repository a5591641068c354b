"""The groups of a result that turn freely, and the vibrations that they take the place of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from zpe_sdk.errors import InputError
from zpe_sdk.result.data import ResultData
from zpe_sdk.vibrations.kinds import vibrations
from zpe_sdk.vibrations.rotors import Rotor, find_rotors

Bonds = Sequence[tuple[int, int]]


def turning_groups(result: ResultData, bonds: Bonds) -> tuple[list[Rotor], NDArray[np.bool_]]:
    """Return the groups that turn about bonds, and which modes are not vibrations any more, shape (3M,).

    Raises
    ------
    InputError
        ``bad_rotor``.
    """
    replaced = np.zeros(len(result.document.freqs_cm), dtype=np.bool_)
    for bond in bonds:
        if not isinstance(bond, Sequence) or [type(atom) for atom in bond] != [int, int]:
            raise InputError(
                f"{bond!r}: a group that turns is a pair of bonded atoms, such as (0, 1)",
                code="bad_rotor",
                field="free_rotors",
            )
    if not bonds:
        return [], replaced
    s = result.structure
    vibrating = np.flatnonzero(vibrations(result.document.mode_kinds))
    vectors = result.modes[vibrating] * np.sqrt(s.masses)[:, None]
    vectors /= np.linalg.norm(vectors, axis=(1, 2), keepdims=True)
    rotors, modes = find_rotors(bonds, s, vectors)
    replaced[vibrating[modes]] = True
    return rotors, replaced
