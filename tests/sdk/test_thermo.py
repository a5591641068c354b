"""Thermochemistry against NIST and against ASE."""

from __future__ import annotations

import ast
from io import StringIO

import numpy as np
import pandas as pd
import pytest
from ase import units
from ase.build import molecule
from ase.thermochemistry import RRHOMode

from tests.springs import springs_result
from zpe_sdk import ComputeError, IdealGas, InputError, ZPEResult, as_table
from zpe_sdk.vibrations.oscillators import quasi_rrho_entropy, thermodynamics, vibrational_entropy


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
