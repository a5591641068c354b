"""Thermochemistry against NIST and against ASE."""

from __future__ import annotations

import ast
import re
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ase import units
from ase.build import molecule
from ase.thermochemistry import RRHOMode

from tests.springs import springs_result
from zpe_sdk import (
    BareResult,
    ComputeError,
    IdealGas,
    InputError,
    QuasiHarmonic,
    ZPEResult,
    as_dataset,
    as_table,
    modes_table,
)
from zpe_sdk.result.turning import turning_groups
from zpe_sdk.vibrations.oscillators import (
    free_rotor,
    quasi_rrho_entropy,
    thermodynamics,
    vibrational_entropy,
)


def gas(name: str, wavenumbers: list[float], *, unpaired: float | None = None) -> ZPEResult:
    """A molecule of ASE's with the fundamentals of experiment in cm⁻¹."""
    atoms = molecule(name)
    outside = 3 * len(atoms) - len(wavenumbers)
    kinds = ["translation"] * 3 + ["rotation"] * (outside - 3) + ["vibration"] * len(wavenumbers)
    d = springs_result("H2O", dipoles=False).document
    return ZPEResult(
        d.model_copy(
            update={
                "symbols": atoms.get_chemical_symbols(),
                "positions": [tuple(place) for place in atoms.positions.tolist()],
                "masses": atoms.get_masses().tolist(),
                "mobile_indices": list(range(len(atoms))),
                "freqs_cm": [0.0] * outside + wavenumbers,
                "mode_kinds": kinds,
                "hessian": np.eye(3 * len(atoms)).tolist(),
                "modes": np.eye(3 * len(atoms)).reshape(-1, len(atoms), 3).tolist(),
                "total_magnetization": unpaired,
                "irreps": None,
                "symmetry_operations": [],
            }
        )
    )


# Fundamentals in cm⁻¹: T. Shimanouchi, Tables of Molecular Vibrational Frequencies, NSRDS-NBS 39 (1972); of
# the diatomics: Huber and Herzberg (1979). Entropies in J/(mol K) at 298.15 K and 1 bar: NIST-JANAF (1998);
# of methanol: Chen, Wilhoit and Zwolinski (1977).
GASES = [
    ("H2", [4161.0], None, 130.68, 0.6),
    ("H2O", [1595.0, 3657.0, 3756.0], None, 188.83, 0.3),
    ("CO2", [667.0, 667.0, 1333.0, 2349.0], None, 213.80, 0.3),
    ("NH3", [950.0, 1627.0, 1627.0, 3337.0, 3444.0, 3444.0], None, 192.77, 0.5),
    ("O2", [1556.0], 2.0, 205.15, 0.6),
    (
        "CH3OH",
        [295, 1033, 1060, 1165, 1345, 1455, 1477, 1477, 2844, 2960, 3000, 3681],
        None,
        239.9,
        3.0,
    ),
]


@pytest.mark.parametrize(("name", "wavenumbers", "unpaired", "entropy", "within"), GASES)
def test_entropies_of_gases_are_those_of_nist(
    name: str, wavenumbers: list[float], unpaired: float | None, entropy: float, within: float
) -> None:
    result = gas(name, [float(cm) for cm in wavenumbers], unpaired=unpaired)
    found = result.thermo(298.15, 1e5, "ideal_gas")
    assert found.entropy_jmol_k == pytest.approx(entropy, abs=within)
    assert f"S_gas  {found.entropy_jmol_k:12.4f} J/(mol K)" in result.summary()


# Cp in J/(mol K) at 298.15 K: NIST-JANAF (1998). What rigid rotors and harmonic oscillators leave out (ortho
# and para hydrogen, the stretching of the rotor, the umbrella of ammonia) is 0.3 at most.
@pytest.mark.parametrize(
    ("name", "capacity"), [("H2", 28.84), ("H2O", 33.59), ("CO2", 37.13), ("NH3", 35.65), ("O2", 29.38)]
)
def test_heat_capacities_of_gases_are_those_of_nist(name: str, capacity: float) -> None:
    wavenumbers, unpaired = next((cm, spin) for known, cm, spin, _, _ in GASES if known == name)
    result = gas(name, [float(cm) for cm in wavenumbers], unpaired=unpaired)
    found = result.thermo(298.15, 1e5, "ideal_gas")
    assert found.heat_capacity_jmol_k == pytest.approx(capacity, abs=0.3)
    table = result.thermo_table([298.15], 1e5, "ideal_gas")
    assert table.heat_capacity_jmol_k.item() == found.heat_capacity_jmol_k


