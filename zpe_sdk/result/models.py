"""Models of what heat does to a species of a reaction: an adsorbate, a gas, or a bare surface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from ase import Atoms

from zpe_sdk.errors import InputError
from zpe_sdk.result.gas import gas_molecule, geometry
from zpe_sdk.result.kinds import AnyResult
from zpe_sdk.result.result import ZPEResult
from zpe_sdk.result.thermo import LOW_CM, thermochemistry
from zpe_sdk.result.turning import Bonds
from zpe_sdk.vibrations.molecule import find_molecule
from zpe_sdk.vibrations.oscillators import J_PER_MOL_K_IN_EV, LowModes


@dataclass(frozen=True)
class Heat:
    """What a model adds to the energy of the SCF.

    Attributes
    ----------
    zpe_ev
        Zero-point energy in eV.
    enthalpy_ev
        In eV, with the zero-point energy; where there is no pressure, the internal energy.
    entropy_ev_k
        In eV/K.
    """

    zpe_ev: float
    enthalpy_ev: float
    entropy_ev_k: float


class SpeciesModel(Protocol):
    """What gives the heat of a species at a temperature (K) and a pressure (Pa)."""

    def heat(self, result: AnyResult, temperature: float, pressure: float) -> Heat:
        """Return zero-point energy, enthalpy and entropy."""


@dataclass(frozen=True)
class Electronic:
    """The energy of the SCF and nothing else: a clean surface whose vibrations cancel."""

    def heat(self, result: AnyResult, temperature: float, pressure: float) -> Heat:
        """Return nothing."""
        return Heat(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Harmonic:
    """All counted vibrations are harmonic oscillators: an adsorbate that is tightly bound."""

    def heat(self, result: AnyResult, temperature: float, pressure: float) -> Heat:
        """Return the sums over the vibrations above the result's cutoff."""
        found = thermochemistry(_vibrating(result), temperature, pressure, "harmonic")
        return Heat(found.zpe_ev, found.enthalpy_ev, found.entropy_jmol_k / J_PER_MOL_K_IN_EV)


@dataclass(frozen=True)
class QuasiHarmonic:
    """As harmonic, with more care for the vibrations of a few wavenumbers.

    Soft modes are no oscillators, and the entropy of an oscillator has no bound as its wavenumber falls.

    Attributes
    ----------
    cut_cm
        In cm⁻¹.
    low_modes
        ``"truhlar"``: vibrations below the cut are raised to it (R. F. Ribeiro et al., J. Phys. Chem. B 115,
        14556 (2011)). ``"grimme"``: their entropy goes over into that of a free rotor (quasi-RRHO; Chem.
        Eur. J. 18, 9955 (2012)).
    free_rotors
        Groups that turn freely, as for :meth:`zpe_sdk.ZPEResult.thermo`.
    """

    cut_cm: float = LOW_CM
    low_modes: Literal["truhlar", "grimme"] = "truhlar"
    free_rotors: Bonds = ()

    def heat(self, result: AnyResult, temperature: float, pressure: float) -> Heat:
        """Return the sums over all real vibrations."""
        found = thermochemistry(
            _vibrating(result),
            temperature,
            pressure,
            "quasi_harmonic",
            low_modes=self.low_modes,
            cut_cm=self.cut_cm,
            free_rotors=self.free_rotors,
        )
        return Heat(found.zpe_ev, found.enthalpy_ev, found.entropy_jmol_k / J_PER_MOL_K_IN_EV)


@dataclass(frozen=True)
class IdealGas:
    """A free molecule: translation, rotation, vibrations and spin.

    Attributes
    ----------
    symmetry_number, spin, degeneracy
        As for :meth:`zpe_sdk.ZPEResult.thermo`; None: found out.
    low_modes, cut_cm
        How vibrations of a few wavenumbers are treated, as for :meth:`zpe_sdk.ZPEResult.thermo`.
    free_rotors
        Groups that turn freely, as there.
    """

    symmetry_number: int | None = None
    spin: float | None = None
    degeneracy: int | None = None
    low_modes: LowModes = "harmonic"
    cut_cm: float = LOW_CM
    free_rotors: Bonds = ()

    def heat(self, result: AnyResult, temperature: float, pressure: float) -> Heat:
        """Return zero-point energy, enthalpy and entropy at the pressure."""
        found = thermochemistry(
            _vibrating(result),
            temperature,
            pressure,
            "ideal_gas",
            symmetry_number=self.symmetry_number,
            spin=self.spin,
            degeneracy=self.degeneracy,
            low_modes=self.low_modes,
            cut_cm=self.cut_cm,
            free_rotors=self.free_rotors,
        )
        return Heat(found.zpe_ev, found.enthalpy_ev, found.entropy_jmol_k / J_PER_MOL_K_IN_EV)


