"""How an SCF's time grows with its size, to compare SCFs that are alike."""

from __future__ import annotations

import numpy as np
from ase.data import atomic_numbers

from zpe_sdk.espresso.input import PwInput

_NOBLE = (0, 2, 10, 18, 36, 54, 86)  # electrons of the closed shells below
_USUAL_CUTOFF = 50.0  # Ry


def scf_cost(pw_input: PwInput) -> float:
    """Return a number to which the time of an SCF is roughly proportional.

    Each iteration transforms every band at every k-point between plane waves and grid: k-points (each spin
    for itself, k and -k once) times electrons outside of closed shells, times plane waves, of which there
    are V E^1.5 / 6π² in atomic units (Martin, Electronic Structure, ch. 12). It says nothing of what symmetry
    saves, nor of the orthogonalisation, which takes over in large cells: so it is for comparing SCFs of about
    the same size.
    """
    system = pw_input.namelists["system"]
    points = pw_input.kpoints.points
    count = len(points) if points else max(1.0, float(np.prod(pw_input.mesh)) / 2)
    spins = 2 if system.get("nspin") == 2 else 4 if system.get("noncolin") else 1
    electrons = sum(_valence(atomic_numbers[symbol]) for symbol in pw_input.symbols)
    volume = abs(float(np.linalg.det(pw_input.cell)))
    cutoff = pw_input.cutoffs[0] or _USUAL_CUTOFF
    return float(count * spins * electrons * volume * cutoff**1.5)


def _valence(number: int) -> int:
    return number - max(core for core in _NOBLE if core < number)
