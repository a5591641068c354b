"""Molden files, which Molden, Jmol, Gabedit, Avogadro and Open Babel read."""

from __future__ import annotations

import numpy as np
from ase.units import Bohr

from zpe_sdk.result.data import ResultData
from zpe_sdk.result.moves import in_one_piece, mode_moves
from zpe_sdk.vibrations.kinds import vibrations


def molden(result: ResultData) -> str:
    """Return the vibrations, with their intensities if these are known, in the format of Molden.

    Wavenumbers in cm⁻¹ (imaginary ones negative), lengths in bohr, intensities in km/mol:
    https://www.theochem.ru.nl/molden/molden_format.html
    """
    symbols, places = result.atoms.get_chemical_symbols(), in_one_piece(result)
    which = np.flatnonzero(vibrations(result.document.mode_kinds))
    intensities = result.ir_intensities
    lines = ["[Molden Format]", "[Atoms] AU"]
    lines += [
        f"{symbol} {n} {number} {_vector(place)}"
        for n, (symbol, number, place) in enumerate(
            zip(symbols, result.atoms.numbers, places / Bohr, strict=True), start=1
        )
    ]
    lines += ["[FREQ]", *(f"{result.frequencies_cm[k]:.4f}" for k in which)]
    if intensities is not None:
        lines += ["[INT]", *(f"{intensities[k]:.4f}" for k in which)]
    lines.append("[FR-COORD]")
    lines += [f"{symbol} {_vector(place)}" for symbol, place in zip(symbols, places / Bohr, strict=True)]
    lines.append("[FR-NORM-COORD]")
    for n, k in enumerate(which, start=1):
        lines += [f"vibration {n}", *map(_vector, mode_moves(result, int(k)))]
    return "\n".join(lines) + "\n"


def _vector(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    return " ".join(f"{value:.8f}" for value in values)
