"""An input whose atoms are elsewhere: nothing but their positions is changed."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from zpe_sdk.errors import InputError
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.namelist import Edit, apply
from zpe_sdk.espresso.structure import multiples, position_unit

_SAME = 1e-10  # Å


def moved_text(pw_input: PwInput, positions: ArrayLike) -> str:
    """Return the text of an input with its atoms at other positions.

    Units, flags and everything else stay; so do coordinates that do not change by 1e-10 Å.

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
    return apply(pw_input.text, moves(pw_input, positions))


def moves(pw_input: PwInput, positions: ArrayLike) -> list[Edit]:
    """Return the edits of :func:`moved_text`."""
    places = np.asarray(positions, dtype=np.float64)
    if places.shape != pw_input.positions.shape or not np.all(np.isfinite(places)):
        raise InputError(
            f"give three finite numbers for each of the {len(pw_input.labels)} atoms",
            code="bad_positions",
            field="positions",
        )
    card = pw_input.cards["ATOMIC_POSITIONS"]
    unit = position_unit(card.unit, pw_input.alat, pw_input.cell)
    lengths = np.linalg.norm(unit, axis=1)
    vectors = (places - pw_input.positions) @ np.linalg.inv(unit)
    return [
        (*span, f"{before + move:.16f}")
        for row, vector in zip(card.rows, vectors, strict=False)
        for span, before, move, length in zip(row.spans[1:4], multiples(row), vector, lengths, strict=True)
        if abs(move) * length > _SAME
    ]
