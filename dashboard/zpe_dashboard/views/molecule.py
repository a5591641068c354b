"""The structure of a job, and its normal modes in motion."""

from __future__ import annotations

from typing import Any

import numpy as np
import panel_material_ui as pmui
from ase.data import atomic_numbers, covalent_radii
from ase.data.colors import jmol_colors
from ase.neighborlist import natural_cutoffs, neighbor_list

from zpe_dashboard.components import Molecule
from zpe_dashboard.words import Words
from zpe_sdk.result.result import ZPEResult
from zpe_sdk.result.structure import StructureResult
from zpe_sdk.vibrations.modes import wavenumber

Result = ZPEResult | StructureResult[Any]


class MoleculeView:
    """Balls and sticks; :meth:`animate` sets them in motion."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self._result: Result | None = None
        self.component = Molecule(label=words("The structure; turn it with the arrow keys"))
        self.caption = pmui.Typography("", variant="caption", color="text.secondary", margin=(4, 0))

    def show(self, result: Result) -> None:
        """Show the structure of a result; of vibrations, with the highest mode in motion."""
        if result is self._result:
            return
        self._result = result
        atoms = result.atoms
        first, second, shift = neighbor_list("ijS", atoms, natural_cutoffs(atoms, mult=1.25))
        # A bond through the side of the cell would be drawn across all of it.
        inside = (first < second) & ~shift.any(axis=1)
        self.component.bonds = np.stack([first, second], axis=1)[inside].tolist()
        if isinstance(result, ZPEResult):
            self.animate(len(result.document.freqs_cm) - 1)
        else:
            d = result.document
            self.component.atoms = [_ball(s, place) for s, place in zip(d.symbols, d.positions, strict=True)]
            self.caption.object = ""

    def animate(self, mode: int) -> None:
        """Set a mode in motion; its largest displacement is drawn as 0.35 Å."""
        assert isinstance(self._result, ZPEResult)
        d = self._result.document
        moves = self._result.modes[mode]
        moves = moves / np.linalg.norm(moves, axis=1).max()
        by_atom = dict(zip(d.mobile_indices, moves.tolist(), strict=True))
        self.component.atoms = [
            _ball(symbol, position) | ({"mode": by_atom[i]} if i in by_atom else {})
            for i, (symbol, position) in enumerate(zip(d.symbols, d.positions, strict=True))
        ]
        cm = d.freqs_cm[mode]
        self.caption.object = self._words("Mode {n}: {cm} cm⁻¹", n=mode, cm=wavenumber(cm))


def _ball(symbol: str, position: Any) -> dict[str, Any]:
    number = atomic_numbers[symbol]
    red, green, blue = (int(255 * part) for part in jmol_colors[number])
    return {
        "at": list(position),
        "radius": float(covalent_radii[number]),
        "colour": f"rgb({red} {green} {blue})",
    }