@pytest.mark.parametrize(("model", "options"), [("ideal_gas", {}), ("harmonic", {}), ("quasi_harmonic", {})])
def test_the_heat_capacity_is_the_slope_of_the_enthalpy(model: str, options: dict[str, Any]) -> None:
    water = springs_result("H2O")
    below, at, above = (water.thermo(kelvin, 1e5, model, **options) for kelvin in (499.0, 500.0, 501.0))  # type: ignore[arg-type]
    slope = (above.enthalpy_ev - below.enthalpy_ev) / 2 * (units.mol / units.J)
    assert at.heat_capacity_jmol_k == pytest.approx(slope, rel=1e-5)


def test_the_summary_of_a_gas_begins_with_what_the_gas_has() -> None:
    for_people, _, _ = springs_result("H2O").summary().partition("## For programs")
    names = re.findall(r"^(ZPE|E_scf|S_\w+|Cp_gas) ", for_people, re.MULTILINE)
    assert names == ["ZPE", "E_scf", "S_gas", "Cp_gas", "S_vib"]


def methanol() -> ZPEResult:
    """Methanol with the fundamentals of experiment."""
    document = springs_result("CH3OH").document
    return ZPEResult(document.model_copy(update={"freqs_cm": [0.0] * 6 + [float(cm) for cm in GASES[-1][1]]}))


def test_methanol_with_a_free_rotor_is_a_little_above_experiment() -> None:
    result = methanol()
    assert "torsion about C–O" in result.assignments[6]
    oscillator = result.thermo(298.15, 1e5, "ideal_gas")
    free = result.thermo(298.15, 1e5, "ideal_gas", free_rotors=[(0, 1)])
    # Chen, Wilhoit and Zwolinski (1977): 239.9 with its barrier of 373 cm⁻¹, which hinders a little.
    assert oscillator.entropy_jmol_k < 239.9 < free.entropy_jmol_k < 241.5
    assert free.zpe_ev == pytest.approx(oscillator.zpe_ev - 295 / 2 * units.invcm, rel=1e-9)
    # It does not matter which end is said to turn.
    assert result.thermo(298.15, 1e5, "ideal_gas", free_rotors=[(1, 0)]) == free
    heat = IdealGas(free_rotors=[(0, 1)]).heat(result, 298.15, 1e5)
    assert heat.entropy_ev_k * (units.mol / units.J) == pytest.approx(free.entropy_jmol_k)


def test_the_reduced_moment_of_methanol_is_that_of_its_microwave_spectrum() -> None:
    (rotor,), replaced = turning_groups(springs_result("CH3OH"), [(0, 1)])
    constant = units._hplanck / (8 * np.pi**2 * units._c * rotor.inertia * units._amu * 1e-20) / 100
    # R. M. Lees, J. G. Baker, J. Chem. Phys. 48, 5299 (1968): F = 27.63 cm⁻¹.
    assert constant == pytest.approx(27.63, rel=0.06)
    assert replaced.sum() == 1


@pytest.mark.parametrize(("name", "equal"), [("CH3OH", 3), ("C2H6", 3), ("CH3NO2", 6), ("H2O2", 1)])
def test_both_ends_of_a_bond_count_in_the_symmetry_number(name: str, equal: int) -> None:
    (rotor,), _ = turning_groups(springs_result(name), [(0, 1)])
    assert rotor.symmetry_number == equal


def test_the_reduced_moment_of_a_symmetric_top_is_that_of_pitzer() -> None:
    """A (1 − A/I) about the axis that top and frame share: with isotopes the two halves of ethane differ."""
    ethane = springs_result("C2H6").with_masses(dict.fromkeys((2, 3, 4), "D"))
    positions, masses = ethane.atoms.positions, ethane.atoms.get_masses()
    axis = (positions[1] - positions[0]) / np.linalg.norm(positions[1] - positions[0])
    squares = np.sum(np.cross(positions - positions[0], axis) ** 2, axis=1) * masses
    near = np.linalg.norm(positions - positions[0], axis=1) < np.linalg.norm(positions - positions[1], axis=1)
    top, whole = squares[near].sum(), squares.sum()
    (rotor,), _ = turning_groups(ethane, [(0, 1)])
    assert rotor.inertia == pytest.approx(top * (1 - top / whole), rel=1e-6)


