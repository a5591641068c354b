"""Frequencies against ph.x, which finds them by perturbation theory and displaces nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.dfpt import INPUTS, ph_frequencies
from benchmarks.engine import run_engine

PSEUDO_DIR = Path("/usr/share/espresso/pseudo")
MODES = {"h2": 1, "h2o": 3, "co2": 4}  # internal ones: the rest is no property of the molecule in a box

pytestmark = pytest.mark.qe


@pytest.mark.parametrize("name", ["h2o", "co2"])
def test_internal_modes_are_those_of_ph(name: str, tmp_path: Path) -> None:
    expected = json.loads((INPUTS / "dfpt.json").read_text())[name]
    found = run_engine((INPUTS / f"{name}.in").read_text(), PSEUDO_DIR, tmp_path)
    np.testing.assert_allclose(found.frequencies_cm[-MODES[name] :], expected[-MODES[name] :], atol=5.0)


def test_the_stretch_of_h2_is_what_ph_finds_here_and_now(tmp_path: Path) -> None:
    (tmp_path / "ph").mkdir()
    expected = ph_frequencies("h2", tmp_path / "ph")
    found = run_engine((INPUTS / "h2.in").read_text(), PSEUDO_DIR, tmp_path / "engine")
    assert found.frequencies_cm[-1] == pytest.approx(expected[-1], abs=5.0)
    committed = json.loads((INPUTS / "dfpt.json").read_text())["h2"]
    assert committed[-1] == pytest.approx(expected[-1], abs=1.0)
