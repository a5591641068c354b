"""Results side by side, on springs whose modes are known."""

from __future__ import annotations

import numpy as np
import pytest

from tests.springs import springs_result
from zpe_sdk import InputError


def test_a_result_compared_with_itself_differs_in_nothing() -> None:
    water = springs_result("H2O")
    same = water.compare(water)
    assert (same.energy_ev, same.zpe_ev, same.largest_shift_cm, same.settings) == (0, 0, 0, ())
    assert [pair.mode for pair in same.modes] == [pair.other_mode for pair in same.modes]
    assert [pair.overlap for pair in same.modes] == pytest.approx([1, 1, 1])
    assert "Computed differently" not in same.summary()


def test_heavy_water_is_lower_in_every_vibration() -> None:
    light = springs_result("H2O")
    heavy = light.with_masses({"H": "D"})
    change = light.compare(heavy)
    assert change.zpe_ev == pytest.approx(heavy.zpe_ev - light.zpe_ev)
    assert change.free_energy_ev < 0
    # Of stretches it is 1/√2, were the oxygen of infinite mass; it recoils, and more from deuterium.
    stretches = [pair for pair in change.modes if "stretch" in pair.motion]
    assert stretches
    for pair in stretches:
        assert 1 / np.sqrt(2) < pair.other_cm / pair.wavenumber_cm < 0.75
        assert pair.shift_cm == pytest.approx(pair.other_cm - pair.wavenumber_cm)
    assert list(change.table()["shift_cm"]) == [pair.shift_cm for pair in change.modes]
    assert change.largest_shift_cm == min(pair.shift_cm for pair in change.modes)


def test_settings_that_differ_are_said() -> None:
    water = springs_result("H2O")
    told = water.compare(water.at(500.0).with_cutoff(80.0)).settings
    assert told == (
        "temperature: 298.15 (this), 500 (other)",
        "cut of low modes in cm⁻¹: 50 (this), 80 (other)",
    )


def test_a_turned_molecule_has_the_same_modes() -> None:
    water = springs_result("H2O")
    turned = springs_result("H2O", turned=True)
    comparison = water.compare(turned)
    assert abs(comparison.largest_shift_cm) < 0.1
    assert [pair.overlap for pair in comparison.modes] == pytest.approx([1, 1, 1], abs=1e-3)


def test_modes_of_other_atoms_are_not_paired() -> None:
    comparison = springs_result("H2O").compare(springs_result("CH4"))
    assert comparison.modes == ()
    assert np.isnan(comparison.largest_shift_cm)
    with pytest.raises(InputError) as caught:
        springs_result("H2O").compare("water")  # type: ignore[arg-type]
    assert caught.value.field == "other"


def test_isotopes_change_nothing_where_there_is_no_such_atom() -> None:
    batch = {name: springs_result(name) for name in ("H2O", "CO2")}
    heavy = {name: result.with_masses({"H": "D"}) for name, result in batch.items()}
    assert heavy["CO2"].frequencies_cm == pytest.approx(batch["CO2"].frequencies_cm)
    assert heavy["CO2"].document.warnings == batch["CO2"].document.warnings
    assert heavy["H2O"].zpe_ev < batch["H2O"].zpe_ev
    for masses in ({"Hh": "D"}, {"H": "13C"}, {7: 2.0}):
        with pytest.raises(InputError) as caught:
            batch["CO2"].with_masses(masses)  # type: ignore[arg-type]
        assert caught.value.code == "bad_masses"


def test_thermochemistry_is_shown_with_as_many_digits_as_it_is_good_for() -> None:
    gas = springs_result("H2O").thermo(298.15, 1e5, "ideal_gas", spin=0)
    shown = repr(gas)
    assert "ideal gas, 298.15 K, 1 bar, symmetry number 2, spin 0" in shown
    assert f"G {gas.free_energy_ev:.4f} eV" in shown
    assert f"S {gas.entropy_jmol_k:.2f} J/(mol K)" in shown
    assert "<table>" in gas._repr_html_()
    assert "F " in repr(springs_result("H2O").thermo(300))
