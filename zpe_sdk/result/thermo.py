"""Thermochemistry of a result: our oscillators, and the rigid gas molecule of ASE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log
from numbers import Real
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zpe_sdk.errors import InputError
from zpe_sdk.plain import CELL
from zpe_sdk.result.data import ResultData
from zpe_sdk.result.gas import Geometry, count_rotations, electronic_spin, gas_molecule, geometry
from zpe_sdk.result.turning import Bonds, turning_groups
from zpe_sdk.vibrations.kinds import vibrations
from zpe_sdk.vibrations.oscillators import (
    GAS_CONSTANT,
    J_PER_MOL_K_IN_EV,
    LowModes,
    Thermodynamics,
    free_rotor,
    thermodynamics,
)
from zpe_sdk.vibrations.rotors import Rotor
from zpe_sdk.wire.jobs import MAX_KELVIN, MIN_KELVIN

Model = Literal["harmonic", "ideal_gas", "quasi_harmonic"]
Array = NDArray[np.float64]

# Heat capacity at constant pressure of translation and rotation, in R.
RIGID: dict[Geometry, float] = {"monatomic": 5 / 2, "linear": 7 / 2, "nonlinear": 4.0}
LOW_CM = 100.0  # as Ribeiro et al. and Grimme have it, see zpe_sdk.vibrations.oscillators


@dataclass(frozen=True, repr=False)
class Thermochemistry:
    """What to add to the energy of the SCF at a temperature (and pressure).

    Attributes
    ----------
    model
        ``harmonic``, ``ideal_gas`` or ``quasi_harmonic``.
    temperature
        In K.
    pressure
        In Pa; None where the model has none.
    zpe_ev
        Zero-point energy in eV of the modes that the model counts.
    internal_energy_ev
        U in eV, with the zero-point energy.
    enthalpy_ev
        H in eV: U + kT for the ideal gas, else U.
    entropy_jmol_k
        S in J/(mol K).
    free_energy_ev
        G = H − TS in eV for the ideal gas, else F = U − TS.
    heat_capacity_jmol_k
        In J/(mol K): at constant pressure for the ideal gas, else at constant volume.
    energy_ev
        Energy of the SCF in eV; ``energy_ev + free_energy_ev`` is the free energy on pw.x's scale.
    symmetry_number, spin
        Of the ideal gas; else None.
    """

    model: Model
    temperature: float
    pressure: float | None
    zpe_ev: float
    internal_energy_ev: float
    enthalpy_ev: float
    entropy_jmol_k: float
    free_energy_ev: float
    heat_capacity_jmol_k: float
    energy_ev: float
    symmetry_number: int | None = None
    spin: float | None = None

    def _rows(self) -> list[tuple[str, str]]:
        # A tenth of a meV, and as much of the entropy: TS is 0.1 meV at 300 K for 0.03 J/(mol K).
        free = "G" if self.model == "ideal_gas" else "F"
        return [
            ("ZPE", f"{self.zpe_ev:.4f} eV"),
            ("U", f"{self.internal_energy_ev:.4f} eV"),
            ("H", f"{self.enthalpy_ev:.4f} eV"),
            ("S", f"{self.entropy_jmol_k:.2f} J/(mol K)"),
            (free, f"{self.free_energy_ev:.4f} eV"),
            (f"E + {free}", f"{self.energy_ev + self.free_energy_ev:.4f} eV"),
        ]

    def _conditions(self) -> str:
        told = [f"{self.model.replace('_', ' ')}, {self.temperature:g} K"]
        if self.pressure is not None:
            told.append(f"{self.pressure / 1e5:g} bar")
        if self.symmetry_number is not None:
            told.append(f"symmetry number {self.symmetry_number}, spin {self.spin:g}")
        return ", ".join(told)

    def __repr__(self) -> str:
        values = ", ".join(f"{name} {value}" for name, value in self._rows())
        return f"<Thermochemistry ({self._conditions()}): {values}>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th {CELL}>{name}</th><td {CELL}>{value}</td></tr>" for name, value in self._rows()
        )
        return f"<table><caption>{self._conditions()}</caption>{rows}</table>"


def check_temperature(temperature: object) -> None:
    """Refuse what is no temperature in K.

    Raises
    ------
    InputError
        ``bad_temperature``.
    """
    number = isinstance(temperature, Real) and not isinstance(temperature, bool)
    if not number or not MIN_KELVIN <= float(temperature) <= MAX_KELVIN:  # type: ignore[arg-type]
        raise InputError(
            f"the temperature is a number from {MIN_KELVIN:g} to {MAX_KELVIN:g} K, not {temperature!r}",
            code="bad_temperature",
            field="temperature",
        )


def thermochemistry(
    result: ResultData,
    temperature: float,
    pressure: float = 1e5,
    model: Model = "harmonic",
    *,
    symmetry_number: int | None = None,
    spin: float | None = None,
    degeneracy: int | None = None,
    low_modes: LowModes = "harmonic",
    cut_cm: float = LOW_CM,
    free_rotors: Bonds = (),
) -> Thermochemistry:
    """Return the thermochemistry of a result; see :meth:`zpe_sdk.result.result.ZPEResult.thermo`."""
    check_temperature(temperature)
    if not isinstance(pressure, Real) or not 0 < pressure < inf:
        raise InputError("the pressure must be above 0 Pa", code="bad_pressure", field="pressure")
    if not isinstance(cut_cm, Real) or not 0 < cut_cm < inf:
        raise InputError("the cut must be above 0 cm⁻¹", code="bad_cutoff", field="cut_cm")
    saddle = result.document.expect == "saddle"
    if saddle and (count := int(result.imaginary.sum())) != 1:
        raise InputError(
            f"a first-order saddle point has one imaginary vibration; this structure has {count or 'none'}",
            code="no_saddle_point",
            field="expect",
        )
    match model:
        case "ideal_gas":
            return _ideal_gas(
                result,
                temperature,
                pressure,
                symmetry_number=symmetry_number,
                spin=spin,
                degeneracy=degeneracy,
                saddle=saddle,
                low_modes=low_modes,
                cut_cm=cut_cm,
                free_rotors=free_rotors,
            )
        case "quasi_harmonic":
            low_modes = "truhlar" if low_modes == "harmonic" else low_modes
        case "harmonic":
            pass
        case _:
            raise InputError(
                f"{model!r}: give 'harmonic', 'ideal_gas' or 'quasi_harmonic'",
                code="bad_model",
                field="model",
            )
    cm = result.frequencies_cm
    # What treats low modes with care leaves none of them out.
    counted = result.counted if low_modes == "harmonic" else (cm > 0) & vibrations(result.document.mode_kinds)
    rotors, replaced = turning_groups(result, free_rotors)
    heat = thermodynamics(cm[counted & ~replaced], temperature, low_modes, cut_cm)
    return _of_solid(result, model, _with_rotors(heat, rotors))


def _of_solid(result: ResultData, model: Model, heat: Thermodynamics) -> Thermochemistry:
    return Thermochemistry(
        model=model,
        temperature=heat.temperature,
        pressure=None,
        zpe_ev=heat.zpe_ev,
        internal_energy_ev=heat.internal_energy_ev,
        enthalpy_ev=heat.internal_energy_ev,
        entropy_jmol_k=heat.entropy_jmol_k,
        free_energy_ev=heat.free_energy_ev,
        heat_capacity_jmol_k=heat.heat_capacity_jmol_k,
        energy_ev=result.document.energy_ev,
    )


def _ideal_gas(
    result: ResultData,
    temperature: float,
    pressure: float,
    *,
    symmetry_number: int | None,
    spin: float | None,
    degeneracy: int | None,
    saddle: bool,
    low_modes: LowModes,
    cut_cm: float,
    free_rotors: Bonds,
) -> Thermochemistry:
    # Not imported above: it brings half a second of imports that a result alone does not need.
    from ase.thermochemistry import IdealGasThermo

    if spin is not None and (not isinstance(spin, Real) or not 0 <= spin < inf or 2 * spin % 1):
        raise InputError("the spin is 0, 0.5, 1, 1.5, …", code="bad_spin", field="spin")
    _check_whole(symmetry_number, "symmetry_number", "the symmetry number", "bad_symmetry_number")
    _check_whole(degeneracy, "degeneracy", "the electronic degeneracy", "bad_spin")
    molecule = gas_molecule(result)
    vibrating = vibrations(result.document.mode_kinds)
    if saddle:
        vibrating &= ~result.imaginary
    rotors, replaced = turning_groups(result, free_rotors)
    vibrating &= ~replaced
    frequencies = result.frequencies_cm[vibrating]
    if np.any(frequencies <= 0):
        raise InputError(
            "a vibration is imaginary or zero: this is no minimum, and has no thermochemistry of a gas; "
            "that of a transition state leaves its one imaginary vibration out: result.expecting('saddle')",
            code="mode_not_real",
            field="model",
        )
    if spin is None:
        # With the degeneracy given, nothing else hangs on the spin.
        spin = 0.0 if degeneracy is not None else electronic_spin(result.document)
    sigma = count_rotations(molecule) if symmetry_number is None else symmetry_number
    rotor = geometry(molecule)
    # Of ASE come translation, rotation and spin; the vibrations are ours, as in the other models.
    rigid = IdealGasThermo([], rotor, atoms=molecule, symmetrynumber=sigma, spin=spin, vib_selection="all")
    heat = _with_rotors(thermodynamics(frequencies, temperature, low_modes, cut_cm), rotors)
    enthalpy = heat.internal_energy_ev + float(rigid.get_enthalpy(temperature, verbose=False))
    entropy = heat.entropy_jmol_k + J_PER_MOL_K_IN_EV * float(
        rigid.get_entropy(temperature, pressure, verbose=False)
    )
    if degeneracy is not None:
        entropy += GAS_CONSTANT * log(degeneracy / (2 * spin + 1))
    return Thermochemistry(
        model="ideal_gas",
        temperature=temperature,
        pressure=pressure,
        zpe_ev=heat.zpe_ev,
        internal_energy_ev=heat.internal_energy_ev
        + float(rigid.get_internal_energy(temperature, verbose=False)),
        enthalpy_ev=enthalpy,
        entropy_jmol_k=entropy,
        free_energy_ev=enthalpy - temperature * entropy / J_PER_MOL_K_IN_EV,
        heat_capacity_jmol_k=heat.heat_capacity_jmol_k + RIGID[rotor] * GAS_CONSTANT,
        energy_ev=result.document.energy_ev,
        symmetry_number=sigma,
        spin=spin,
    )


def gas_thermochemistry(result: ResultData, temperature: float) -> Thermochemistry | None:
    """Return that of a free molecule as an ideal gas at 1 bar.

    None if there is no molecule, it is not at rest, or its spin is not known.
    """
    try:
        return thermochemistry(result, temperature, 1e5, "ideal_gas")
    except InputError:
        return None


def _with_rotors(heat: Thermodynamics, rotors: Sequence[Rotor]) -> Thermodynamics:
    turning = [free_rotor(rotor.inertia, rotor.symmetry_number, heat.temperature) for rotor in rotors]
    return sum(turning, start=heat)


def _check_whole(value: object, field: str, what: str, code: str) -> None:
    if value is not None and not (
        isinstance(value, int | np.integer) and not isinstance(value, bool) and value > 0
    ):
        raise InputError(f"{what} is a whole number from 1 on", code=code, field=field)
