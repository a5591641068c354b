"""An input with its atoms elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from zpe_sdk.errors import InputError
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.moved import moved_text

TEXT = """&CONTROL
  calculation = 'relax' ! mine
/
&SYSTEM
  ibrav = 0, nat = 2, ntyp = 1, ecutwfc = 12.0{system}
/
&ELECTRONS
/
ATOMIC_SPECIES
H 1.008 H.UPF
CELL_PARAMETERS {cell}
 7 0.5 0.2
 0 8 0.3
 0.1 0 9
ATOMIC_POSITIONS {unit}
 H  0.0  0.0  0.0   0 0 0
 H  0.02 0    0.19  1 0 1
K_POINTS gamma
"""


@pytest.mark.parametrize(
    ("unit", "cell", "system"),
    [
        ("angstrom", "angstrom", ""),
        ("bohr", "bohr", ""),
        ("crystal", "angstrom", ""),
        ("(alat)", "alat", ", celldm(1) = 2"),
    ],
)
def test_atoms_move_in_any_unit_and_all_else_stays(unit: str, cell: str, system: str) -> None:
    before = PwInput.parse(TEXT.format(unit=unit, cell=cell, system=system))
    wanted = before.positions + np.array([[0, 0, 0], [0.1, 0, -0.2]])
    after = PwInput.parse(moved_text(before, wanted))
    np.testing.assert_allclose(after.positions, wanted, atol=1e-12)
    np.testing.assert_array_equal(after.free, [[False] * 3, [True, False, True]])
    changed = [
        new for old, new in zip(before.text.splitlines(), after.text.splitlines(), strict=True) if old != new
    ]
    assert len(changed) == 1
    assert changed[0].endswith("  1 0 1")
    assert moved_text(before, before.positions) == before.text


@pytest.mark.parametrize("positions", [[[0, 0, 0]], [[0, 0, 0], [0, 0, np.nan]]])
def test_positions_that_are_not_those_of_the_atoms_are_refused(positions: list[list[float]]) -> None:
    with pytest.raises(InputError) as caught:
        moved_text(PwInput.parse(TEXT.format(unit="bohr", cell="bohr", system="")), positions)
    assert caught.value.code == "bad_positions"
