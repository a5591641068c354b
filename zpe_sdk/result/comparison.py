"""Two results side by side: what their numbers differ by, and what they were computed differently with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zpe_sdk.result.data import ResultData
from zpe_sdk.result.differences import differences
from zpe_sdk.result.plots import package
from zpe_sdk.vibrations.kinds import vibrations
from zpe_sdk.vibrations.modes import wavenumber

if TYPE_CHECKING:
    from pandas import DataFrame

Array = NDArray[np.float64]
# Of the squared overlap: less, and no mode of the other result is the same motion.
ALIKE = 0.5
DEGENERATE_CM = 1.0  # nearer, and modes count as of the same wavenumber


@dataclass(frozen=True)
class ModePair:
    """A vibration of one result, and that of the other which is most like it.

    Attributes
    ----------
    mode, other_mode
        Their numbers, from 0.
    wavenumber_cm, other_cm
        In cm⁻¹, imaginary ones negative.
    overlap
        Squared overlap of the mass-weighted displacements: 1 for the same motion. Of modes of the same
        wavenumber any mixture is as good: it is that with all of them.
    motion
        What moves, in words.
    """

    mode: int
    other_mode: int
    wavenumber_cm: float
    other_cm: float
    overlap: float
    motion: str

    @property
    def shift_cm(self) -> float:
        """The wavenumber of the other one above this one's, in cm⁻¹."""
        return self.other_cm - self.wavenumber_cm


@dataclass(frozen=True, repr=False)
class Comparison:
    """What another result differs by; all differences are the other one minus this one.

    Attributes
    ----------
    energy_ev
        Difference of the energies of the SCFs in eV. It means something only without ``settings``.
    zpe_ev
        Difference of the zero-point energies in eV.
    zpe_error_ev
        What both zero-point energies are uncertain by together (noise and grid) in eV; None: not known.
    free_energy_ev
        Difference of the vibrational free energies F in eV, each at its own temperature.
    modes
        The vibrations, pair by pair; empty if these are not the same atoms.
    settings
        What differs in how they were computed, in sentences.
    """

    energy_ev: float
    zpe_ev: float
    zpe_error_ev: float | None
    free_energy_ev: float
    modes: tuple[ModePair, ...]
    settings: tuple[str, ...]

    @property
    def largest_shift_cm(self) -> float:
        """Of all vibrations, in cm⁻¹; NaN if there are none to compare."""
        return max((pair.shift_cm for pair in self.modes), key=abs, default=float("nan"))

    def table(self) -> DataFrame:
        """Return the pairs of vibrations as a pandas table; needs pandas."""
        pd = package("pandas")
        rows = [
            {
                "mode": pair.mode,
                "other_mode": pair.other_mode,
                "wavenumber_cm": pair.wavenumber_cm,
                "other_cm": pair.other_cm,
                "shift_cm": pair.shift_cm,
                "overlap": pair.overlap,
                "motion": pair.motion,
            }
            for pair in self.modes
        ]
        return pd.DataFrame(rows)

    def summary(self) -> str:
        """Return the comparison as a text for people."""
        error = "" if self.zpe_error_ev is None else f"   (± {1000 * self.zpe_error_ev:.2g} meV)"
        lines = [f"ΔZPE   {1000 * self.zpe_ev:+10.2f} meV{error}"]
        lines.append(f"ΔF_vib {1000 * self.free_energy_ev:+10.2f} meV")
        comparable = "" if not self.settings else "   (of different settings: it means nothing)"
        lines.append(f"ΔE_scf {1000 * self.energy_ev:+10.2f} meV{comparable}")
        if self.modes:
            lines += ["", "   this/cm⁻¹  other/cm⁻¹    shift  overlap  what moves"]
        for pair in self.modes:
            here, there = wavenumber(pair.wavenumber_cm, 1), wavenumber(pair.other_cm, 1)
            unlike = "" if pair.overlap >= ALIKE else "  (another motion)"
            lines.append(
                f"{here:>12} {there:>11} {pair.shift_cm:+8.1f} {pair.overlap:8.2f}  {pair.motion}{unlike}"
            )
        if self.settings:
            lines += ["", "Computed differently:", *(f"- {sentence}" for sentence in self.settings)]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        return f'<pre style="white-space: pre-wrap; word-break: normal">{escape(self.summary())}</pre>'


def compared(this: ResultData, other: ResultData) -> Comparison:
    """Compare two results; see :meth:`zpe_sdk.result.result.ZPEResult.compare`."""
    a, b = this.document, other.document
    errors = [document.checks.get("zpe_error_ev") for document in (a, b)]
    known = [float(error) for error in errors if error is not None]
    settings = differences({"this": a, "other": b})
    for name, here, there in (
        ("temperature", a.temperature, b.temperature),
        ("cut of low modes in cm⁻¹", a.low_cut_cm, b.low_cut_cm),
    ):
        if here != there:
            settings.append(f"{name}: {here:g} (this), {there:g} (other)")
    same_atoms = [a.symbols[i] for i in a.mobile_indices] == [b.symbols[i] for i in b.mobile_indices]
    return Comparison(
        energy_ev=b.energy_ev - a.energy_ev,
        zpe_ev=b.zpe_ev - a.zpe_ev,
        zpe_error_ev=math.hypot(*known) if len(known) == 2 else None,
        free_energy_ev=b.f_vib_ev - a.f_vib_ev,
        modes=_pairs(this, other) if same_atoms else (),
        settings=tuple(settings),
    )


def _pairs(this: ResultData, other: ResultData) -> tuple[ModePair, ...]:
    mine, theirs = (np.flatnonzero(vibrations(r.document.mode_kinds)) for r in (this, other))
    if not len(mine) or not len(theirs):
        return ()
    turned = np.einsum("kax,xy->kay", _weighted(other)[theirs], _rotation(this, other))
    overlaps = np.einsum("iax,jax->ij", _weighted(this)[mine], turned) ** 2
    motions, cm = this.assignments, other.frequencies_cm[theirs]
    from scipy.optimize import linear_sum_assignment

    return tuple(
        ModePair(
            int(mine[i]),
            int(theirs[j]),
            float(this.frequencies_cm[mine[i]]),
            float(other.frequencies_cm[theirs[j]]),
            float(overlaps[i, np.abs(cm - cm[j]) < DEGENERATE_CM].sum()),
            motions[int(mine[i])],
        )
        for i, j in zip(*linear_sum_assignment(-overlaps), strict=True)
    )


def _weighted(result: ResultData) -> Array:
    """Return the mass-weighted modes, each normalised to 1, shape (3M, M, 3)."""
    modes = result.modes * np.sqrt(result.masses)[:, None]
    return np.asarray(modes / np.sqrt((modes**2).sum(axis=(1, 2), keepdims=True)))


def _rotation(this: ResultData, other: ResultData) -> Array:
    """Return the rotation R with which vectors v of the other one become v R here, shape (3, 3).

    Where atoms are held, the cell is the frame. A molecule is turned onto the other (Kabsch).
    """
    if this.document.fixed_indices or other.document.fixed_indices or len(this.masses) < 2:
        return np.eye(3)
    here, there = (
        np.array(result.document.positions)[result.document.mobile_indices] for result in (this, other)
    )
    here, there = here - here.mean(axis=0), there - there.mean(axis=0)
    if np.abs(here - there).max() < 0.1:  # Å: in the same frame already, images and all
        return np.eye(3)
    left, _, right = np.linalg.svd(there.T @ here)
    proper = np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    return np.asarray(left @ proper @ right)
