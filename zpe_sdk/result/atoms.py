"""The ASE Atoms of a result: with all that makes them, submitted again, the same job."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike, NDArray

from zpe_sdk.espresso.input import parse


def atoms_of(symbols: Sequence[str], positions: ArrayLike, cell: ArrayLike, pw_input: str) -> Atoms:
    """Return a structure with the flags and initial magnetic moments of its input.

    Parameters
    ----------
    symbols
        Chemical symbol of each atom.
    positions, cell
        In Å, shapes (nat, 3) and (3, 3).
    pw_input
        The pw.x input that it was computed from; empty: there was none.

    Returns
    -------
    ase.Atoms
        Atoms flagged ``0 0 0`` are in a FixAtoms, those fixed in part each in a FixCartesian. Moments are
        those that :func:`zpe_sdk.espresso.render.render_input` makes the input's
        ``starting_magnetization`` of.
    """
    atoms = Atoms(symbols, positions, cell=cell, pbc=True)
    if not pw_input:
        return atoms
    # They bring much of ASE and SciPy, which nobody waits for who makes a result.
    from ase.constraints import FixAtoms, FixCartesian

    from zpe_sdk.espresso.render import MOMENT_TO_SHARE

    given = parse(pw_input)
    held = [FixCartesian([i], mask=(~given.free[i]).tolist()) for i in given.partly_fixed]
    atoms.set_constraint(([FixAtoms(list(given.fixed_indices))] if given.fixed_indices else []) + held)
    shares = given.namelists["system"].get("starting_magnetization")
    if shares and given.namelists["system"].get("nspin") == 2:
        by_label = dict(zip((species.label for species in given.species), shares, strict=False))
        moments: NDArray[np.float64] = np.array([by_label.get(label) or 0.0 for label in given.labels])
        atoms.set_initial_magnetic_moments(MOMENT_TO_SHARE * moments)
    return atoms