@dataclass(frozen=True)
class Hindered:
    """An adsorbate that slides and turns on the surface across barriers; its other modes are harmonic.

    C. T. Campbell, L. H. Sprowl, L. Árnadóttir, J. Phys. Chem. C 120, 10283 (2016); L. H. Sprowl, C. T.
    Campbell, L. Árnadóttir, ibid. 120, 9719 (2016); computed by ASE's HinderedThermo. The three modes of
    lowest wavenumber make place for two translations and one rotation. The entropy is that of that
    model's standard concentration on the surface.

    Attributes
    ----------
    trans_barrier_ev, rot_barrier_ev
        Barriers against sliding and turning, in eV.
    sites_per_cm2
        Density of sites, such as 1.5e15.
    rotational_minima
        How many equivalent minima a full turn has.
    symmetry_number
        How many equal arms the adsorbate has.
    """

    trans_barrier_ev: float
    rot_barrier_ev: float
    sites_per_cm2: float
    rotational_minima: int
    symmetry_number: int = 1

    def heat(self, result: AnyResult, temperature: float, pressure: float) -> Heat:
        """Return zero-point energy, internal energy and entropy."""
        from ase.thermochemistry import HinderedThermo

        vibrating = _vibrating(result)
        adsorbate = _adsorbate(vibrating)
        energies = sorted(vibrating.energies_ev, key=abs)[3:]
        if any(energy <= 0 for energy in energies):
            raise InputError(
                "an imaginary mode is left besides the three that slide and turn",
                code="mode_not_real",
                field="models",
            )
        positive = (self.trans_barrier_ev, self.rot_barrier_ev, self.sites_per_cm2, self.rotational_minima)
        if not min(*positive, self.symmetry_number) > 0:
            raise InputError(
                "barriers, density of sites, minima and symmetry number are above 0",
                code="bad_model",
                field="models",
            )
        thermo = HinderedThermo(
            [0.0] * 3 + energies,
            self.trans_barrier_ev,
            self.rot_barrier_ev,
            self.sites_per_cm2,
            self.rotational_minima,
            atoms=adsorbate,
            symmetrynumber=self.symmetry_number,
        )
        return Heat(
            float(thermo.get_zero_point_energy(verbose=False)),
            float(thermo.get_internal_energy(temperature, verbose=False)),
            float(thermo.get_entropy(temperature, verbose=False)),
        )


ModelName = Literal["electronic", "harmonic", "quasi_harmonic", "ideal_gas"]
NAMED: dict[str, SpeciesModel] = {
    "electronic": Electronic(),
    "harmonic": Harmonic(),
    "quasi_harmonic": QuasiHarmonic(),
    "ideal_gas": IdealGas(),
}


def model_of(name: str, result: AnyResult, given: SpeciesModel | str | None) -> SpeciesModel:
    """Return the model of a species: what is given, or else what its result is of.

    A free molecule is an ideal gas, other vibrations are harmonic, and what has none is electronic.

    Raises
    ------
    InputError
        ``bad_model``.
    """
    if isinstance(given, str):
        if given not in NAMED:
            raise InputError(
                f"{given!r} ({name}): give {', '.join(NAMED)}, or a model such as QuasiHarmonic(50)",
                code="bad_model",
                field="models",
            )
        return NAMED[given]
    if given is not None:
        return given
    if not isinstance(result, ZPEResult):
        return NAMED["electronic"]
    try:
        gas_molecule(result)
    except InputError:
        return NAMED["harmonic"]
    return NAMED["ideal_gas"]


def _vibrating(result: AnyResult) -> ZPEResult:
    if isinstance(result, ZPEResult):
        return result
    raise InputError(
        f"{result!r} has no vibrations: submit(…) them, or take the model 'electronic'",
        code="bad_model",
        field="models",
    )


def _adsorbate(result: ZPEResult) -> Atoms:
    """Return the atoms that vibrate as a molecule in one piece, in free space."""
    atoms = result.atoms[result.document.mobile_indices]
    molecule = find_molecule(atoms.get_chemical_symbols(), atoms.positions, atoms.cell.array)
    if molecule is None or geometry(Atoms(atoms.symbols, molecule.positions)) == "monatomic":
        raise InputError(
            "what slides and turns is a molecule of two atoms or more, and it alone is mobile",
            code="bad_model",
            field="models",
        )
    return Atoms(atoms.symbols, molecule.positions, masses=atoms.get_masses())
