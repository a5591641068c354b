"""Thermochemistry of a result in three models: our oscillators, and the rigid gas molecule of ASE."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from math import inf
from numbers import Real
from typing import Literal

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from zpe_sdk.errors import InputError
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.result.data import ResultData
from zpe_sdk.vibrations.kinds import LINEAR_SHARE, vibrations
from zpe_sdk.vibrations.molecule import find_molecule
from zpe_sdk.vibrations.oscillators import J_PER_MOL_K_IN_EV, thermodynamics
from zpe_sdk.wire import ZPEResultDocument
from zpe_sdk.wire.jobs import MAX_KELVIN, MIN_KELVIN

Model = Literal["harmonic", "ideal_gas", "quasi_harmonic"]
Geometry = Literal["monatomic", "linear", "nonlinear"]
Array = NDArray[np.float64]

RAISED_CM = 100.0  # R. F. Ribeiro et al., J. Phys. Chem. B 115, 14556 (2011)
UNPAIRED = 0.1  # Bohr magnetons; a total magnetisation this near to a whole number is one
# tot_magnetization where it is not given, as older and newer pw.x have it.
UNSET_MAGNETIZATION = (-1, -10000)
_SAME = 0.1  # Å; a turned molecule whose atoms are this near to where others were is the same


@dataclass(frozen=True)
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
    energy_ev
        Energy of the SCF in eV; ``energy_ev + free_energy_ev`` is the free energy on pw.x's scale.
    symmetry_number
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
    energy_ev: float
    symmetry_number: int | None = None


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
    pressure: float,
    model: Model,
    *,
    symmetry_number: int | None,
    spin: float | None,
    raised_cm: float = RAISED_CM,
) -> Thermochemistry:
    """Return the thermochemistry of a result; see :meth:`zpe_sdk.result.result.ZPEResult.thermo`.

    ``raised_cm`` is the wavenumber that the quasi-harmonic model raises lower ones to.
    """
    check_temperature(temperature)
    if not isinstance(pressure, Real) or not 0 < pressure < inf:
        raise InputError("the pressure must be above 0 Pa", code="bad_pressure", field="pressure")
    saddle = result.document.expect == "saddle"
    if saddle and (count := int(result.imaginary.sum())) != 1:
        raise InputError(
            f"a first-order saddle point has one imaginary vibration; this structure has {count or 'none'}",
            code="no_saddle_point",
            field="expect",
        )
    if model == "ideal_gas":
        return _ideal_gas(result, temperature, pressure, symmetry_number, spin, saddle)
    if model not in ("harmonic", "quasi_harmonic"):
        raise InputError(
            f"{model!r}: give 'harmonic', 'ideal_gas' or 'quasi_harmonic'", code="bad_model", field="model"
        )
    cm = result.frequencies_cm
    if model == "harmonic":
        counted = cm[result.counted]
    else:
        counted = np.maximum(cm[(cm > 0) & vibrations(result.document.mode_kinds)], raised_cm)
    heat = thermodynamics(counted, temperature)
    return Thermochemistry(
        model=model,
        temperature=temperature,
        pressure=None,
        zpe_ev=heat.zpe_ev,
        internal_energy_ev=heat.internal_energy_ev,
        enthalpy_ev=heat.internal_energy_ev,
        entropy_jmol_k=heat.entropy_jmol_k,
        free_energy_ev=heat.free_energy_ev,
        energy_ev=result.document.energy_ev,
    )


def _ideal_gas(
    result: ResultData,
    temperature: float,
    pressure: float,
    symmetry_number: int | None,
    spin: float | None,
    saddle: bool,
) -> Thermochemistry:
    # Not imported above: it brings half a second of imports that a result alone does not need.
    from ase.thermochemistry import IdealGasThermo

    if spin is not None and (not isinstance(spin, Real) or not 0 <= spin < inf or 2 * spin % 1):
        raise InputError("the spin is 0, 0.5, 1, 1.5, …", code="bad_spin", field="spin")
    if symmetry_number is not None and not (
        isinstance(symmetry_number, int | np.integer) and symmetry_number > 0
    ):
        raise InputError(
            "the symmetry number is a whole number from 1 on, 4 for D2h",
            code="bad_symmetry_number",
            field="symmetry_number",
        )
    molecule = gas_molecule(result)
    vibrating = vibrations(result.document.mode_kinds)
    if saddle:
        vibrating &= ~result.imaginary
    frequencies = result.frequencies_cm[vibrating]
    if np.any(frequencies <= 0):
        raise InputError(
            "a vibration is imaginary or zero: this is no minimum, and has no thermochemistry of a gas; "
            "that of a transition state leaves its one imaginary vibration out: result.expecting('saddle')",
            code="mode_not_real",
            field="model",
        )
    spin = electronic_spin(result.document) if spin is None else spin
    rotor = geometry(molecule)
    sigma = count_rotations(molecule) if symmetry_number is None else symmetry_number
    # Of ASE come translation, rotation and spin; the vibrations are ours, as in the other models.
    rigid = IdealGasThermo([], rotor, atoms=molecule, symmetrynumber=sigma, spin=spin, vib_selection="all")
    heat = thermodynamics(frequencies, temperature)
    enthalpy = heat.internal_energy_ev + float(rigid.get_enthalpy(temperature, verbose=False))
    entropy = heat.entropy_jmol_k + J_PER_MOL_K_IN_EV * float(
        rigid.get_entropy(temperature, pressure, verbose=False)
    )
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
        energy_ev=result.document.energy_ev,
        symmetry_number=sigma,
    )


def gas_molecule(result: ResultData) -> Atoms:
    """Return the molecule in one piece, without its box.

    Raises
    ------
    InputError
        ``no_molecule``: atoms are fixed, or it repeats.
    """
    document = result.document
    molecule = find_molecule(document.symbols, np.array(document.positions), np.array(document.cell))
    if molecule is None or len(document.mobile_indices) < len(document.symbols):
        raise InputError(
            "an ideal gas is made of molecules: all atoms mobile, and no bonds to periodic images",
            code="no_molecule",
            field="model",
        )
    return Atoms(document.symbols, molecule.positions, masses=result.atoms.get_masses())


def electronic_spin(document: ZPEResultDocument) -> float:
    """Return the total electronic spin: half the number of unpaired electrons.

    That number is the total magnetisation that pw.x reports, or else ``tot_magnetization`` of the input.
    Without spin polarisation it is 0, be the number of electrons odd or even.

    Raises
    ------
    InputError
        ``bad_spin``: neither tells, or the magnetisation is not that of whole electrons.
    """
    # A document that was not made from an input has none.
    system = PwInput.parse(document.qe_input).namelists["system"] if document.qe_input else {}
    unpaired = document.total_magnetization
    if unpaired is None:
        if system.get("nspin", 1) == 1 and not system.get("noncolin", False):
            return 0.0
        unpaired = system.get("tot_magnetization")
        if not isinstance(unpaired, int | float) or unpaired in UNSET_MAGNETIZATION:
            raise InputError(
                "the calculation is spin-polarised and nothing says how many electrons are unpaired: give "
                "spin=, half their number",
                code="bad_spin",
                field="spin",
            )
    whole = round(abs(unpaired))
    if abs(abs(unpaired) - whole) > UNPAIRED:
        raise InputError(
            f"the total magnetisation is {unpaired:g} Bohr magnetons, no whole number of unpaired electrons: "
            "give spin=, half their number",
            code="bad_spin",
            field="spin",
        )
    return whole / 2


def geometry(molecule: Atoms) -> Geometry:
    """Tell the kind of rotor: ``monatomic``, ``linear`` or ``nonlinear``."""
    if len(molecule) == 1:
        return "monatomic"
    moments = molecule.get_moments_of_inertia()
    return "linear" if moments[0] < LINEAR_SHARE * moments[2] else "nonlinear"


def count_rotations(molecule: Atoms) -> int:
    """Return the symmetry number: how many rotations take the molecule to itself, isotopes included."""
    masses = molecule.get_masses()
    places = molecule.positions - molecule.get_center_of_mass()
    kinds = list(zip(molecule.numbers.tolist(), np.round(masses, 3).tolist(), strict=True))
    if len(molecule) == 1:
        return 1
    if geometry(molecule) == "linear":
        return 2 if _maps(-np.eye(3), places, kinds) else 1
    # Two atoms that are not in line with the centre say how the molecule is turned: see where they can go.
    first = int(np.argmax(np.linalg.norm(places, axis=1)))
    second = int(np.argmax(np.linalg.norm(np.cross(places, places[first]), axis=1)))
    frame = _frame(places[first], places[second])
    found: list[Array] = []
    for i, j in permutations(range(len(molecule)), 2):
        if kinds[i] != kinds[first] or kinds[j] != kinds[second]:
            continue
        if np.linalg.norm(np.cross(places[i], places[j])) < _SAME**2:
            continue
        rotation = _frame(places[i], places[j]).T @ frame
        if _maps(rotation, places, kinds) and not any(np.allclose(rotation, r, atol=0.05) for r in found):
            found.append(rotation)
    return len(found)


def _frame(first: Array, second: Array) -> Array:
    """Return three orthonormal rows, made from two vectors."""
    x = first / np.linalg.norm(first)
    z = np.cross(first, second)
    z = z / np.linalg.norm(z)
    return np.array([x, np.cross(z, x), z])


def _maps(rotation: Array, places: Array, kinds: list[tuple[int, float]]) -> bool:
    apart = np.linalg.norm((places @ rotation.T)[:, None] - places[None], axis=2)
    nearest = np.argmin(apart, axis=1)
    return bool(np.all(apart[np.arange(len(places)), nearest] < _SAME)) and all(
        kinds[i] == kinds[j] for i, j in enumerate(nearest)
    )
