"""Polar tensors and intensities against ASE's, which displaces every atom along every axis."""

from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from ase.vibrations import Infrared

from tests.springs import CHARGE, DELTA, Springs, boxed, computed, springs_result
from zpe_sdk import ZPEResult
from zpe_sdk.errors import InputError
from zpe_sdk.vibrations.hessian import assemble_hessian
from zpe_sdk.vibrations.intensities import KM_PER_MOL, ir_intensities, polar_tensors, sum_rule_residual
from zpe_sdk.vibrations.kinds import external_motions
from zpe_sdk.vibrations.modes import normal_modes


@pytest.mark.parametrize("name", ["H2O", "CO2", "NH3", "CH4", "CH3OH"])
def test_intensities_are_those_that_ase_finds_from_all_displacements(name: str, tmp_path: Path) -> None:
    atoms = boxed(name)
    plan, forces, dipoles = computed(atoms)
    assert len(plan.displacements) < 6 * len(atoms) + 1
    atoms.calc = Springs(atoms)
    reference = Infrared(atoms, delta=DELTA, name=str(tmp_path / "ir"))
    reference.run()
    reference.get_energies()

    masses = atoms.get_masses()
    modes = normal_modes(assemble_hessian(plan, forces), masses, external_motions(masses, atoms.positions))
    tensors = polar_tensors(plan, dipoles)
    found = ir_intensities(tensors, modes.displacements, masses, modes.kinds)
    vibrating = np.array(modes.kinds) == "vibration"
    assert not found[~vibrating].any()
    # In degenerate sets only the sum means something: compare what the spectrum has up to each mode.
    expected = np.cumsum(reference.intensities[-vibrating.sum() :])
    np.testing.assert_allclose(
        np.cumsum(found[vibrating] / KM_PER_MOL)[-1], expected[-1], rtol=2e-4, atol=1e-6
    )
    wide = np.flatnonzero(np.diff(modes.frequencies_cm[vibrating]) > 1)
    np.testing.assert_allclose(
        np.cumsum(found[vibrating] / KM_PER_MOL)[wide], expected[wide], rtol=1e-3, atol=1e-4
    )
    # The factor of Porezag and Pederson, Phys. Rev. B 54, 7830 (1996), which ASE uses.
    assert pytest.approx(42.255, abs=2e-3) == KM_PER_MOL


def test_the_tensors_of_charges_that_do_not_flow_are_the_charges() -> None:
    atoms = boxed("CH3OH")
    charges = np.array([CHARGE[symbol] for symbol in atoms.get_chemical_symbols()])
    plan = computed(atoms)[0]
    dipoles = {}
    for step in plan.displacements:
        positions = atoms.positions.copy()
        if step.atom is not None:
            positions[step.atom] += step.displacement
        dipoles[step.index] = charges @ positions
    tensors = polar_tensors(plan, dipoles)
    np.testing.assert_allclose(tensors, charges[:, None, None] * np.eye(3), atol=1e-12)
    np.testing.assert_allclose(sum_rule_residual(tensors, charges.sum()), 0, atol=1e-12)
    np.testing.assert_allclose(sum_rule_residual(tensors, 0.0), charges.sum() * np.eye(3), atol=1e-12)


@pytest.mark.parametrize("wrong", [None, [0.0, 0.0], [0.0, np.nan, 0.0]])
def test_a_dipole_that_is_none_is_named(wrong: list[float] | None) -> None:
    plan, _, dipoles = computed(boxed("H2O"))
    del dipoles[2]
    if wrong is not None:
        dipoles[2] = np.array(wrong)
    with pytest.raises(InputError, match="task 2") as caught:
        polar_tensors(plan, dipoles)
    assert caught.value.code == "dipoles_invalid"


def test_a_result_tells_its_dipole_and_intensities() -> None:
    result = springs_result("H2O")
    plan, _, dipoles = computed(boxed("H2O"))
    np.testing.assert_allclose(result.dipole, dipoles[0])
    np.testing.assert_allclose(result.born_charges, polar_tensors(plan, dipoles), atol=1e-4)
    assert result.ir_intensities is not None
    assert result.ir_intensities[:6].tolist() == [0.0] * 6
    assert (result.ir_intensities[6:] > 1).all()
    rows = list(csv.DictReader(StringIO(result.to_csv())))
    found = [float(row["ir_intensity_km_mol"]) for row in rows]
    np.testing.assert_allclose(found, result.ir_intensities, atol=1e-6)
    summary = result.summary()
    for value in result.ir_intensities[6:]:
        assert f"{value:.2f}  " in summary
    assert f"{np.linalg.norm(result.dipole) * 4.80320:.4f} D" in summary
    assert "O–H stretch, antisymmetric" in summary
    assert ZPEResult.from_json(result.to_json()).ir_intensities == pytest.approx(result.ir_intensities)


def test_heavier_isotopes_absorb_less_by_the_same_tensors() -> None:
    light = springs_result("H2O")
    heavy = light.with_masses({"H": "D"})
    # The sum over all 3N modes goes as Σ Z²/m (B. Crawford, J. Chem. Phys. 20, 977 (1952)).
    tensors = light.born_charges
    for result in (light, heavy):
        every = ir_intensities(tensors, result.modes, result.masses, ["vibration"] * 9)
        expected = np.sum(tensors**2 / result.masses[:, None, None]) * 4.803205**2 * KM_PER_MOL
        assert every.sum() == pytest.approx(expected, rel=1e-4)
    assert heavy.ir_intensities.sum() < 0.7 * light.ir_intensities.sum()


def test_without_all_dipoles_there_are_no_intensities() -> None:
    result = springs_result("H2O", dipoles=False)
    assert result.dipole is None
    assert result.born_charges is None
    assert result.ir_intensities is None
    assert "ir_intensity" not in result.to_csv()
    assert "km/mol" not in result.summary()


def test_what_the_tensors_miss_is_told_and_shared_out() -> None:
    charged = springs_result("H2O", charge=1)
    assert charged.document.checks["polar_sum_e"] == pytest.approx(1.0, abs=1e-4)
    assert any("miss their sum rule by 1.00 e" in told for told in charged.document.warnings)
    np.testing.assert_allclose(charged.born_charges.sum(axis=0), np.eye(3), atol=1e-6)
    assert springs_result("H2O").document.checks["polar_sum_e"] == pytest.approx(0, abs=1e-4)
