"""An input whose atoms are elsewhere: nothing but their positions is changed."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from zpe_sdk.errors import InputError
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.namelist import apply
from zpe_sdk.espresso.structure import multiples, position_unit


def moved_text(pw_input: PwInput, positions: ArrayLike) -> str:
    """Return the text of an input with its atoms at other positions.

    Units, flags and everything else stay; so do coordinates that do not change.

    Parameters
    ----------
    pw_input
        The input.
    positions
        In Å, shape (nat, 3).

    Raises
    ------
    InputError
        ``bad_positions``: not three finite numbers for each atom.
    """
    places = np.asarray(positions, dtype=np.float64)
    if places.shape != pw_input.positions.shape or not np.all(np.isfinite(places)):
        raise InputError(
            f"give three finite numbers for each of the {len(pw_input.labels)} atoms",
            code="bad_positions",
            field="positions",
        )
    card = pw_input.cards["ATOMIC_POSITIONS"]
    to_unit = np.linalg.inv(position_unit(card.unit, pw_input.alat, pw_input.cell))
    moves = (places - pw_input.positions) @ to_unit
    return apply(
        pw_input.text,
        [
            (*span, f"{before + move:.16f}")
            for row, vector in zip(card.rows, moves, strict=False)
            for span, before, move in zip(row.spans[1:4], multiples(row), vector, strict=True)
            if move
        ],
    )
