"""Which element a species is of, by its label, mass and pseudopotential."""

from __future__ import annotations

import pytest

from zpe_sdk.errors import InputError
from zpe_sdk.espresso.elements import element_of


@pytest.mark.parametrize(
    ("label", "mass", "file", "symbol"),
    [
        ("H", 1.008, "H.pbe-kjpaw.UPF", "H"),
        ("fe2", 55.8, "anything", "Fe"),
        ("Fe_u", -1.0, "anything", "Fe"),
        ("Fe1", 1.0, "anything", "Fe"),  # masses are set at will
        ("Cuh", 63.5, "anything", "Cu"),
        ("Cuh", 1.0, "Cu.pbe-kjpaw.UPF", "Cu"),
        ("Co", 12.011, "C.pbe-n-kjpaw_psl.0.1.UPF", "C"),  # a C beside an O
        ("Co", 58.93, "co_pbe_v1.2.uspp.F.UPF", "Co"),
        ("Co", 1.0, "anything", "Co"),
        ("Hs", 1.008, "H_ONCV_PBE-1.0.upf", "H"),
        ("Os", 15.999, "O.pbe.UPF", "O"),
        ("Si", 28.09, "Si.pz-vbc.UPF", "Si"),
        ("Si", 28.09, "anything", "Si"),  # S has 32.06
        ("Sx", 33.97, "anything", "S"),
        ("Rhs", 102.9, "rh_pbe.UPF", "Rh"),
        ("Li+", 6.94, "anything", "Li"),
        ("D", 2.014, "H.UPF", "H"),
        ("D1", 2.0, "anything", "H"),
        ("T", 3.016, "H.UPF", "H"),
        ("Dy", 162.5, "Dy.UPF", "Dy"),
        ("Ti", 47.87, "ti_pbe_v1.4.uspp.F.UPF", "Ti"),
        ("X1", 63.5, "Cu.pbe.UPF", "Cu"),
        ("Qq", 12.0, "C_pbe.UPF", "C"),
    ],
)
def test_label_mass_and_file_tell_the_element(label: str, mass: float, file: str, symbol: str) -> None:
    assert element_of(label, mass, file) == symbol


@pytest.mark.parametrize(
    ("label", "mass", "file", "says"),
    [
        ("Cuh", 1.0, "anything", "Cu1 or C1"),
        ("X", 1.0, "Cu.UPF", "no chemical element"),
        ("X", -1.0, "Cu.UPF", "no chemical element"),
        ("D", 0.0, "H.UPF", "the mass"),
    ],
)
def test_a_label_that_nobody_can_tell_is_refused_by_name(
    label: str, mass: float, file: str, says: str
) -> None:
    with pytest.raises(InputError, match=says) as refused:
        element_of(label, mass, file)
    assert label in str(refused.value)
    assert refused.value.field == "ATOMIC_SPECIES"