def test_a_free_rotor_is_the_classical_limit_of_its_levels() -> None:
    """Against the sum over all levels m²h²/8π²I of a rotor of which each third is allowed."""
    inertia, kelvin = 3.1, 298.15
    rotational_ev = (units._hbar**2 / (2 * inertia * units._amu * 1e-20)) / units._e
    levels = np.array([rotational_ev * m**2 for m in range(-300, 301, 3)]) / (units.kB * kelvin)
    weights = np.exp(-levels)
    states, mean = weights.sum(), (levels * weights).sum() / weights.sum()
    square = (levels**2 * weights).sum() / states - mean**2
    R = units._k * units._Nav
    found = free_rotor(inertia, 3, kelvin)
    assert found.entropy_jmol_k == pytest.approx(R * (np.log(states) + mean), abs=1e-3)
    assert found.internal_energy_ev == pytest.approx(mean * units.kB * kelvin, rel=1e-3)
    assert found.heat_capacity_jmol_k == pytest.approx(R * square, rel=1e-3)


def test_on_a_surface_a_group_turns_against_what_is_held() -> None:
    held = springs_result("CH3OH").document
    # Oxygen and its hydrogen are held: the rows of the others remain.
    kept = [k for k, symbol in enumerate(held.symbols) if symbol == "C"] + [2, 4, 5]
    rows = np.array([3 * k + axis for k in kept for axis in range(3)])
    hessian = np.array(held.hessian)[np.ix_(rows, rows)]
    document = held.model_copy(
        update={
            "mobile_indices": kept,
            "hessian": hessian.tolist(),
            "masses": [held.masses[k] for k in kept],
            "symmetry_operations": [],
            "born_charges": None,
        }
    )
    adsorbate = ZPEResult(document).at(299.0)
    (rotor,), replaced = turning_groups(adsorbate, [(0, 1)])
    positions = np.array(held.positions)
    axis = (positions[1] - positions[0]) / np.linalg.norm(positions[1] - positions[0])
    arms = np.cross(positions[[2, 4, 5]] - positions[0], axis)
    assert rotor.inertia == pytest.approx(1.008 * np.sum(arms**2), rel=1e-3)
    assert rotor.symmetry_number == 3
    assert replaced.sum() == 1
    heat = QuasiHarmonic(free_rotors=[(0, 1)]).heat(adsorbate, 298.15, 1e5)
    assert heat.zpe_ev < QuasiHarmonic().heat(adsorbate, 298.15, 1e5).zpe_ev


