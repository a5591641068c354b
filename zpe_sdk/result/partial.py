"""The partial spectrum of a job that goes on."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np
from ase.formula import Formula
from numpy.typing import NDArray

from zpe_sdk.result import plots as views
from zpe_sdk.vibrations.kinds import imaginary_modes, vibrations
from zpe_sdk.vibrations.modes import wavenumber
from zpe_sdk.wire import PartialReply

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class PartialSpectrum:
    """The modes of the atoms whose SCFs are in, with all other atoms held in place; no result of the job.

    Get one from :meth:`zpe_sdk.client.job.Job.partial`, and another when more SCFs are in.

    Attributes
    ----------
    document
        As the control plane has sent it.
    """

    def __init__(self, document: PartialReply) -> None:
        self.document = document

    @property
    def frequencies_cm(self) -> NDArray[np.float64]:
        """Wavenumbers in cm⁻¹, ascending, shape (3 A,) for A covered atoms; imaginary modes are negative."""
        return np.array(self.document.freqs_cm)

    @property
    def atoms(self) -> list[int]:
        """The covered atoms: 0-based indices of the A mobile atoms that move in these modes."""
        return self.document.atoms

    def plot(self, *, width_cm: float = 20.0, axes: Axes | None = None) -> Axes:
        """Draw the modes as sticks, and broadened, over their wavenumbers; needs matplotlib.

        Parameters
        ----------
        width_cm
            Full width at half maximum of the Lorentzians in cm⁻¹.
        axes
            Where to draw; default: a new figure.
        """
        cm = self.frequencies_cm
        vibrating, imaginary = vibrations(self._kinds), imaginary_modes(cm, self._kinds)
        told = [
            (vibrating & ~imaginary, "tab:orange", "partial"),
            (imaginary, "tab:red", "partial, imaginary"),
            (~vibrating, "tab:gray", "motions of the whole"),
        ]
        axes = views.spectrum(cm, width_cm, axes, broadened=vibrating, told=told)
        axes.set_title(f"PARTIAL: {self._progress()}", color="tab:red")
        return axes

    def __repr__(self) -> str:
        return f"<PartialSpectrum PARTIAL: {self._progress()}; {self._modes()}>"

    def _repr_html_(self) -> str:
        return (
            f'<div style="border-left: 4px solid #d62728; padding-left: 0.8em">'
            f"<b>PARTIAL: {escape(self._progress())}</b><br>{escape(self._modes())}<br>"
            f"<small>{escape(self.document.detail)}</small></div>"
        )

    def _modes(self) -> str:
        vibrating = self.frequencies_cm[vibrations(self._kinds)]
        return ", ".join(wavenumber(value) for value in vibrating) + " cm⁻¹"

    @property
    def _kinds(self) -> list[str]:
        # Control planes of earlier versions do not send them.
        return self.document.mode_kinds or ["vibration"] * len(self.document.freqs_cm)

    def _progress(self) -> str:
        d = self.document
        mock = "MOCK (no physics), " if d.engine == "mock" else ""
        return f"{mock}modes of {self._named()} from {d.scf_done} of {d.scf_total} SCFs"

    def _named(self) -> str:
        """Name the covered atoms: ``C12, O13``, or by their formula if they are many."""
        d = self.document
        if len(d.atoms) <= 6:
            return ", ".join(f"{symbol}{atom}" for symbol, atom in zip(d.symbols, d.atoms, strict=True))
        return f"{len(d.atoms)} atoms ({Formula.from_list(d.symbols).format('hill')})"
