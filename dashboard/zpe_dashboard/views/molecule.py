"""The structure of a job, and its normal modes in motion."""

from __future__ import annotations

from typing import Any

import numpy as np
import panel_material_ui as pmui

from zpe_dashboard.views.structure import Drawing
from zpe_dashboard.words import Words
from zpe_sdk.result.result import ZPEResult
from zpe_sdk.result.structure import StructureResult
from zpe_sdk.vibrations.modes import wavenumber

Result = ZPEResult | StructureResult[Any]


class MoleculeView:
    """The structure of a job; :meth:`animate` sets it in motion."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self._result: Result | None = None
        self._drawing = Drawing(words("The structure; turn it with the arrow keys"))
        self.component = self._drawing.component
        self.caption = pmui.Typography("", variant="caption", color="text.secondary", margin=(4, 0))

    def show(self, result: Result) -> None:
        """Show the structure of a result; of vibrations, with the highest mode in motion."""
        if result is self._result:
            return
        self._result = result
        self._drawing.show(result.atoms)
        if isinstance(result, ZPEResult):
            self.animate(len(result.document.freqs_cm) - 1)
        else:
            self.caption.object = ""

    def animate(self, mode: int) -> None:
        """Set a mode in motion; its largest displacement is drawn as 0.35 Å."""
        assert isinstance(self._result, ZPEResult)
        d = self._result.document
        moves = self._result.modes[mode]
        moves = moves / np.linalg.norm(moves, axis=1).max()
        self._drawing.move(dict(zip(d.mobile_indices, moves.tolist(), strict=True)))
        cm = d.freqs_cm[mode]
        self.caption.object = self._words("Mode {n}: {cm} cm⁻¹", n=mode, cm=wavenumber(cm))