@pytest.mark.parametrize(
    ("name", "bonds", "told"),
    [
        ("CH3OH", [(2, 1)], "no bond from atom 2 to atom 1"),
        ("H2O", [(1, 0)], "nothing that hangs on atom 1 turns"),
        ("CH3CN", [(0, 1)], "turns about"),
        ("C3H6_D3h", [(0, 1)], "in a ring"),
        ("CH3OH", [0], "pair of bonded atoms"),
        ("CH3OH", [(0, 99)], "no bond"),
    ],
)
def test_what_does_not_turn_is_refused(name: str, bonds: Any, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        springs_result(name).thermo(model="ideal_gas", free_rotors=bonds)
    assert caught.value.code == "bad_rotor"


def test_an_adsorbate_may_have_quasi_rrho_in_a_reaction() -> None:
    result = methanol()
    heat = QuasiHarmonic(400, "grimme").heat(result, 298.15, 1e5)
    vibrations = result.frequencies_cm[6:]
    assert heat.entropy_ev_k * (units.mol / units.J) == pytest.approx(
        quasi_rrho_entropy(vibrations, 298.15, 400.0)
    )
    raised = QuasiHarmonic(400).heat(result, 298.15, 1e5)
    # Only the entropy is touched; raised, they would have a zero-point energy of their own.
    assert heat.zpe_ev == pytest.approx(np.sum(vibrations) * units.invcm / 2)
    assert raised.zpe_ev == pytest.approx(heat.zpe_ev + (400 - 295) * units.invcm / 2)


def test_hydroxyl_lies_between_two_and_four_electronic_states() -> None:
    radical = gas("OH", [3570.0], unpaired=1.0)
    doublet = radical.thermo(298.15, 1e5, "ideal_gas")
    four = radical.thermo(298.15, 1e5, "ideal_gas", degeneracy=4)
    # NIST-JANAF: 183.71; the two halves of ²Π are 139 cm⁻¹ apart.
    assert doublet.entropy_jmol_k < 183.71 < four.entropy_jmol_k
    assert four.entropy_jmol_k - doublet.entropy_jmol_k == pytest.approx(8.314463 * np.log(2), abs=1e-4)


LOW = np.array([12.0, 60.0, 99.0, 250.0, 1600.0])


def test_quasi_rrho_is_that_of_ase() -> None:
    inertia = 1e-44 / (units._amu * 1e-20)
    expected = sum(RRHOMode(cm * units.invcm, inertia, tau=100.0).get_entropy(298.15, {}) for cm in LOW) * (
        units.mol / units.J
    )
    assert quasi_rrho_entropy(LOW, 298.15, 100.0) == pytest.approx(expected, rel=1e-4)
    assert quasi_rrho_entropy(LOW, 298.15, 100.0) < vibrational_entropy(LOW, 298.15)
    high = np.array([1600.0, 3000.0])
    assert quasi_rrho_entropy(high, 298.15, 100.0) == pytest.approx(
        vibrational_entropy(high, 298.15), abs=1e-2
    )


def test_truhlar_raises_low_modes_to_the_cut() -> None:
    raised = thermodynamics(LOW, 298.15, "truhlar", 80.0)
    assert raised == thermodynamics(np.maximum(LOW, 80.0), 298.15)


def test_low_modes_are_treated_alike_in_a_gas_and_a_solid() -> None:
    result = gas("CH3OH", [20.0, *[float(cm) for cm in GASES[-1][1][1:]]])
    for kind in ("truhlar", "grimme"):
        change = {}
        for model in ("harmonic", "ideal_gas"):
            harmonic, treated = (
                result.thermo(298.15, 1e5, model, low_modes=low).entropy_jmol_k for low in ("harmonic", kind)
            )
            change[model] = treated - harmonic
        # The harmonic model leaves out what lies below its cut of 50 cm⁻¹, the others do not.
        left_out = vibrational_entropy(np.array([20.0]), 298.15)
        assert change["harmonic"] == pytest.approx(change["ideal_gas"] + left_out, abs=1e-6)
        assert change["ideal_gas"] < -5
    with pytest.raises(InputError) as caught:
        result.thermo(low_modes="none")  # type: ignore[arg-type]
    assert caught.value.code == "bad_model"


def test_a_gas_in_a_reaction_has_the_same_low_modes() -> None:
    result = gas("CH3OH", [20.0, *[float(cm) for cm in GASES[-1][1][1:]]])
    heat = IdealGas(low_modes="grimme", cut_cm=80.0).heat(result, 298.15, 1e5)
    state = result.thermo(298.15, 1e5, "ideal_gas", low_modes="grimme", cut_cm=80.0)
    assert heat.entropy_ev_k * 298.15 == pytest.approx(state.enthalpy_ev - state.free_energy_ev)


def test_a_table_by_temperature() -> None:
    water = springs_result("H2O")
    table = water.thermo_table(range(300, 501, 100), 2e5, "ideal_gas")
    assert list(table.index) == [300, 400, 500]
    state = water.thermo(400, 2e5, "ideal_gas")
    assert table.free_energy_ev[400] == state.free_energy_ev
    assert table.total_ev[400] == state.energy_ev + state.free_energy_ev


def test_a_table_of_results_reads_back_from_csv_failures_included() -> None:
    water = springs_result("H2O", charge=1)
    failed = ComputeError("the SCF did not converge", code="scf_not_converged")
    table = as_table({"water": water, "other": failed}, temperature=500.0)
    read = pd.read_csv(StringIO(table.to_csv()), index_col="name")
    assert read.loc["other", "failure"].startswith("the SCF did not converge")
    assert np.isnan(read.loc["other", "zpe_ev"])
    row = read.loc["water"]
    np.testing.assert_allclose(ast.literal_eval(row.vibrations_cm), water.frequencies_cm[6:], atol=1e-3)
    assert row.g_ev == pytest.approx(
        water.document.energy_ev + water.thermo(500.0, 1e5, "ideal_gas").free_energy_ev
    )
    assert row.g_model == "ideal_gas"
    assert "sum rule" in row.warnings
    assert row.pseudopotentials == "H.pbe-kjpaw.UPF, O.pbe-kjpaw.UPF"
    assert (row.ecutwfc_ry, row.temperature_k) == (30.0, 500.0)


def test_a_table_of_modes_reads_back_from_csv() -> None:
    results = {
        "water": springs_result("H2O"),
        "broken": ComputeError("the SCF did not converge", code="scf_not_converged"),
        "dark": springs_result("CH4", dipoles=False),
    }
    table = modes_table(results)
    assert table.loc[("water", 7), "irrep"] == "B2"
    assert table.loc[("water", 7), "motion"] == "O–H stretch, antisymmetric, 100 %"
    assert table.loc["dark"].ir_intensity_km_mol.isna().all()
    assert set(table.index.get_level_values("name")) == {"water", "dark"}
    np.testing.assert_allclose(table.loc["water"].wavenumber_cm, results["water"].frequencies_cm)
    read = pd.read_csv(StringIO(table.to_csv()), index_col=["name", "mode"])
    pd.testing.assert_frame_equal(read, table, check_dtype=False)
    assert list(modes_table([results["water"]]).loc["H2O"].index) == list(range(9))
    assert modes_table({}).empty


# What a worker sends that settles whole jobs and knows no Hessian.
BARE = BareResult.from_dict(
    {
        "freqs_cm": [0.0] * 5 + [4400.0],
        "zpe_ev": 0.2728,
        "s_vib_jmol_k": 0.01,
        "mobile_indices": [0, 1],
        "temperature": 298.15,
        "kpts": [1, 1, 1],
        "ecutwfc": 40.0,
    }
)


def test_results_of_old_workers_have_rows_with_empty_cells() -> None:
    table = as_table({"old": BARE, "water": springs_result("H2O")})
    assert list(table.columns) == list(as_table([springs_result("H2O")]).columns)
    old = table.loc["old"]
    assert (old.zpe_ev, old.s_vib_jmol_k, old.kpts, old.ecutwfc_ry) == (0.2728, 0.01, "1x1x1", 40.0)
    assert old[["formula", "energy_ev", "g_ev", "warnings", "vibrations_cm"]].isna().all()
    read = pd.read_csv(StringIO(table.to_csv()), index_col="name")
    assert read.loc["old"].isna().sum() == old.isna().sum()
    # At another temperature its entropy is not known.
    assert as_table({"old": BARE}, temperature=500.0).columns.intersection(["s_vib_jmol_k"]).empty

    modes = modes_table({"old": BARE})
    assert list(modes.wavenumber_cm) == [0.0] * 5 + [4400.0]
    assert modes.drop(columns=["wavenumber_cm", "energy_mev"]).isna().all(axis=None)
    assert list(as_table([BARE]).index) == [""]


def test_a_dataset_of_results_is_read_again_by_xarray(tmp_path: Path) -> None:
    xr = pytest.importorskip("xarray", reason="as_dataset needs the extra xarray")
    water, methane = springs_result("H2O"), springs_result("CH4", dipoles=False)
    failed = ComputeError("the SCF did not converge", code="scf_not_converged")
    results = {"water": water, "failed": failed, "old": BARE, "methane": methane}
    as_dataset(results, temperature=500.0).to_netcdf(tmp_path / "screening.nc", engine="scipy")
    with xr.open_dataset(tmp_path / "screening.nc", engine="scipy") as read:
        assert dict(read.sizes) == {"name": 4, "mode": 15}
        assert list(read.name.values) == list(results)
        assert float(read.zpe_ev.sel(name="water")) == water.zpe_ev
        assert read.zpe_ev.attrs["units"] == "eV"
        assert read.s_vib_jmol_k.attrs["units"] == "J/(mol K)"
        cm = read.wavenumber_cm.sel(name="water")
        np.testing.assert_array_equal(cm[:9], water.frequencies_cm)
        assert cm[9:].isnull().all()
        np.testing.assert_array_equal(read.counted.sel(name="water")[:9], water.counted)
        assert not read.counted.sel(name=["failed", "old"]).any()
        highest = read.wavenumber_cm.where(read.counted).max("mode")
        assert float(highest.sel(name="methane")) == methane.frequencies_cm[-1]
        assert str(read.irrep.sel(name="water", mode=7).values) == "B2"
        assert str(read.failure.sel(name="failed").values).startswith("the SCF did not converge")
        assert read.ir_intensity_km_mol.sel(name="methane").isnull().all()


def test_a_dataset_knows_its_results_by_their_names() -> None:
    pytest.importorskip("xarray", reason="as_dataset needs the extra xarray")
    water = springs_result("H2O")
    assert list(as_dataset([water]).name.values) == ["H2O"]
    with pytest.raises(InputError, match="H2O") as caught:
        as_dataset([water, water])
    assert caught.value.field == "results"
    assert as_dataset({}).sizes["name"] == 0
    assert as_dataset({"failed": ComputeError("no", code="worker_lost")}).sizes["name"] == 1
