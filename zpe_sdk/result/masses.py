"""The masses of the atoms of a pw.x input."""

from __future__ import annotations

import re

import numpy as np
from ase.data import atomic_masses, atomic_numbers
from numpy.typing import NDArray

from zpe_sdk.errors import InputError
from zpe_sdk.espresso.input import PwInput

# u; isotopes that are used to label vibrations and differ by more than 1 % from the standard mass
# (AME2020, rounded).
ISOTOPES: dict[str, tuple[float, ...]] = {
    "H": (2.0141, 3.0160),
    "He": (3.0160,),
    "Li": (6.0151, 7.0160),
    "B": (10.0129, 11.0093),
    "C": (13.0034, 14.0032),
    "N": (15.0001,),
    "O": (16.9991, 17.9992),
    "Mg": (24.9858, 25.9826),
    "Si": (28.9765, 29.9738),
    "S": (32.9715, 33.9679),
    "Cl": (34.9689, 36.9659),
    "Ni": (57.9353, 59.9308, 61.9283, 63.9280),
    "Cu": (62.9296, 64.9278),
    "Br": (78.9183, 80.9163),
}
# The most abundant ones, which are within 1 % of the standard mass.
COMMON: dict[str, float] = {"H": 1.007825, "B": 11.009305, "C": 12.0, "N": 14.003074, "O": 15.994915}
TOLERANCE = 0.01


def masses_of(pw_input: PwInput) -> tuple[NDArray[np.float64], list[str]]:
    """Return the mass of each atom in u, shape (nat,), and warnings about masses that look wrong.

    ``ATOMIC_SPECIES`` decides. Where it gives no positive mass the element's standard one (IUPAC, as in ASE)
    is taken, as pw.x does.
    """
    by_label: dict[str, float] = {}
    warnings = []
    symbols = dict(zip(pw_input.labels, pw_input.symbols, strict=True))
    for species in pw_input.species:
        if species.label not in symbols:
            continue
        symbol, mass = symbols[species.label], species.mass
        standard = float(atomic_masses[atomic_numbers[symbol]])
        if mass <= 0:
            mass = standard
        elif not any(
            abs(mass - known) <= TOLERANCE * known for known in (standard, *ISOTOPES.get(symbol, ()))
        ):
            warnings.append(
                f"ATOMIC_SPECIES gives {species.label} a mass of {mass:g} u; {symbol} has {standard:g} u. "
                "The frequencies follow the input"
            )
        by_label[species.label] = mass
    return np.array([by_label[label] for label in pw_input.labels]), warnings


def isotope_mass(isotope: str, symbol: str) -> float:
    """Return the mass in u of an isotope such as ``D`` or ``13C``.

    Parameters
    ----------
    isotope
        Mass number and chemical symbol, or ``D`` or ``T``.
    symbol
        Of the element it has to be of.

    Raises
    ------
    InputError
        ``bad_masses``: another element's, or none that is known here; a mass can be given as a number.
    """
    label = {"D": "2H", "T": "3H"}.get(isotope, isotope)
    found = re.fullmatch(r"(\d+)([A-Z][a-z]?)", label)
    known = [*ISOTOPES.get(symbol, ()), *((COMMON[symbol],) if symbol in COMMON else ())]
    masses = [mass for mass in known if found and found[2] == symbol and round(mass) == int(found[1])]
    if not masses:
        raise InputError(
            f"{isotope!r} is no isotope of {symbol} that is known here; give its mass in u",
            code="bad_masses",
            field="masses",
        )
    return float(masses[0])
