"""A result in Python: what follows from its Hessian, against closed formulas and ASE."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import read
from ase.thermochemistry import IdealGasThermo
from scipy import constants

from zpe_sdk import ComputeError, InputError, ZPEResult, as_table
from zpe_sdk.result.derived import derived_fields
from zpe_sdk.result.gas import count_rotations
from zpe_sdk.result.masses import isotope_mass
from zpe_sdk.result.thermo import Model
from zpe_sdk.vibrations.analysis import Settings, Structure, analyse
from zpe_sdk.vibrations.modes import normal_modes
from zpe_sdk.vibrations.oscillators import (
    heat_capacity,
    internal_energy,
    vibrational_entropy,
    zero_point_energy,
)
from zpe_sdk.wire import Fingerprint, ZPEResultDocument

K, H_MASS, D_MASS = 35.0, 1.008, 2.0141  # eV/Å², u


def wavenumber(k: float, reduced_mass: float) -> float:
    """Of a harmonic oscillator, in cm⁻¹."""
    omega = np.sqrt(k * constants.e * 1e20 / (reduced_mass * constants.atomic_mass))
    return float(omega / (2 * np.pi * constants.c * 100))


@pytest.fixture
def h2() -> ZPEResult:
    """H2 on a spring along z, weakly held in x: at x = 0 the first atom is pushed away from its place."""
    hessian = np.zeros((6, 6))
    hessian[2, 2] = hessian[5, 5] = K
    hessian[2, 5] = hessian[5, 2] = -K
    hessian[0, 0] = -0.5
    masses = np.array([H_MASS, H_MASS])
    modes = normal_modes(hessian, masses)
    real = modes.frequencies_cm[modes.frequencies_cm > 50]
    return ZPEResult(
        ZPEResultDocument(
            freqs_cm=modes.frequencies_cm.tolist(),
            zpe_ev=zero_point_energy(real),
            s_vib_jmol_k=vibrational_entropy(real, 298.15),
            u_vib_ev=internal_energy(real, 298.15),
            f_vib_ev=0.0,
            cv_jmol_k=heat_capacity(real, 298.15),
            mobile_indices=[1, 2],
            fixed_indices=[0],
            kpts=(1, 1, 1),
            delta=0.01,
            low_cut_cm=50,
            temperature=298.15,
            use_environ=False,
            qe_input="inline",
            pw_input="",
            pseudo_dir="",
            calc_start_time="2026-01-01T00:00:00+00:00",
            calc_end_time="2026-01-01T00:00:10+00:00",
            elapsed_seconds=10,
            cache_checked=0,
            cache_deleted=0,
            symbols=["Cu", "H", "H"],
            positions=[(0, 0, 0), (0, 0, 1.7), (0, 0, 2.45)],
            cell=[(8, 0, 0), (0, 8, 0), (0, 0, 8)],
            masses=masses.tolist(),
            hessian=hessian.tolist(),
            modes=modes.displacements.tolist(),
            mode_kinds=["vibration"] * 6,
            imaginary_modes=[0],
            energy_ev=-31.7,
            max_force_ev_ang=0.001,
            checks={"scf_done": 13, "scf_full": 13, "hessian_asymmetry_ev_ang2": 0.0},
            symmetry={"order": 1, "displaced_atoms": [1, 2]},
            fingerprint=Fingerprint(engine="mock", engine_version="1", physics="0" * 64),
            tasks=[],
        )
    )


def test_arrays_have_the_shapes_and_units_they_say(h2: ZPEResult) -> None:
    assert h2.frequencies_cm.shape == (6,)
    assert h2.hessian.shape == (6, 6)
    assert h2.modes.shape == (6, 2, 3)
    assert h2.frequencies_cm[-1] == pytest.approx(wavenumber(K, H_MASS / 2), rel=1e-6)
    quantum = constants.h * constants.c * 100 * h2.frequencies_cm[-1] / constants.e
    assert h2.energies_ev[-1] == pytest.approx(quantum, rel=1e-6)
    assert h2.zpe_ev == pytest.approx(quantum / 2, rel=1e-6)


def test_an_imaginary_mode_stays_one(h2: ZPEResult) -> None:
    assert h2.frequencies_cm[0] == pytest.approx(-wavenumber(0.5, H_MASS), rel=1e-6)
    assert "1 imaginary" in repr(h2)


def test_springs_are_never_shown_without_saying_so(h2: ZPEResult) -> None:
    real = ZPEResult(
        h2.document.model_copy(
            update={"fingerprint": Fingerprint(engine="espresso", engine_version="7.2", physics="0" * 64)}
        )
    )

    def shown(result: ZPEResult) -> list[str]:
        return [
            result.summary().splitlines()[0],
            result._repr_html_().splitlines()[0],
            repr(result),
            result.with_masses({"H": "D"}).summary().splitlines()[0],
            result.plot().get_title(),
            result.animate(5).html,
            result.to_xyz(5).splitlines()[1],
            str(as_table([result]).iloc[0]["engine"]),
            *result.to_csv().splitlines()[1:],
        ]

    assert all("MOCK" in text for text in shown(h2))
    assert not any("MOCK" in text for text in shown(real))
    # Programs that read the first columns go on reading them.
    one, other = (result.to_csv().splitlines()[0].split(",") for result in (h2, real))
    assert (one[:5], one[5:]) == (other, ["engine"])


def test_deuterium_divides_the_frequency_by_the_root_of_the_mass_ratio(h2: ZPEResult) -> None:
    d2 = h2.with_masses({"H": D_MASS})
    assert h2.frequencies_cm[-1] / d2.frequencies_cm[-1] == pytest.approx(np.sqrt(D_MASS / H_MASS), rel=1e-9)
    assert h2.zpe_ev / d2.zpe_ev == pytest.approx(np.sqrt(D_MASS / H_MASS), rel=1e-9)
    np.testing.assert_array_equal(d2.hessian, h2.hessian)
    hd = h2.with_masses([H_MASS, D_MASS])
    reduced = H_MASS * D_MASS / (H_MASS + D_MASS)
    assert hd.frequencies_cm[-1] == pytest.approx(wavenumber(K, reduced), rel=1e-6)
    assert h2.document.masses == [H_MASS, H_MASS]


def test_a_higher_cutoff_leaves_modes_out(h2: ZPEResult) -> None:
    assert h2.with_cutoff(5000).zpe_ev == 0
    assert h2.with_cutoff(50).zpe_ev == pytest.approx(h2.zpe_ev)


def test_a_result_evaluated_again_warns_of_its_own_modes(h2: ZPEResult) -> None:
    h2.document.warnings.append("the structure is not relaxed")
    h2.document.checks["zpe_error_ev"] = 0.001
    high = h2.with_cutoff(5000)
    left_out = next(warning for warning in high.document.warnings if "left out" in warning)
    assert f"{h2.frequencies_cm[-1]:.1f} cm⁻¹" in left_out
    assert f"add {1000 * h2.zpe_ev:.2f} meV" in left_out
    assert "the structure is not relaxed" in high.document.warnings
    back = high.with_cutoff(50).document.warnings
    assert left_out not in back
    assert len(set(back)) == len(back)
    d2 = h2.with_masses({"H": "D"})
    imaginary = [warning for warning in d2.document.warnings if "imaginary" in warning]
    assert len(imaginary) == 1
    assert f"{-d2.frequencies_cm[0]:.1f}i" in imaginary[0]


def test_an_error_that_was_estimated_for_other_modes_is_not_shown(h2: ZPEResult) -> None:
    h2.document.checks["zpe_error_ev"] = 0.001
    assert h2.at(500.0).document.checks["zpe_error_ev"] == 0.001
    assert h2.with_cutoff(60.0).document.checks["zpe_error_ev"] == 0.001
    for changed in (h2.with_masses({"H": "D"}), h2.with_cutoff(5000.0)):
        assert changed.document.checks["zpe_error_ev"] is None
        assert "±" not in changed.summary()
    assert h2.document.checks["zpe_error_ev"] == 0.001


def test_free_energy_at_another_temperature(h2: ZPEResult) -> None:
    hot = h2.at(3000.0).document
    quantum = constants.h * constants.c * 100 * h2.frequencies_cm[-1] / constants.e
    kt = constants.k * 3000.0 / constants.e
    # F = hν/2 + kT ln(1 - exp(-hν/kT)) of a harmonic oscillator
    assert hot.f_vib_ev == pytest.approx(quantum / 2 + kt * np.log(1 - np.exp(-quantum / kt)), abs=1e-6)


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        (lambda h2: h2.with_masses({"D": 2.0}), "bad_masses", "masses"),
        (lambda h2: h2.with_masses({0: "D"}), "bad_masses", "masses"),
        (lambda h2: h2.with_masses({1: "13C"}), "bad_masses", "masses"),
        (lambda h2: h2.with_masses([1.0]), "bad_masses", "masses"),
        (lambda h2: h2.with_masses({"H": -1.0}), "bad_masses", "masses"),
        (lambda h2: h2.with_masses("D"), "bad_masses", "masses"),
        (lambda h2: h2.with_masses(["D", "H"]), "bad_masses", "masses"),
        (lambda h2: h2.with_masses(2.0), "bad_masses", "masses"),
        (lambda h2: h2.with_cutoff(-1.0), "bad_cutoff", "low_cut_cm"),
        (lambda h2: h2.with_cutoff("200"), "bad_cutoff", "low_cut_cm"),
        (lambda h2: h2.with_cutoff(float("nan")), "bad_cutoff", "low_cut_cm"),
        (lambda h2: h2.at(0.0), "bad_temperature", "temperature"),
        (lambda h2: h2.at("298"), "bad_temperature", "temperature"),
        (lambda h2: h2.thermo(-1.0), "bad_temperature", "temperature"),
        (lambda h2: h2.thermo("298"), "bad_temperature", "temperature"),
        (lambda h2: h2.thermo(1e-300), "bad_temperature", "temperature"),
        (lambda h2: h2.thermo(True), "bad_temperature", "temperature"),
        (lambda h2: h2.at(1e9), "bad_temperature", "temperature"),
        (lambda h2: h2.with_cutoff(1e9), "bad_cutoff", "low_cut_cm"),
        (lambda h2: h2.with_cutoff(True), "bad_cutoff", "low_cut_cm"),
        (lambda h2: h2.thermo(model="ideal_gas", spin=-1), "bad_spin", "spin"),
        (lambda h2: h2.thermo(model="ideal_gas", spin=0.3), "bad_spin", "spin"),
        (
            lambda h2: h2.thermo(model="ideal_gas", symmetry_number=0),
            "bad_symmetry_number",
            "symmetry_number",
        ),
        (
            lambda h2: h2.thermo(model="ideal_gas", symmetry_number="D2h"),
            "bad_symmetry_number",
            "symmetry_number",
        ),
        (lambda h2: h2.thermo(pressure=0.0), "bad_pressure", "pressure"),
        (lambda h2: h2.thermo(model="gas"), "bad_model", "model"),
        (lambda h2: h2.thermo(model="ideal_gas"), "no_molecule", "model"),
        (lambda h2: h2.animate(6), "bad_mode", "mode"),
        (lambda h2: h2.animate(1.0), "bad_mode", "mode"),
        (lambda h2: h2.to_xyz(-7), "bad_mode", "mode"),
    ],
)
def test_what_makes_no_sense_is_refused(
    h2: ZPEResult, change: Callable[[ZPEResult], object], code: str, field: str
) -> None:
    with pytest.raises(InputError) as caught:
        change(h2)
    assert (caught.value.code, caught.value.field) == (code, field)


def test_ase_gets_the_same_frequencies(h2: ZPEResult) -> None:
    d2 = h2.with_masses({"H": D_MASS})
    for result in (h2, d2):
        data = result.to_ase()
        theirs = data.get_frequencies()
        assert theirs[-1].real == pytest.approx(result.frequencies_cm[-1], rel=1e-6)
        assert theirs[0].imag == pytest.approx(-result.frequencies_cm[0], rel=1e-6)
        assert data.get_atoms().get_masses()[1:].tolist() == result.document.masses


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("symbols", ["Cu", "H", "Xy"]),
        ("symbols", ["Cu", "H", "\x1b[31m"]),
        ("positions", [[0.0, 0.0, 0.0]]),
        ("cell", [[8.0, 0.0, 0.0]]),
        ("mobile_indices", [1, 7]),
        ("mobile_indices", [-1, 1]),
        ("masses", [1.008]),
        ("masses", [1.008, -1.0]),
        ("freqs_cm", [4400.0]),
        ("mode_kinds", []),
        ("modes", [[[1.0, 0.0, 0.0]]]),
        ("hessian", [[1.0]]),
        ("ir_intensities_km_mol", [1.0]),
    ],
)
def test_a_forged_result_is_refused_by_name(h2: ZPEResult, field: str, value: object) -> None:
    forged = h2.document.model_dump(mode="json") | {field: value}
    with pytest.raises(ComputeError, match=field) as refused:
        ZPEResult.from_dict(forged)
    assert refused.value.code == "result_incomplete"


def test_json_there_and_back(h2: ZPEResult) -> None:
    again = ZPEResult.from_json(h2.to_json())
    assert again.document == h2.document
    assert json.loads(h2.to_json())["zpe_ev"] == h2.zpe_ev


def molecule_of(
    atoms: Atoms, hessian: np.ndarray, masses: list[float] | None = None, low_cut_cm: float = 50.0
) -> ZPEResult:
    """A free molecule in a box of 12 Å, with a Hessian in eV/Å²."""
    masses = atoms.get_masses().tolist() if masses is None else masses
    mobile, cell = list(range(len(atoms))), 12 * np.eye(3)
    analysis = analyse(
        hessian,
        Structure(atoms.get_chemical_symbols(), atoms.positions, cell, mobile, np.array(masses)),
        Settings(low_cut_cm, 298.15),
    )
    return ZPEResult(
        ZPEResultDocument(
            **derived_fields(analysis),
            warnings=analysis.warnings,
            mobile_indices=mobile,
            fixed_indices=[],
            kpts=(1, 1, 1),
            delta=0.01,
            use_environ=False,
            qe_input="inline",
            pw_input="",
            pseudo_dir="",
            calc_start_time="2026-01-01T00:00:00+00:00",
            calc_end_time="2026-01-01T00:00:10+00:00",
            elapsed_seconds=10,
            cache_checked=0,
            cache_deleted=0,
            symbols=list(atoms.get_chemical_symbols()),
            positions=[tuple(place) for place in atoms.positions.tolist()],
            cell=[tuple(row) for row in cell.tolist()],
            hessian=hessian.tolist(),
            energy_ev=-10.0,
            max_force_ev_ang=0.0,
            fingerprint=Fingerprint(engine="mock", engine_version="1", physics="0" * 64),
            tasks=[],
        )
    )


def diatomic(symbols: str, bond: float, omega_cm: float, *, residual: float = 0.0) -> ZPEResult:
    """A diatomic with the bond length (Å) and the harmonic wavenumber of experiment.

    ``residual`` springs, in eV/Å², hold its atoms to their places, as a coarse grid does.
    """
    atoms = Atoms(symbols, [(0, 0, 0), (0, 0, bond)])
    masses = [isotope_mass({"H": "1H", "C": "12C", "O": "16O", "N": "14N"}[s], s) for s in atoms.symbols]
    k = omega_cm**2 / wavenumber(1.0, masses[0] * masses[1] / sum(masses)) ** 2
    hessian = residual * np.eye(6)
    hessian[np.ix_([2, 5], [2, 5])] += [[k, -k], [-k, k]]
    return molecule_of(atoms, hessian, masses)


def test_isotopes_against_experiment() -> None:
    # Harmonic wavenumbers, Huber and Herzberg, Constants of Diatomic Molecules (1979).
    hydrogen = diatomic("H2", 0.7414, 4401.21)
    for masses, measured in (({0: "D"}, 3813.15), ({"H": "D"}, 3115.50)):
        assert hydrogen.with_masses(masses).frequencies_cm[-1] == pytest.approx(measured, rel=1e-3)
    carbon_13 = diatomic("CO", 1.1283, 2169.81).with_masses({"C": "13C"})
    assert carbon_13.frequencies_cm[-1] == pytest.approx(2121.4, abs=0.5)
    # An atom's own entry goes before that of its element.
    assert hydrogen.with_masses({"H": "D", 1: 1.007825}).document.masses == [2.0141, 1.007825]


def test_standard_entropies_against_experiment() -> None:
    # J/(mol K) at 298.15 K and 1 bar, CODATA Key Values (1989).
    for result, measured, sigma in (
        (diatomic("N2", 1.0977, 2358.57), 191.609, 2),
        (diatomic("CO", 1.1283, 2169.81), 197.660, 1),
    ):
        gas = result.thermo(298.15, 1e5, "ideal_gas")
        assert gas.entropy_jmol_k == pytest.approx(measured, abs=0.15)
        assert gas.symmetry_number == sigma
        assert gas.free_energy_ev == pytest.approx(
            gas.enthalpy_ev - 298.15 * gas.entropy_jmol_k / (constants.N_A * constants.e), abs=1e-6
        )
    # Ten times the pressure: R ln 10 less.
    less = result.thermo(298.15, 1e6, "ideal_gas").entropy_jmol_k
    assert gas.entropy_jmol_k - less == pytest.approx(constants.R * np.log(10), abs=1e-3)


def test_the_gas_is_that_of_ase() -> None:
    """Of ASE come translation and rotation, the vibrations are ours: together, ASE with all of it."""
    result = linear((3.6, 3.6)).at(400.0)
    gas = result.thermo(pressure=2e5, model="ideal_gas", spin=0.5)
    alone = result.atoms
    alone.pbc = False
    ase = IdealGasThermo(
        result.energies_ev[5:], "linear", atoms=alone, symmetrynumber=2, spin=0.5, vib_selection="all"
    )
    assert gas.zpe_ev == pytest.approx(ase.get_ZPE_correction(), rel=1e-9)
    assert gas.internal_energy_ev == pytest.approx(ase.get_internal_energy(400.0, verbose=False), rel=1e-6)
    assert gas.enthalpy_ev == pytest.approx(ase.get_enthalpy(400.0, verbose=False), rel=1e-6)
    entropy = ase.get_entropy(400.0, 2e5, verbose=False) * constants.e * constants.N_A
    assert gas.entropy_jmol_k == pytest.approx(entropy, rel=1e-6)
    free = ase.get_gibbs_energy(400.0, 2e5, verbose=False)
    assert gas.free_energy_ev == pytest.approx(free, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "sigma"),
    [("H2O", 2), ("NH3", 3), ("CH4", 12), ("C2H4", 4), ("C6H6", 12), ("CO2", 2), ("HCN", 1)],
)
def test_symmetry_numbers(name: str, sigma: int) -> None:
    # Cramer, Essentials of Computational Chemistry (2004), appendix B.
    atoms = molecule(name)
    atoms.rotate(40, (1, 2, 3))
    assert count_rotations(atoms) == sigma


def test_a_labelled_molecule_has_less_symmetry() -> None:
    methane = molecule("CH4")
    masses = methane.get_masses()
    masses[1] = 2.0141
    methane.set_masses(masses)
    assert count_rotations(methane) == 3


MODELS: list[Model] = ["harmonic", "quasi_harmonic", "ideal_gas"]


@pytest.mark.parametrize("residual", [0.02, -0.02, 0.2])
def test_motions_of_the_whole_count_nowhere(residual: float) -> None:
    free, held = (diatomic("N2", 1.0977, 2358.57, residual=k) for k in (0.0, residual))
    for model in MODELS:
        expected, found = free.thermo(298.15, 1e5, model), held.thermo(298.15, 1e5, model)
        assert found.zpe_ev == pytest.approx(expected.zpe_ev, rel=2e-3)
        assert found.entropy_jmol_k == pytest.approx(expected.entropy_jmol_k, abs=1e-3)
        assert found.free_energy_ev == pytest.approx(expected.free_energy_ev, abs=3e-4)
    for changed in (held, held.with_cutoff(0.0), held.with_masses({"N": "15N"}), held.at(1000.0)):
        assert changed.counted.tolist() == [False] * 5 + [True]
        assert changed.zpe_ev == pytest.approx(changed.energies_ev[-1] / 2)
    assert "imaginary" not in repr(held)
    table = as_table([held])
    assert list(table.imaginary) == [0]
    assert len(table.vibrations_cm.iloc[0]) == 1
    lines = [line for line in held.summary().splitlines() if re.search(r" (yes|no)\b", line)]
    assert [line.split()[3:5] for line in lines[-1:]] == [["vibration", "yes"]]
    assert sum(" yes " in line for line in lines) == 1


def outdated(result: ZPEResult, kinds: list[str]) -> dict[str, object]:
    """What earlier versions kept: everything above the cut was counted."""
    d = result.document
    counted = result.frequencies_cm[result.frequencies_cm > d.low_cut_cm]
    return json.loads(result.to_json()) | {
        "mode_kinds": kinds,
        "zpe_ev": zero_point_energy(counted),
        "s_vib_jmol_k": vibrational_entropy(counted, 298.15),
        "imaginary_modes": np.flatnonzero(result.frequencies_cm < 0).tolist(),
        "checks": {"zpe_error_ev": 0.0061},
        "warnings": ["mode 0 (73.4 cm⁻¹, rotation): counted in ZPE and entropy", "not relaxed"],
    }


@pytest.mark.parametrize(
    "kinds", [["translation"] * 3 + ["rotation"] * 2 + ["vibration"], ["translation"] * 3 + ["vibration"] * 3]
)
def test_a_result_of_an_earlier_version_is_counted_anew(kinds: list[str]) -> None:
    right = diatomic("N2", 1.0977, 2358.57, residual=0.2)
    old = outdated(right, kinds)
    assert old["zpe_ev"] > right.zpe_ev + 0.01  # type: ignore[operator]
    read = ZPEResult.from_dict(old)
    assert read.zpe_ev == pytest.approx(right.zpe_ev)
    assert read.document.s_vib_jmol_k == pytest.approx(right.document.s_vib_jmol_k)
    assert read.document.mode_kinds == right.document.mode_kinds
    assert read.document.checks["zpe_error_ev"] is None
    assert "earlier version" in read.document.warnings[0]
    assert "not relaxed" in read.document.warnings
    assert not any("counted in ZPE" in told for told in read.document.warnings)
    # What is as it should be is left alone, and stays so.
    assert ZPEResult.from_json(read.to_json()).document == read.document


def test_a_result_whose_parts_do_not_fit_is_refused() -> None:
    broken = json.loads(diatomic("N2", 1.0977, 2358.57).to_json())
    for wrong in ({"masses": [14.0]}, {"hessian": [[1.0, 2.0], [3.0]]}, {"mobile_indices": [0, 7]}):
        with pytest.raises(ComputeError) as caught:
            ZPEResult.from_dict(broken | wrong)
        assert caught.value.code == "result_incomplete"


OXYGEN = """&CONTROL
/
&SYSTEM
  ibrav = 1, A = 8.0, nat = 2, ntyp = 1, ecutwfc = 30.0 {system}
