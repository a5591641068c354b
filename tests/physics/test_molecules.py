"""Zero-point energies of molecules whose box, grid or structure is not good, computed by pw.x.

The forces of plain.json are of pw.x 6.7 (Debian): plain central differences of ±0.01 Å along x, y and z of
every atom, each SCF from scratch at conv_thr = 1e-12, no symmetry, nothing of the engine. ``fine_zpe_mev`` is
the ZPE of the same molecule on a finer grid (ecutrho of 480 Ry for CO2, 600 Ry for water), by the engine.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import units

from benchmarks.engine import engine_result
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.result.assemble import make_result
from zpe_sdk.result.masses import masses_of
from zpe_sdk.result.result import ZPEResult
from zpe_sdk.vibrations.plan import plan_displacements
from zpe_sdk.wire import Fingerprint, JobPayload, TaskReport, ZPEResultDocument

PSEUDO_DIR = Path("/usr/share/espresso/pseudo")
PLAIN: dict[str, Any] = json.loads((Path(__file__).parent / "plain.json").read_text())
AXES = "xyz"
DELTA = 0.01


def assembled(name: str) -> ZPEResultDocument:
    """Return the result of a job whose SCFs are those of plain.json."""
    text = PLAIN[name]["input"]
    p = PwInput.parse(text)
    plan = plan_displacements(p.positions, p.cell, p.labels, p.mobile(), delta=DELTA, symmetry=False)
    to_ev_ang = units.Ry / units.Bohr
    reports = {}
    for step in plan.displacements:
        key = "0"
        if step.atom is not None:
            axis = int(np.argmax(np.abs(step.displacement)))
            assert abs(step.displacement[axis]) == pytest.approx(DELTA)
            key = f"{step.atom}{AXES[axis]}{'+' if step.displacement[axis] > 0 else '-'}"
        reports[step.index] = TaskReport(
            task=step.index,
            energy_ev=0.0,
            forces_ev_ang=(np.array(PLAIN[name]["forces_ry_bohr"][key]) * to_ev_ang).tolist(),
            fingerprint=Fingerprint(engine="espresso", engine_version="6.7MaX", physics="0" * 64),
            scf_seconds=1.0,
        )
    now = datetime.now(UTC)
    payload = JobPayload(
        content=text, mobile_indices=list(p.mobile()), delta=DELTA, low_cut_cm=50.0, temperature=298.15
    )
    workers = dict.fromkeys(reports, "pw.x")
    return make_result(payload, p, plan, reports, workers=workers, started_at=now, finished_at=now)


def plain_wavenumbers(name: str) -> np.ndarray:
    """Diagonalise the central differences as they are, imaginary modes negative."""
    p, forces = PwInput.parse(PLAIN[name]["input"]), PLAIN[name]["forces_ry_bohr"]
    rows = [
        (np.array(forces[f"{atom}{axis}-"]) - np.array(forces[f"{atom}{axis}+"])).ravel() / (2 * DELTA)
        for atom in range(len(p.labels))
        for axis in AXES
    ]
    hessian = np.array(rows) * units.Ry / units.Bohr
    weights = np.repeat(masses_of(p)[0] ** -0.5, 3)
    squares = np.linalg.eigvalsh(weights[:, None] * (hessian + hessian.T) / 2 * weights)
    ev = np.sign(squares) * np.sqrt(np.abs(squares)) * units._hbar * 1e10 / np.sqrt(units._e * units._amu)
    return np.asarray(ev / units.invcm)


# name, ZPE in meV of the vibrations, their number, and what motions of the whole the molecule has
# beyond the cut, with the wavenumber in cm⁻¹.
CASES = [
    ("h2_long", 261.06, 1, {"rotation": 183.4}),
    ("co2", 303.1, 4, {"rotation": 269.7}),
    ("ir_co2", 306.6, 4, {"rotation": -158.0}),
    ("h2o_mt", 578.9, 3, {"translation": 140.8, "rotation": -315.0}),
]


@pytest.mark.parametrize(("name", "zpe_mev", "count", "residuals"), CASES)
def test_only_vibrations_count_whatever_box_grid_and_relaxation_do_to_the_rest(
    name: str, zpe_mev: float, count: int, residuals: dict[str, float]
) -> None:
    document = assembled(name)
    result = ZPEResult(document)
    # The engine displaces along other directions: the anharmonic error is another, and so is the grid's.
    assert 1000 * document.zpe_ev == pytest.approx(zpe_mev, abs=0.25)
    assert document.mode_kinds.count("vibration") == int(result.counted.sum()) == count
    # The highest modes of all are the vibrations here, and no projection moves them by more than this.
    np.testing.assert_allclose(
        result.frequencies_cm[result.counted], plain_wavenumbers(name)[-count:], atol=0.5
    )
    for kind, cm in residuals.items():
        of_kind = [
            value for value, k in zip(document.freqs_cm, document.mode_kinds, strict=True) if k == kind
        ]
        assert max(of_kind, key=abs) == pytest.approx(cm, abs=12.0)
    assert document.imaginary_modes == []
    assert not any("energy falls" in warning for warning in document.warnings)
    assert any("the box is small" in warning for warning in document.warnings)
    far = any(abs(cm) > 200 for cm in residuals.values())
    assert any("a motion of the whole" in warning for warning in document.warnings) is far


@pytest.mark.parametrize("name", ["co2", "h2o_mt"])
def test_the_error_told_is_of_the_size_of_what_a_finer_grid_changes(name: str) -> None:
    document = assembled(name)
    told = 1000 * document.checks["zpe_error_ev"]
    change = abs(1000 * document.zpe_ev - PLAIN[name]["fine_zpe_mev"])
    assert change / 3 < told < 3 * change


@pytest.mark.qe
def test_hydrogen_with_too_long_a_bond_has_no_entropy_of_vibration(tmp_path: Path) -> None:
    document = engine_result(PLAIN["h2_long"]["input"], PSEUDO_DIR, tmp_path)
    assert 1000 * document.zpe_ev == pytest.approx(261.06, abs=0.05)
    assert document.s_vib_jmol_k == pytest.approx(0, abs=1e-3)
    assert document.mode_kinds == ["translation"] * 3 + ["rotation"] * 2 + ["vibration"]
    result = ZPEResult(document)
    assert result.thermo(model="ideal_gas").zpe_ev == pytest.approx(document.zpe_ev)
    assert "0.00i" not in result.summary()


@pytest.mark.qe
def test_oxygen_is_the_triplet_that_was_computed(tmp_path: Path) -> None:
    document = engine_result(PLAIN["o2"]["input"], PSEUDO_DIR, tmp_path)
    gas = ZPEResult(document).thermo(298.15, 1e5, "ideal_gas")
    # NIST-JANAF (1998): 205.147 J/(mol K).
    assert gas.entropy_jmol_k == pytest.approx(205.147, abs=0.3)
