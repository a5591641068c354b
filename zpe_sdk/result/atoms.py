"""The ASE Atoms of a result: with all that makes them, submitted again, the same job."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms, FixCartesian
from numpy.typing import ArrayLike, NDArray

from zpe_sdk.espresso.input import parse
from zpe_sdk.espresso.render import MOMENT_TO_SHARE


def atoms_of(symbols: Sequence[str], positions: ArrayLike, cell: ArrayLike, qe_input: str) -> Atoms:
    """Return a structure with the flags and initial magnetic moments of its input.

    Parameters
    ----------
    symbols
        Chemical symbol of each atom.
    positions, cell
        In Å, shapes (nat, 3) and (3, 3).
    qe_input
        The pw.x input that it was computed from; empty: there was none.

    Returns
    -------
    ase.Atoms
        Atoms flagged ``0 0 0`` are in a FixAtoms, those fixed in part each in a FixCartesian. Moments are
        those that :func:`zpe_sdk.espresso.render.render_input` makes the input's
        ``starting_magnetization`` of.
    """
    atoms = Atoms(symbols, positions, cell=cell, pbc=True)
    if not qe_input:
        return atoms
    pw_input = parse(qe_input)
    held = [FixCartesian([i], mask=(~pw_input.free[i]).tolist()) for i in pw_input.partly_fixed]
    atoms.set_constraint(([FixAtoms(list(pw_input.fixed_indices))] if pw_input.fixed_indices else []) + held)
    shares = pw_input.namelists["system"].get("starting_magnetization")
    if shares and pw_input.namelists["system"].get("nspin") == 2:
        by_label = dict(zip((species.label for species in pw_input.species), shares, strict=False))
        moments: NDArray[np.float64] = np.array([by_label.get(label) or 0.0 for label in pw_input.labels])
        atoms.set_initial_magnetic_moments(MOMENT_TO_SHARE * moments)
    return atoms
