"""Which symmetry an input leaves to its atoms: what the planning of displacements has to know of it."""

from __future__ import annotations

import numpy as np

from zpe_sdk.espresso.cards import Row
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.surplus import unread_lines
from zpe_sdk.vibrations.symmetry import SymmetryBreakers

Z = 2


def symmetry_of(pw_input: PwInput) -> tuple[tuple[str, ...], SymmetryBreakers] | None:
    """Return what spatial symmetry has to respect, or None if none may be used.

    Returns
    -------
    tuple or None
        The species label of each atom, and what else may have a lower symmetry than the atoms. Labels
        distinguish all that pw.x gives by species: magnetisation, Hubbard U, pseudopotential. So ``Fe1`` and
        ``Fe2`` of an antiferromagnet are not exchanged.

    Notes
    -----
    None, because the electrons may have a lower symmetry than the atoms and their labels:

    - ``noncolin``, ``lspinorb``, ``nspin = 4``: a rotation turns the spins too.
    - ``nosym``, ``nosym_evc``, ``noinv``: the author wants no symmetry (or not all of it); so be it.
    - ``occupations = 'from_input'``, ``one_atom_occupations``: one of several degenerate states can be
      occupied.
    - ``starting_ns_eigenvalue``: it leads to one of several ways to occupy a d or f shell.
    - Hubbard V, by key or card: it names single pairs of atoms.
    - ``ATOMIC_FORCES``: a force on an atom, whatever the others feel.
    - a card that is not known here: nobody knows what it does.
    - ``nqx1, nqx2, nqx3`` that differ: another mesh than that of the k-points.
    - two fields along different axes.

    Scalars such as ``tot_magnetization``, ``tot_charge`` and a collinear ``constrained_magnetization`` point
    nowhere. ``assume_isolated = 'mt'`` or ``'mp'`` follows the cell, which symmetry keeps anyway.
    """
    system = pw_input.namelists["system"]
    control = pw_input.namelists.get("control", {})
    names = {key.split("(")[0] for key in system}
    unusable = (
        any(
            system.get(key)
            for key in ("noncolin", "lspinorb", "nosym", "nosym_evc", "noinv", "one_atom_occupations")
        )
        or system.get("nspin") == 4
        or str(system.get("occupations", "")).strip().lower() == "from_input"
        or not names.isdisjoint({"starting_ns_eigenvalue", "hubbard_v"})
        or any(row.words[0].upper() == "V" for row in _rows(pw_input, "HUBBARD"))
        or "ATOMIC_FORCES" in pw_input.cards
        or unread_lines(pw_input)
        or len({system.get(key) or 1 for key in ("nqx1", "nqx2", "nqx3")}) > 1
    )
    isolated = str(system.get("assume_isolated", "")).strip().lower()
    fields = set()
    if control.get("tefield"):
        fields.add(int(system.get("edir", 1)) - 1)
    if control.get("gate") or isolated == "esm":
        fields.add(Z)
    if unusable or len(fields) > 1:
        return None
    k = pw_input.kpoints
    return pw_input.labels, SymmetryBreakers(
        kmesh=k.mesh,
        kshift=k.shift or (0, 0, 0),
        kpoints=_crystal(pw_input),
        kweights=k.weights,
        field_axis=fields.pop() if fields else None,
        plane_axis=Z if isolated == "2d" else None,
    )


def _rows(pw_input: PwInput, card: str) -> tuple[Row, ...]:
    return pw_input.cards[card].rows if card in pw_input.cards else ()


def _crystal(pw_input: PwInput) -> tuple[tuple[float, float, float], ...] | None:
    """Return listed k-points in units of the reciprocal lattice vectors."""
    k = pw_input.kpoints
    if k.points is None:
        return None
    points = np.array(k.points)
    if k.mode == "tpiba":  # Cartesian, in 2π/alat
        points = points @ pw_input.cell.T / pw_input.alat
    return tuple((float(x), float(y), float(z)) for x, y, z in points)