/
&ELECTRONS
/
ATOMIC_SPECIES
O 15.999 O.UPF
ATOMIC_POSITIONS angstrom
O 0 0 0
O 0 0 1.2075
K_POINTS gamma
"""
TRIPLET_J_MOL_K = constants.R * np.log(3)


def oxygen(system: str, *, total: float | None = None) -> ZPEResult:
    """O2 as Huber and Herzberg (1979) have it, with keys of &SYSTEM and a total magnetisation."""
    result = diatomic("O2", 1.2075, 1580.19)
    document = result.document
    document.pw_input, document.total_magnetization = OXYGEN.format(system=system), total
    return ZPEResult(document)


@pytest.mark.parametrize(
    ("system", "total", "entropy"),
    [
        # NIST-JANAF (1998): 205.147 J/(mol K).
        (", nspin = 2, tot_magnetization = 2", None, 205.147),
        (", nspin = 2, starting_magnetization(1) = 0.3", 2.0, 205.147),
        (", nspin = 2, starting_magnetization(1) = 0.3", -1.98, 205.147),
        (", noncolin = .true.", 2.04, 205.147),
        (", nspin = 2, tot_magnetization = 0", None, 205.147 - TRIPLET_J_MOL_K),
        # What pw.x found goes before what it was asked for.
        (", nspin = 2, tot_magnetization = 2", 0.0, 205.147 - TRIPLET_J_MOL_K),
        ("", None, 205.147 - TRIPLET_J_MOL_K),
        (", nspin = 1", None, 205.147 - TRIPLET_J_MOL_K),
    ],
)
def test_the_spin_of_a_gas_is_that_of_the_calculation(
    system: str, total: float | None, entropy: float
) -> None:
    result = oxygen(system, total=total)
    assert result.thermo(298.15, 1e5, "ideal_gas").entropy_jmol_k == pytest.approx(entropy, abs=0.15)
    given = result.thermo(298.15, 1e5, "ideal_gas", spin=1)
    assert given.entropy_jmol_k == pytest.approx(205.147, abs=0.15)


@pytest.mark.parametrize(
    ("system", "total"),
    [
        (", nspin = 2, starting_magnetization(1) = 0.3", None),
        (", nspin = 2, tot_magnetization = -1", None),
        (", noncolin = .true.", None),
        (", nspin = 2", 1.7),
    ],
)
def test_a_spin_that_nothing_tells_has_to_be_given(system: str, total: float | None) -> None:
    result = oxygen(system, total=total)
    with pytest.raises(InputError, match="give spin=") as caught:
        result.thermo(model="ideal_gas")
    assert (caught.value.code, caught.value.field) == ("bad_spin", "spin")
    assert result.thermo(model="ideal_gas", spin=1).entropy_jmol_k == pytest.approx(205.147, abs=0.15)
    # Only a gas has one.
    assert result.thermo().zpe_ev == pytest.approx(result.zpe_ev)


def linear(bends: tuple[float, float]) -> ZPEResult:
    """CO2 on springs in eV/Å²: two stretches, and a bend in each plane; below 0 it is a saddle point."""
    atoms = Atoms("OCO", [(0, 0, -1.16), (0, 0, 0), (0, 0, 1.16)])
    hessian = np.zeros((9, 9))
    rows = [(97.0, 2, 5), (97.0, 5, 8)]
    for k, i, j in rows:
        hessian[np.ix_([i, j], [i, j])] += [[k, -k], [-k, k]]
    for k, axis in zip(bends, (0, 1), strict=True):
        row = np.zeros(9)
        row[[axis, axis + 3, axis + 6]] = 1, -2, 1
        hessian += k * np.outer(row, row)
    return molecule_of(atoms, hessian)


def test_a_saddle_point_has_a_thermochemistry_without_its_imaginary_mode_if_asked_for() -> None:
    minimum, saddle = linear((3.6, 3.6)), linear((3.6, -3.6))
    bend = minimum.frequencies_cm[5]
    assert saddle.imaginary.sum() == 1
    for model in MODELS:
        found = saddle.expecting("saddle").thermo(298.15, 1e5, model)
        whole = minimum.thermo(298.15, 1e5, model)
        assert whole.zpe_ev - found.zpe_ev == pytest.approx(bend / 8065.544 / 2, rel=1e-5)
        # An oscillator's entropy is what is missing, and nothing of translation and rotation.
        assert whole.entropy_jmol_k - found.entropy_jmol_k == pytest.approx(
            vibrational_entropy(np.array([bend]), 298.15), abs=1e-3
        )
    with pytest.raises(InputError, match="expecting") as caught:
        saddle.thermo(model="ideal_gas")
    assert (caught.value.code, caught.value.field) == ("mode_not_real", "model")
    for other in (minimum, linear((-3.6, -3.6))):
        for model in MODELS:
            with pytest.raises(InputError, match="one imaginary vibration") as caught:
                other.expecting("saddle").thermo(model=model)
            assert (caught.value.code, caught.value.field) == ("no_saddle_point", "expect")


def test_the_harmonic_model_is_the_result_itself_and_the_quasi_harmonic_raises(h2: ZPEResult) -> None:
    thermo = h2.thermo()
    document = h2.at(298.15).document
    assert thermo.zpe_ev == pytest.approx(h2.zpe_ev)
    assert thermo.entropy_jmol_k == pytest.approx(document.s_vib_jmol_k, rel=1e-5)
    assert thermo.free_energy_ev == pytest.approx(document.f_vib_ev, rel=1e-6)
    weak = molecule_of(
        Atoms("H", [(0, 0, 0)]), np.diag([1e-4, 1e-4, 1.0]), low_cut_cm=0.0
    )  # 38 cm⁻¹, and much more
    weak.document.mode_kinds = ["vibration"] * 3
    raised = weak.thermo(model="quasi_harmonic")
    assert raised.zpe_ev > weak.zpe_ev
    assert raised.zpe_ev == pytest.approx((200 + weak.frequencies_cm[-1]) / 2 / 8065.544, rel=1e-5)


def test_xyz_of_a_mode_is_read_by_ase(h2: ZPEResult) -> None:
    frames = h2.to_xyz().splitlines()
    assert frames.count("3") == 6
    assert f"{-h2.frequencies_cm[0]:.1f}i" in frames[1]
    atoms = read(io.StringIO(h2.to_xyz(5)), format="xyz")
    np.testing.assert_allclose(atoms.positions, h2.document.positions, atol=1e-6)
    stretch = np.array([line.split()[4:] for line in h2.to_xyz(5).splitlines()[2:]], dtype=float)
    np.testing.assert_allclose(stretch[1:], h2.modes[5], atol=1e-6)
    assert not stretch[0].any()


def test_an_animation_needs_no_network(h2: ZPEResult) -> None:
    animation = h2.animate(5)
    assert "http" not in animation.html
    assert "src=" not in animation.html
    scene = json.loads(animation.html.split("const scene = ")[1].split(";\n")[0])
    assert np.abs(scene["moves"]).max() == pytest.approx(0.3)
    assert scene["bonds"] == [[0, 1], [1, 2]]
    assert "sandbox" in animation._repr_html_()


def test_a_plot_shows_each_mode_and_what_does_not_count(h2: ZPEResult) -> None:
    matplotlib.use("agg")
    axes = h2.plot()
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert "imaginary" in labels
    assert "counted in the ZPE" in labels
    grid, density = axes.lines[0].get_data()
    assert grid[np.argmax(density * (grid > 1000))] == pytest.approx(h2.frequencies_cm[-1], abs=5)


def test_a_table_of_results(h2: ZPEResult) -> None:
    table = as_table({"light": h2, "heavy": h2.with_masses({"H": "D"})})
    assert table.zpe_ev["light"] == h2.zpe_ev > table.zpe_ev["heavy"]
    assert list(table.imaginary) == [1, 1]
    assert list(as_table([h2]).index) == ["H2Cu"]


def test_what_is_no_result_is_refused() -> None:
    for text, code in (
        ("{", "bad_json"),
        (Path("h2.json"), "bad_json"),
        ('{"zpe_ev": 0.27, "freqs_cm": [4401.2]}', "result_incomplete"),
        ("{}", "result_incomplete"),
        ("[1]", "result_incomplete"),
    ):
        with pytest.raises(InputError) as caught:
            ZPEResult.from_json(text)  # type: ignore[arg-type]
        assert (caught.value.code, caught.value.field) == (code, "text")
    # One that the control plane has is a worker's.
    with pytest.raises(ComputeError):
        ZPEResult.from_dict({})


def test_a_notebook_shows_the_summary_escaped(h2: ZPEResult) -> None:
    h2.document.fingerprint.engine = "<script>"
    assert "<script>" not in h2._repr_html_()
    assert "ZPE" in h2._repr_html_()


def test_one_imaginary_mode_of_a_saddle_point_is_no_alarm_and_any_other_number_is() -> None:
    saddle = linear((3.6, -3.6)).expecting("minimum")
    alarm = [told for told in saddle.document.warnings if "imaginary, the energy falls" in told]
    assert len(alarm) == 1
    expected = saddle.expecting("saddle")
    assert not any("imaginary" in told for told in expected.document.warnings)
    assert expected.document.expect == "saddle"
    assert expected.with_masses({"O": "18O"}).document.expect == "saddle"
    minimum = linear((3.6, 3.6)).expecting("saddle")
    assert any(
        "not the saddle point that was expected: no modes" in told for told in minimum.document.warnings
    )
    assert not any("saddle" in told for told in minimum.expecting("minimum").document.warnings)
    with pytest.raises(InputError) as caught:
        saddle.expecting("maximum")  # type: ignore[arg-type]
    assert caught.value.code == "bad_choice"


def test_a_structure_is_moved_along_a_mode_by_what_its_fastest_atom_is_to_move(h2: ZPEResult) -> None:
    there, back = h2.displaced(0, 0.2), h2.displaced(0, -0.2)
    moves = there.positions - h2.atoms.positions
    np.testing.assert_allclose(np.linalg.norm(moves, axis=1), [0, 0.2, 0], atol=1e-9)
    np.testing.assert_allclose(back.positions - h2.atoms.positions, -moves, atol=1e-12)
    stretched = h2.displaced(-1, 0.05)
    assert abs(stretched.get_distance(1, 2) - h2.atoms.get_distance(1, 2)) == pytest.approx(0.1)
    with pytest.raises(InputError) as caught:
        h2.displaced(6)
    assert caught.value.code == "bad_mode"


def at_energy(result: ZPEResult, energy_ev: float) -> ZPEResult:
    return ZPEResult(result.document.model_copy(update={"energy_ev": energy_ev}))


def test_the_sides_of_an_imaginary_mode_are_told_from_one_another() -> None:
    saddle, minimum = at_energy(linear((3.6, -3.6)), -10.0), linear((3.6, 3.6))
    lower = at_energy(minimum, -10.02)
    found = saddle.descent([at_energy(saddle, -10.1), lower])
    # The other side is lower, and no minimum.
    assert found.energies_ev == pytest.approx((-0.1, -0.02))
    assert (found.imaginary, found.leads_down) == ((1, 0), True)
    assert found.minimum is lower
    assert "-20.0 meV with no imaginary modes" in repr(found)
    back = saddle.descent([at_energy(minimum, -10.0005), at_energy(minimum, -9.9)])
    assert back.minimum is None
    assert "no lower minimum" in repr(back)


def test_energies_of_another_physics_are_no_descent(h2: ZPEResult) -> None:
    saddle = linear((3.6, -3.6))
    softer = ZPEResult(saddle.document.model_copy(update={"ecutwfc": 30.0}))
    for other, told in [(softer, "ecutwfc"), (h2, "same atoms")]:
        with pytest.raises(InputError, match=told) as caught:
            saddle.descent([other])
        assert caught.value.code == "not_comparable"
