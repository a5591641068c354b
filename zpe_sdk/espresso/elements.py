"""Which element a species is of: pw.x lets its label be any text, so mass and pseudopotential have a say."""

from __future__ import annotations

import math
import re

from ase.data import atomic_masses, atomic_numbers

from zpe_sdk.errors import InputError

# Two masses whose ratio is nearer to 1 than this may be of one element: 13C and C, not S and Si.
_SAME_MASS = math.log(1.1)
_HEAVY_HYDROGEN = {"D": 2.0141, "T": 3.0160}  # u


def element_of(label: str, mass: float, pseudopotential: str) -> str:
    """Return the chemical symbol of a species.

    Parameters
    ----------
    label
        Of the species: a symbol, alone or followed by letters, digits or signs, as ``Fe1``, ``C_h``, ``Oh``,
        ``Cuh``, ``Li+``. ``D`` and ``T`` are hydrogen.
    mass
        In u, from ATOMIC_SPECIES; not positive: not given.
    pseudopotential
        Name of the file, which begins with the symbol by custom.

    Raises
    ------
    InputError
        ``unknown_element``: the label can be read in two ways, or in none, and neither the file's name nor
        the mass decides.

    Notes
    -----
    ``Cuh`` could be Cu or C, and ``Co`` a C atom beside an O. Of the readings, that of the file's name holds,
    then the one whose mass is given, then a label that is a symbol. What begins with no symbol (``X1``) is
    of the element that file and mass agree on.
    """
    readings = [symbol for symbol in (_symbol(label[:2]), _symbol(label[:1])) if symbol]
    in_file = re.match(r"([A-Za-z]{1,2})(?![A-Za-z])", pseudopotential)
    file = _symbol(in_file[1]) if in_file else None
    if label[:1] in _HEAVY_HYDROGEN and (file == "H" or _is_near(mass, _HEAVY_HYDROGEN[label[0]])):
        if mass <= 0:
            raise _error(f"{label}: ATOMIC_SPECIES has to give the mass of heavy hydrogen", "bad_input")
        return "H"
    if file in readings:
        return str(file)
    by_mass = sorted((s for s in readings if _is_near(mass, _mass(s))), key=lambda s: _apart(mass, _mass(s)))
    if len(readings) == 1 or by_mass:
        return (by_mass or readings)[0]
    if readings and re.fullmatch(r"[A-Za-z]{1,2}(?![A-Za-z]).*", label):
        return readings[0]
    if not readings and file and _is_near(mass, _mass(file)):
        return file
    if readings:
        raise _error(
            f"the species {label!r} can be {' or '.join(readings)}; neither the mass {mass:g} nor the file "
            f"{pseudopotential} tells: call it {readings[0]}1 or {readings[1]}1"
        )
    raise _error(f"the species {label!r} names no chemical element, and mass and file do not agree on one")


def _symbol(text: str) -> str | None:
    symbol = text.capitalize()
    return symbol if symbol in atomic_numbers and symbol != "X" else None


def _mass(symbol: str) -> float:
    return float(atomic_masses[atomic_numbers[symbol]])


def _apart(mass: float, other: float) -> float:
    return abs(math.log(mass / other))


def _is_near(mass: float, other: float) -> bool:
    return mass > 0 and _apart(mass, other) < _SAME_MASS


def _error(message: str, code: str = "unknown_element") -> InputError:
    return InputError(message, code=code, field="ATOMIC_SPECIES")
