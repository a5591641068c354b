"""Lattice vectors against those that the real pw.x prints."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.units import Bohr

from tests.programs import PW
from zpe_sdk.errors import InputError
from zpe_sdk.espresso.lattice import lattice

INPUT = """&CONTROL
  calculation = 'scf', outdir = './', pseudo_dir = '/usr/share/espresso/pseudo'
/
&SYSTEM
  {keys}, nat = 1, ntyp = 1, ecutwfc = 4, occupations = 'smearing', degauss = 0.1
/
&ELECTRONS
  electron_maxstep = 1
/
ATOMIC_SPECIES
H 1.008 H.pz-vbc.UPF
ATOMIC_POSITIONS crystal
H 0 0 0
K_POINTS gamma
"""
CASES: list[dict[str, Any]] = [
    *[{"ibrav": i, "celldm": [8.0]} for i in (1, 2, 3, -3)],
    *[{"ibrav": i, "celldm": [8.0, None, 1.3]} for i in (4, 6, 7)],
    *[{"ibrav": i, "celldm": [8.0, None, None, 0.3]} for i in (5, -5)],
    *[{"ibrav": i, "celldm": [8.0, 1.1, 1.3]} for i in (8, 9, -9, 91, 10, 11)],
    *[{"ibrav": i, "celldm": [8.0, 1.1, 1.3, 0.2]} for i in (12, 13)],
    *[{"ibrav": i, "celldm": [8.0, 1.1, 1.3, None, 0.2]} for i in (-12, -13)],
    {"ibrav": 14, "celldm": [8.0, 1.1, 1.3, 0.1, 0.2, 0.3]},
    {"ibrav": 5, "a": 4.2, "cosab": 0.3},
    {"ibrav": 12, "a": 4.2, "b": 4.6, "c": 5.0, "cosab": 0.2},
    {"ibrav": 14, "a": 4.2, "b": 4.6, "c": 5.0, "cosbc": 0.1, "cosac": 0.2, "cosab": 0.3},
]


def written(case: dict[str, Any]) -> str:
    keys = []
    for name, value in case.items():
        if name == "celldm":
            keys += [f"celldm({i}) = {x}" for i, x in enumerate(value, 1) if x is not None]
        else:
            keys.append(f"{name} = {value}")
    return ", ".join(keys)


@pytest.mark.qe
@pytest.mark.parametrize("case", CASES, ids=written)
def test_lattice_is_that_of_pw(case: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "pw.in").write_text(INPUT.format(keys=written(case)))
    run = subprocess.run([*PW, "-in", "pw.in"], cwd=tmp_path, capture_output=True, text=True, check=False)
    alat = float(re.search(r"celldm\(1\)=\s*(\S+)", run.stdout)[1]) * Bohr  # type: ignore[index]
    axes = re.findall(r"a\(\d\) = \((.*)\)", run.stdout)
    printed = np.array([[float(x) for x in row.split()] for row in axes]) * alat
    np.testing.assert_allclose(lattice(case), printed, atol=2e-5)


@pytest.mark.parametrize(
    ("system", "field"),
    [
        ({"ibrav": 99, "celldm": [8.0]}, "ibrav"),
        ({"ibrav": 1}, "celldm(1)"),
        ({"ibrav": 8, "celldm": [8.0, 1.1]}, "celldm"),
        ({"ibrav": 14, "celldm": [8.0, 1.0, 1.0, 0.9, -0.9, 0.9]}, "celldm"),
        ({"ibrav": 1, "celldm": [8.0], "a": 4.0}, "celldm(1)"),
    ],
)
def test_an_impossible_lattice_is_refused_by_name(system: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as caught:
        lattice(system)
    assert caught.value.field == field
