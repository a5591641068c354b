"""A structure as balls and sticks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from ase.data.colors import jmol_colors
from ase.neighborlist import natural_cutoffs, neighbor_list

from zpe_dashboard.components import Molecule

# Atoms are bonded within this much of the sum of their covalent radii.
_BONDED = 1.25


class Drawing:
    """Balls and sticks.

    Parameters
    ----------
    label
        What it is, for screen readers.
    on_pick
        Called with the index of an atom that is clicked; None: none can be.
    """

    def __init__(self, label: str, on_pick: Callable[[int], None] | None = None) -> None:
        self.component = Molecule(on_pick, label=label)

    def show(self, atoms: Atoms, held: Collection[int] = ()) -> None:
        """Show atoms at rest, those that are held in place faintly."""
        first, second, shifts = neighbor_list("ijS", atoms, natural_cutoffs(atoms, mult=_BONDED))
        inside = ~shifts.any(axis=1)
        pairs = np.stack([first, second], axis=1)[inside & (first < second)].tolist()
        # A bond through a side of the cell goes half of its way, from both of its ends.
        over = (atoms.positions[second] - atoms.positions[first] + shifts @ atoms.cell.array)[~inside] / 2
        halves = [[int(atom), way] for atom, way in zip(first[~inside], over.tolist(), strict=True)]
        balls = [
            _ball(symbol, place) | ({"held": True} if n in held else {})
            for n, (symbol, place) in enumerate(
                zip(atoms.get_chemical_symbols(), atoms.positions.tolist(), strict=True)
            )
        ]
        self.component.param.update(bonds=pairs, halves=halves, atoms=balls)

    def move(self, by_atom: Mapping[int, list[float]]) -> None:
        """Set atoms in motion, each along its displacement (Å)."""
        self.component.atoms = [
            {name: value for name, value in ball.items() if name != "mode"}
            | ({"mode": by_atom[n]} if n in by_atom else {})
            for n, ball in enumerate(self.component.atoms)
        ]


def _ball(symbol: str, position: list[float]) -> dict[str, Any]:
    number = atomic_numbers[symbol]
    red, green, blue = (int(255 * part) for part in jmol_colors[number])
    return {
        "at": position,
        "radius": float(covalent_radii[number]),
        "colour": f"rgb({red} {green} {blue})",
    }
