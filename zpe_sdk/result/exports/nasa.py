"""Polynomials of a gas's thermochemistry, as kinetics programs take them: NASA-7 and Shomate."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import units
from numpy.typing import NDArray

from zpe_sdk.errors import InputError
from zpe_sdk.result.thermo import Thermochemistry

Array = NDArray[np.float64]

GAS_CONSTANT = float(units._k * units._Nav)  # J/(mol K)
STANDARD_K, STANDARD_PA = 298.15, 1e5
_KJ_PER_EV = float(units.mol / units.kJ)
_POINTS = 60  # temperatures in each range


@dataclass(frozen=True)
class NasaPolynomials:
    """Thermochemistry of a gas at 1 bar by the seven coefficients of NASA, for two ranges of temperature.

    cp/R = a1 + a2 T + a3 T² + a4 T³ + a5 T⁴, H/RT = its integral + a6/T, S/R = its integral over ln T + a7:
    B. J. McBride, S. Gordon, M. A. Reno, NASA TM-4513 (1993).

    Attributes
    ----------
    temperatures
        Where the ranges begin and end, in K: three.
    low, high
        a1 to a7, shape (7,).
    error
        The largest deviation of H/RT and S/R from what was fitted.
    """

    temperatures: tuple[float, float, float]
    low: Array
    high: Array
    error: float

    def cantera(self, name: str, symbols: list[str]) -> str:
        """Return a species in the YAML of Cantera: an item of a list ``species``."""
        composition = ", ".join(f"{symbol}: {count}" for symbol, count in Counter(symbols).items())
        rows = [[float(f"{value:.10g}") for value in row] for row in (self.low, self.high)]
        return "\n".join(
            [
                f"- name: {json.dumps(name)}",
                f"  composition: {{{composition}}}",
                "  thermo:",
                "    model: NASA7",
                "    reference-pressure: 1.0e+05",
                f"    temperature-ranges: {[float(t) for t in self.temperatures]}",
                "    data:",
                *(f"    - {row}" for row in rows),
                "",
            ]
        )


@dataclass(frozen=True)
class Shomate:
    """Thermochemistry of a gas at 1 bar by Shomate's equation, as in the NIST Chemistry WebBook.

    With t = T/1000 K: cp = A + B t + C t² + D t³ + E/t² in J/(mol K), H − H(298.15 K) = A t + B t²/2 +
    C t³/3 + D t⁴/4 − E/t + F − H in kJ/mol, S = A ln t + B t + C t²/2 + D t³/3 − E/2t² + G in J/(mol K).

    Attributes
    ----------
    temperatures
        From where to where it holds, in K.
    coefficients
        A to H, shape (8,).
    """

    temperatures: tuple[float, float]
    coefficients: Array


def nasa_polynomials(
    thermo: Callable[[float], Thermochemistry],
    temperatures: tuple[float, float, float] = (200.0, 1000.0, 3000.0),
    *,
    formation_enthalpy_kj_mol: float | None = None,
) -> NasaPolynomials:
    """Fit NASA polynomials to the thermochemistry of a gas.

    Parameters
    ----------
    thermo
        The thermochemistry at a temperature in K and 1 bar, such as
        ``lambda t: result.thermo(t, 1e5, "ideal_gas")``.
    temperatures
        Where the two ranges begin and end, in K.
    formation_enthalpy_kj_mol
        At 298.15 K. None: enthalpies are on the scale of pw.x's energies, which is the same for all species
        of the same pseudopotentials.

    Raises
    ------
    InputError
        ``bad_temperature``: the temperatures do not ascend.
    """
    start, middle, end = _ascending(temperatures, 3)
    offset = _offset(thermo, formation_enthalpy_kj_mol)
    rows, targets = [], []
    for part, (first, last) in enumerate(((start, middle), (middle, end))):
        t = np.linspace(first, last, _POINTS)
        fits = [thermo(float(value)) for value in t]
        energies = np.array([fit.enthalpy_ev + fit.energy_ev for fit in fits])
        # On their own scale, energies would drown what depends on the temperature.
        enthalpies = (energies - energies[0]) * _KJ_PER_EV * 1e3 / GAS_CONSTANT / t
        for values, basis in (
            (enthalpies, _enthalpy(t)),
            (np.array([fit.entropy_jmol_k for fit in fits]) / GAS_CONSTANT, _entropy(t)),
        ):
            row = np.zeros((len(t), 14))
            row[:, 7 * part : 7 * part + 7] = basis
            rows.append(row)
            targets.append(values)
    matrix, target = np.vstack(rows), np.concatenate(targets)
    # Each range has enthalpies from its own beginning: the difference is known, and so is continuity.
    m = np.array([middle])
    joined = np.zeros((3, 14))
    for n, basis in enumerate((_capacity(m), _enthalpy(m), _entropy(m))):
        joined[n] = np.concatenate([basis[0], -basis[0]])
    step = thermo(middle).enthalpy_ev - thermo(start).enthalpy_ev
    right = np.array([0.0, step * _KJ_PER_EV * 1e3 / GAS_CONSTANT / middle, 0.0])
    # Columns from 1 to T⁴ are scaled to be of a size.
    scale = np.linalg.norm(matrix, axis=0)
    solution = _constrained(matrix / scale, target, joined / scale, right) / scale
    error = float(np.max(np.abs(matrix @ solution - target)))
    low, high = solution[:7].copy(), solution[7:].copy()
    at_start = (thermo(start).enthalpy_ev + thermo(start).energy_ev) * _KJ_PER_EV * 1e3 / GAS_CONSTANT
    at_middle = (thermo(middle).enthalpy_ev + thermo(middle).energy_ev) * _KJ_PER_EV * 1e3 / GAS_CONSTANT
    low[5] += at_start + offset * 1e3 / GAS_CONSTANT
    high[5] += at_middle + offset * 1e3 / GAS_CONSTANT
    return NasaPolynomials((start, middle, end), low, high, error)


def shomate(
    thermo: Callable[[float], Thermochemistry],
    temperatures: tuple[float, float] = (298.15, 1500.0),
    *,
    formation_enthalpy_kj_mol: float | None = None,
) -> Shomate:
    """Fit Shomate's equation to the thermochemistry of a gas; parameters as of :func:`nasa_polynomials`."""
    start, end = _ascending(temperatures, 2)
    offset = _offset(thermo, formation_enthalpy_kj_mol)
    kelvin = np.linspace(start, end, 2 * _POINTS)
    t, fits = kelvin / 1000, [thermo(float(value)) for value in kelvin]
    standard = thermo(STANDARD_K)
    heats = np.array([fit.enthalpy_ev - standard.enthalpy_ev for fit in fits]) * _KJ_PER_EV
    entropies = np.array([fit.entropy_jmol_k for fit in fits])
    one, none = np.ones_like(t), np.zeros_like(t)
    matrix = np.vstack(
        [
            np.column_stack([t, t**2 / 2, t**3 / 3, t**4 / 4, -1 / t, one, none]),
            np.column_stack([np.log(t), t, t**2 / 2, t**3 / 3, -1 / (2 * t**2), none, one]),
        ]
    )
    found = np.linalg.lstsq(matrix, np.concatenate([heats, entropies]))[0]
    formation = (standard.enthalpy_ev + standard.energy_ev) * _KJ_PER_EV + offset
    a_to_e, f, g = found[:5], found[5], found[6]
    return Shomate((start, end), np.array([*a_to_e, f + formation, g, formation]))


