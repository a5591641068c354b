"""Thermodynamics of independent harmonic oscillators and free rotors: the one place for their formulas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase import units
from numpy.typing import NDArray

from zpe_sdk.errors import InputError
from zpe_sdk.vibrations.modes import CM_EV

Array = NDArray[np.float64]

GAS_CONSTANT = float(units._k * units._Nav)  # J/(mol K)
J_PER_MOL_K_IN_EV = float(units.mol / units.J)  # J/mol in 1 eV


LowModes = Literal["harmonic", "truhlar", "grimme"]

_MEAN_INERTIA = 1e-44  # kg m²


@dataclass(frozen=True)
class Thermodynamics:
    """What oscillators have at a temperature.

    Attributes
    ----------
    temperature
        In K.
    zpe_ev
        Zero-point energy in eV.
    internal_energy_ev
        U in eV, with the zero-point energy.
    entropy_jmol_k
        S in J/(mol K).
    heat_capacity_jmol_k
        At constant volume, in J/(mol K).
    """

    temperature: float
    zpe_ev: float
    internal_energy_ev: float
    entropy_jmol_k: float
    heat_capacity_jmol_k: float

    @property
    def free_energy_ev(self) -> float:
        """Helmholtz energy U − TS in eV."""
        return self.internal_energy_ev - self.temperature * self.entropy_jmol_k / J_PER_MOL_K_IN_EV

    def __add__(self, other: Thermodynamics) -> Thermodynamics:
        """Return what both have together, at the temperature of the first."""
        return Thermodynamics(
            self.temperature,
            self.zpe_ev + other.zpe_ev,
            self.internal_energy_ev + other.internal_energy_ev,
            self.entropy_jmol_k + other.entropy_jmol_k,
            self.heat_capacity_jmol_k + other.heat_capacity_jmol_k,
        )


def thermodynamics(
    frequencies_cm: Array, temperature: float, low_modes: LowModes = "harmonic", cut_cm: float = 100.0
) -> Thermodynamics:
    """Return the thermodynamics of real modes.

    Parameters
    ----------
    frequencies_cm
        Wavenumbers in cm⁻¹, all above zero.
    temperature
        In K.
    low_modes
        ``harmonic``: as they are. ``truhlar``: those below the cut are raised to it (R. F. Ribeiro et al., J.
        Phys. Chem. B 115, 14556 (2011)). ``grimme``: their entropy goes over into that of a free rotor,
        see :func:`quasi_rrho_entropy`.
    cut_cm
        In cm⁻¹.

    Raises
    ------
    InputError
        ``mode_not_real``: a mode is imaginary or zero; ``bad_model``.
    """
    if low_modes not in ("harmonic", "truhlar", "grimme"):
        raise InputError(
            f"{low_modes!r}: give 'harmonic', 'truhlar' or 'grimme'", code="bad_model", field="low_modes"
        )
    if low_modes == "truhlar":
        frequencies_cm = np.maximum(_real(frequencies_cm), cut_cm)
    return Thermodynamics(
        temperature,
        zero_point_energy(frequencies_cm),
        internal_energy(frequencies_cm, temperature),
        quasi_rrho_entropy(frequencies_cm, temperature, cut_cm)
        if low_modes == "grimme"
        else vibrational_entropy(frequencies_cm, temperature),
        heat_capacity(frequencies_cm, temperature),
    )


def free_rotor(inertia: float, symmetry_number: int, temperature: float) -> Thermodynamics:
    """Return the thermodynamics of a rotor about one axis that nothing hinders.

    Parameters
    ----------
    inertia
        Its reduced moment of inertia in u Å².
    symmetry_number
        How many times in a turn it looks as before: 3 for methyl.
    temperature
        In K.

    Notes
    -----
    S = R (1/2 + ln q), q = (8π³IkT)^½/(σh), U = RT/2, C = R/2; no zero-point energy. The classical limit,
    good where h²/8π²I is far below kT: K. S. Pitzer, W. D. Gwinn, J. Chem. Phys. 10, 428 (1942).
    """
    moment = inertia * float(units._amu) * 1e-20
    thermal = 8 * np.pi**3 * moment * float(units._k) * temperature
    states = np.sqrt(thermal) / (symmetry_number * float(units._hplanck))
    return Thermodynamics(
        temperature,
        0.0,
        float(units.kB) * temperature / 2,
        float(GAS_CONSTANT * (1 / 2 + np.log(states))),
        GAS_CONSTANT / 2,
    )


def zero_point_energy(frequencies_cm: Array) -> float:
    """Return the zero-point energy in eV of real modes given in cm⁻¹: the sum of hν/2."""
    return float(np.sum(_real(frequencies_cm)) * CM_EV / 2)


def internal_energy(frequencies_cm: Array, temperature: float) -> float:
    """Return the energy in eV of harmonic oscillators at a temperature in K, zero-point energy included.

    Notes
    -----
    U = Σ hν (1/2 + 1/(exp(x) − 1)), x = hν/kT: McQuarrie, *Statistical Mechanics* (2000), chapter 6.
    """
    x = _reduced(frequencies_cm, temperature)
    thermal = float(units.kB) * temperature * float(np.sum(x * np.exp(-x) / -np.expm1(-x)))
    return zero_point_energy(frequencies_cm) + thermal


def heat_capacity(frequencies_cm: Array, temperature: float) -> float:
    """Return the heat capacity in J/(mol K) of harmonic oscillators at a temperature in K.

    Notes
    -----
    C/R = Σ x² exp(x)/(exp(x) − 1)², x = hν/kT: McQuarrie, *Statistical Mechanics* (2000), chapter 6.
    """
    x = _reduced(frequencies_cm, temperature)
    return float(GAS_CONSTANT * np.sum(x**2 * np.exp(-x) / np.expm1(-x) ** 2))


def vibrational_entropy(frequencies_cm: Array, temperature: float) -> float:
    """Return the entropy of harmonic oscillators.

    Parameters
    ----------
    frequencies_cm
        Wavenumbers of the counted modes in cm⁻¹; all above zero.
    temperature
        In K.

    Returns
    -------
    float
        S in J/(mol K).

    Notes
    -----
    S/R = Σ x/(exp(x) − 1) − ln(1 − exp(−x)), x = hν/kT: McQuarrie, *Statistical Mechanics* (2000), chapter 6.
    """
    x = _reduced(frequencies_cm, temperature)
    # expm1 keeps the digits of low modes; exp(-x) cannot overflow for high ones.
    decay = np.exp(-x)
    return float(GAS_CONSTANT * np.sum(x * decay / -np.expm1(-x) - np.log(-np.expm1(-x))))


def quasi_rrho_entropy(frequencies_cm: Array, temperature: float, cut_cm: float) -> float:
    """Return the entropy in J/(mol K) of modes that turn into free rotors as they become low.

    Parameters
    ----------
    frequencies_cm
        Wavenumbers in cm⁻¹, all above zero.
    temperature
        In K.
    cut_cm
        Where a mode is half an oscillator and half a rotor, in cm⁻¹.

    Notes
    -----
    S = w S_oscillator + (1 − w) S_rotor, w = 1/(1 + (cut/ν)⁴), S_rotor = R (1/2 + ln √(8π³μ'kT/h²)),
    μ' = μB/(μ + B), μ = h/8π²ν and B = 10⁻⁴⁴ kg m²: S. Grimme, Chem. Eur. J. 18, 9955 (2012).
    """
    weights = 1 / (1 + (cut_cm / _real(frequencies_cm)) ** 4)
    hertz = 100 * float(units._c) * np.asarray(frequencies_cm)
    inertia = float(units._hplanck) / (8 * np.pi**2 * hertz)
    reduced = inertia * _MEAN_INERTIA / (inertia + _MEAN_INERTIA)
    thermal = 8 * np.pi**3 * reduced * float(units._k) * temperature / float(units._hplanck) ** 2
    rotors = GAS_CONSTANT * (1 / 2 + np.log(thermal) / 2)
    oscillators = np.array([vibrational_entropy(np.array([cm]), temperature) for cm in frequencies_cm])
    return float(np.sum(weights * oscillators + (1 - weights) * rotors))


def _reduced(frequencies_cm: Array, temperature: float) -> Array:
    return _real(frequencies_cm) * CM_EV / (float(units.kB) * temperature)


def _real(frequencies_cm: Array) -> Array:
    frequencies = np.asarray(frequencies_cm, dtype=np.float64)
    if not np.all(frequencies > 0):
        raise InputError(
            "imaginary and zero modes have no zero-point energy or entropy; leave them out",
            code="mode_not_real",
            field="frequencies_cm",
        )
    return frequencies
