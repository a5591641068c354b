"""Results in other programs' formats, each opened by a program that it is for."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import cantera
import numpy as np
import phonopy
import pytest
from ase.io import read, write
from ase.vibrations import VibrationsData
from openbabel import pybel
from qcelemental.models import AtomicResult

from tests.springs import springs_result
from zpe_sdk import InputError, ZPEResult
from zpe_sdk.result.exports.nasa import GAS_CONSTANT, nasa_polynomials, shomate
from zpe_sdk.result.thermo import Thermochemistry


@pytest.fixture(scope="module")
def water() -> ZPEResult:
    return springs_result("H2O")


@pytest.fixture(scope="module")
def held(water: ZPEResult) -> ZPEResult:
    """Water whose oxygen is fixed."""
    d = water.document
    update = {
        "mobile_indices": [1, 2],
        "masses": d.masses[1:],
        "hessian": water.hessian[3:, 3:].tolist(),
        "freqs_cm": d.freqs_cm[3:],
        "mode_kinds": d.mode_kinds[3:],
        "modes": [mode[1:] for mode in d.modes[3:]],
    }
    return ZPEResult(d.model_copy(update=update))


def test_open_babel_reads_the_vibrations_of_a_molden_file(water: ZPEResult) -> None:
    found = pybel.readstring("molden", water.export("molden"))
    assert found.formula == "H2O"
    np.testing.assert_allclose([atom.coords for atom in found.atoms], water.atoms.positions, atol=1e-4)
    data = pybel.ob.toVibrationData(found.OBMol.GetData(pybel.ob.VibrationData))
    np.testing.assert_allclose(data.GetFrequencies(), water.frequencies_cm[-3:], atol=1e-3)


def test_ase_reads_extended_xyz_with_modes(water: ZPEResult) -> None:
    frames = read(StringIO(water.export("extxyz")), index=":", format="extxyz")
    assert [frame.info["mode"] for frame in frames] == list(range(9))
    for frame, cm, mode in zip(frames, water.frequencies_cm, water.modes, strict=True):
        assert frame.info["frequency_cm"] == pytest.approx(cm)
        np.testing.assert_allclose(frame.arrays["displacement"], mode, atol=1e-7)


def test_ase_writes_and_reads_a_mode_as_a_trajectory(water: ZPEResult, tmp_path: Path) -> None:
    write(tmp_path / "mode.traj", water.images(-1, amplitude=0.2, count=8))
    images = read(tmp_path / "mode.traj", index=":")
    moved = [np.linalg.norm(image.positions - images[0].positions, axis=1).max() for image in images]
    np.testing.assert_allclose(moved, 0.2 * np.abs(np.sin(2 * np.pi * np.arange(8) / 8)), atol=1e-9)


def test_ase_reads_vib_json(water: ZPEResult, held: ZPEResult, tmp_path: Path) -> None:
    for result in (water, held):
        (tmp_path / "vib.json").write_text(result.export("vib.json"))
        data = VibrationsData.read(tmp_path / "vib.json")
        np.testing.assert_allclose(data.get_hessian_2d(), result.hessian)
        assert data.get_indices().tolist() == result.document.mobile_indices
    assert data.get_atoms() == water.atoms


def test_phonopy_finds_the_frequencies_of_its_files(
    water: ZPEResult, held: ZPEResult, tmp_path: Path
) -> None:
    (tmp_path / "phonopy.yaml").write_text(water.export("phonopy.yaml"))
    (tmp_path / "FORCE_SETS").write_text(water.export("FORCE_SETS"))
    phonon = phonopy.load(
        tmp_path / "phonopy.yaml", force_sets_filename=tmp_path / "FORCE_SETS", symmetrize_fc=False
    )
    phonon.run_qpoints([[0, 0, 0]])
    terahertz = phonon.qpoints.frequencies[0]
    np.testing.assert_allclose(terahertz[-3:] * 33.35641, water.frequencies_cm[-3:], atol=0.05)
    with pytest.raises(InputError) as caught:
        held.export("FORCE_SETS")
    assert caught.value.code == "atoms_fixed"


def test_qcelemental_reads_qcschema(water: ZPEResult, held: ZPEResult) -> None:
    found = AtomicResult.parse_raw(water.export("qcschema"))
    assert found.molecule.get_molecular_formula() == "H2O"
    assert found.return_result.shape == (9, 9)
    # 1 hartree/bohr² is 97.17362 eV/Å².
    np.testing.assert_allclose(found.return_result * 97.17362, water.hessian, rtol=1e-6, atol=1e-7)
    with pytest.raises(InputError):
        held.export("qcschema")


def gas(result: ZPEResult) -> object:
    def at(kelvin: float) -> Thermochemistry:
        return result.thermo(kelvin, 1e5, "ideal_gas")

    return at


@pytest.mark.parametrize("name", ["H2O", "CO2", "CH3OH"])
def test_cantera_computes_from_nasa_polynomials_what_was_fitted(name: str) -> None:
    result = springs_result(name)
    thermo = gas(result)
    symbols = result.atoms.get_chemical_symbols()
    fitted = nasa_polynomials(thermo, formation_enthalpy_kj_mol=-200.0)
    assert fitted.error < 1e-2
    elements = ", ".join(dict.fromkeys(symbols))
    solution = cantera.Solution(
        yaml=f"phases:\n- name: gas\n  thermo: ideal-gas\n  elements: [{elements}]\n  species: [gas]\n"
        f"species:\n{fitted.cantera('gas', symbols)}"
    )
    standard = thermo(298.15)
    for kelvin in (250.0, 298.15, 700.0, 1000.0, 2500.0):
        solution.TP = kelvin, 1e5
        expected = thermo(kelvin)
        rise = (expected.enthalpy_ev - standard.enthalpy_ev) * 96.48533
        assert solution.enthalpy_mole / 1e6 == pytest.approx(-200.0 + rise, abs=0.05)
        assert solution.entropy_mole / 1e3 == pytest.approx(expected.entropy_jmol_k, abs=0.05)
    # Where the ranges meet, neither heat capacity nor enthalpy jumps.
    capacities = []
    for kelvin in (1000.0 - 1e-6, 1000.0 + 1e-6):
        solution.TP = kelvin, 1e5
        capacities.append(solution.cp_mole / 1e3)
    assert capacities[0] == pytest.approx(capacities[1], abs=1e-4)
    assert capacities[0] > 3.5 * GAS_CONSTANT


def test_shomate_gives_enthalpy_and_entropy_as_the_webbook_defines_them() -> None:
    result = springs_result("H2O")
    thermo = gas(result)
    A, B, C, D, E, F, G, H = shomate(thermo, formation_enthalpy_kj_mol=-241.8).coefficients
    assert pytest.approx(-241.8) == H
    standard = thermo(298.15)
    for kelvin in (298.15, 500.0, 1200.0):
        t, expected = kelvin / 1000, thermo(kelvin)
        rise = A * t + B * t**2 / 2 + C * t**3 / 3 + D * t**4 / 4 - E / t + F - H
        assert rise == pytest.approx((expected.enthalpy_ev - standard.enthalpy_ev) * 96.48533, abs=0.02)
        entropy = A * np.log(t) + B * t + C * t**2 / 2 + D * t**3 / 3 - E / (2 * t**2) + G
        assert entropy == pytest.approx(expected.entropy_jmol_k, abs=0.03)


def test_what_to_cite_follows_from_the_calculation(water: ZPEResult) -> None:
    told = water.export("bibtex")
    assert all(doi in told for doi in ("10.1088/1361-648X/aa8f79", "10.1103/PhysRevLett.77.3865"))
    assert told.count("@") == told.count("\n}") == 6
    d = water.document
    other = d.pw_input.replace("&SYSTEM", "&SYSTEM\n  input_dft = 'b3lyp', vdw_corr = 'dft-d3'")
    told = ZPEResult(d.model_copy(update={"pw_input": other})).export("bibtex")
    assert "PhysRevLett" not in told
    assert "Cite the functional too: b3lyp" in told
    assert "10.1063/1.3382344" in told
    mock = d.fingerprint.model_copy(update={"engine": "mock"})
    assert "nothing to publish" in ZPEResult(d.model_copy(update={"fingerprint": mock})).export("bibtex")


def test_exports_know_intensities_where_there_are_any(water: ZPEResult) -> None:
    without = springs_result("H2O", dipoles=False)
    assert without.ir_intensities is None
    assert "[INT]" not in without.export("molden")
    assert json.loads(without.export("qcschema"))["extras"]["ir_intensities_km_mol"] is None
    assert "ir_intensity" not in without.export("extxyz")


def test_an_unknown_format_is_refused_by_name(water: ZPEResult) -> None:
    with pytest.raises(InputError, match="molden") as caught:
        water.export("docx")  # type: ignore[arg-type]
    assert caught.value.code == "bad_format"
