"""The masses of atoms: those of a pw.x input, and other isotopes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from ase.data import atomic_masses, atomic_numbers
from numpy.typing import NDArray

from zpe_sdk.errors import InputError
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.wire import ZPEResultDocument

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


def chosen_masses(
    given: Mapping[int | str, float | str] | Sequence[float], document: ZPEResultDocument
) -> NDArray[np.float64]:
    """Return the masses of the mobile atoms of a result in u, shape (M,), with other isotopes in it.

    Parameters
    ----------
    given
        See :meth:`zpe_sdk.result.result.ZPEResult.with_masses`.
    document
        The result; what is not given stays as it is there.

    Raises
    ------
    InputError
        ``bad_masses``.
    """
    if not isinstance(given, Mapping):
        try:
            return np.array([float(mass) for mass in given])
        except (TypeError, ValueError):
            raise InputError(
                'give a mass in u for each mobile atom, or a dict such as {"H": "D"}',
                code="bad_masses",
                field="masses",
            ) from None
    mobile = document.mobile_indices
    symbols = {i: document.symbols[i] for i in mobile}
    absent = set(given) - set(symbols) - set(symbols.values())
    # Of many results, some have no atom of an element: there is nothing to change in them.
    elsewhere = {key for key in absent if isinstance(key, str) and key in atomic_numbers}
    if wrong := absent - elsewhere:
        named = ", ".join(str(key) for key in sorted(wrong, key=str))
        raise InputError(f"no mobile atom is {named}", code="bad_masses", field="masses")
    for symbol in elsewhere:
        if isinstance(isotope := given[symbol], str):
            isotope_mass(isotope, str(symbol))
    chosen = np.array(document.masses)
    for place, i in enumerate(mobile):
        mass = given.get(i, given.get(symbols[i], chosen[place]))
        chosen[place] = isotope_mass(mass, symbols[i]) if isinstance(mass, str) else mass
    return chosen


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