def _offset(thermo: Callable[[float], Thermochemistry], formation_kj_mol: float | None) -> float:
    """Return in kJ/mol by how much to shift pw.x's enthalpies."""
    if formation_kj_mol is None:
        return 0.0
    standard = thermo(STANDARD_K)
    return formation_kj_mol - (standard.enthalpy_ev + standard.energy_ev) * _KJ_PER_EV


def _ascending(temperatures: tuple[float, ...], count: int) -> tuple[float, ...]:
    given = tuple(float(t) for t in temperatures)
    if len(given) != count or given[0] <= 0 or any(np.diff(given) <= 0):
        raise InputError(
            f"give {count} temperatures in K that ascend", code="bad_temperature", field="temperatures"
        )
    return given


def _capacity(t: Array) -> Array:
    return np.column_stack([t**n for n in range(5)] + [0 * t, 0 * t])


def _enthalpy(t: Array) -> Array:
    return np.column_stack([t**n / (n + 1) for n in range(5)] + [1 / t, 0 * t])


def _entropy(t: Array) -> Array:
    return np.column_stack([np.log(t)] + [t**n / n for n in range(1, 5)] + [0 * t, 0 * t + 1])


def _constrained(matrix: Array, target: Array, joined: Array, right: Array) -> Array:
    """Solve least squares under linear conditions, within the space that these leave free."""
    particular = np.linalg.pinv(joined) @ right
    free = np.linalg.svd(joined)[2][len(joined) :].T
    solution: Array = particular + free @ np.linalg.lstsq(matrix @ free, target - matrix @ particular)[0]
    return solution
