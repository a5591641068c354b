"""Versions of pw.x: how they compare, and which an input needs."""

from __future__ import annotations

import pytest

from zpe_sdk.errors import InputError
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.versions import needed_versions
from zpe_sdk.wire.versions import bounds, can_hold, check_condition, fits

TEXT = """&SYSTEM
  ibrav = 1, A = 6.0, nat = 2, ntyp = 1, ecutwfc = 20 {system}
/
ATOMIC_SPECIES
O 15.999 O.UPF
ATOMIC_POSITIONS angstrom
O 0 0 0
O 0 0 1.2
K_POINTS gamma
{cards}
"""
HUBBARD = "HUBBARD (atomic)\nU O-2p 6.0"


def needs(*, system: str = "", cards: str = "") -> list[str]:
    return [str(need) for need in needed_versions(PwInput.parse(TEXT.format(system=system, cards=cards)))]


@pytest.mark.parametrize(
    ("version", "condition", "holds"),
    [
        ("6.7MaX", ">=7.1", False),
        ("6.7MaX", ">=6.7,<7.1", True),
        ("6.4.1", "<6.5", True),
        ("7.1", ">=7.1", True),
        ("7.1", ">7.1", False),
        ("7.3.1", ">=7.3", True),
        ("7.3", ">=7.3.1", False),
        ("7.3.1", "==7.3", False),
        ("7.10", ">7.9", True),
        ("7.0", "<=7", True),
        ("10.0", ">=9.5", True),
        ("unknown", ">=7.1", True),  # one that tells none may be any
        (None, ">=7.1", True),
    ],
)
def test_versions_are_compared_by_their_numbers(version: str | None, condition: str, holds: bool) -> None:
    assert fits(version, condition) == holds


@pytest.mark.parametrize("malformed", ["", "7.1", "7", "~7.1", ">=", ">=7.x", ">=7.1,", ">= 7.1 <8", "=>7.1"])
def test_what_is_no_condition_is_refused(malformed: str) -> None:
    with pytest.raises(ValueError, match="no condition"):
        bounds(malformed)


def test_conditions_that_exclude_each_other_are_found() -> None:
    assert can_hold([">=7.1", "<7.1.1"])
    assert can_hold([">7.1", "<7.2"])
    assert can_hold(["<=7.1", ">=7.1"])
    assert not can_hold([">=7.1", "<7.1"])
    assert not can_hold([">7.1", "<=7.1"])
    assert not can_hold(["==7.2", ">=7.3"])
    with pytest.raises(ValueError, match="no version is 7"):
        check_condition(">=7.2,<7.1")


@pytest.mark.parametrize(
    ("asks", "needed"),
    [
        ({}, []),
        ({"cards": HUBBARD}, ["pw.x 7.1 or newer for the card HUBBARD"]),
        (
            {"cards": HUBBARD, "system": ", lda_plus_u=.false., Hubbard_U(1)=0.0"},
            ["pw.x 7.1 or newer for the card HUBBARD"],
        ),
        (
            {"system": ", lda_plus_u=.true., Hubbard_U(1)=6.0"},
            ["pw.x older than 7.1 for hubbard_u and lda_plus_u"],
        ),
        ({"system": ", lda_plus_u_kind=0"}, ["pw.x older than 7.1 for lda_plus_u_kind"]),
        (
            {"system": ", Hubbard_V(1,2,1)=0.5"},
            ["pw.x older than 7.1 for hubbard_v(1,2,1)", "pw.x 6.6 or newer for hubbard_v(1,2,1)"],
        ),
        ({"system": ", Hubbard_alpha(1)=0.1"}, []),
        ({"system": ", nextffield=0, nelec_cond=1.0"}, ["pw.x 7.2 or newer for nelec_cond and nextffield"]),
        ({"system": ", dftd3_version=4"}, ["pw.x 6.2 or newer for dftd3_version"]),
        ({"system": ", spline_ps=.true."}, ["pw.x 7.1 or older for spline_ps"]),
        (
            {"cards": "ADDITIONAL_K_POINTS tpiba\n1\n0 0 0 0"},
            ["pw.x 6.7 or newer for the card ADDITIONAL_K_POINTS"],
        ),
        ({"system": ", vdw_corr='MBD'"}, ["pw.x 6.8 or newer for vdw_corr = 'MBD'"]),
    ],
)
def test_an_input_says_which_versions_can_run_it(asks: dict[str, str], needed: list[str]) -> None:
    assert needs(**asks) == needed


def test_a_card_that_no_version_would_read_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        needs(cards="SOLVENTS (mol/L)\nH2O -1 H2O.MOL")
    assert (caught.value.code, caught.value.field) == ("not_supported", "SOLVENTS")


def test_what_no_version_knows_together_is_refused() -> None:
    with pytest.raises(InputError, match="no version of pw") as caught:
        needs(cards=HUBBARD, system=", lda_plus_u=.true.")
    assert (caught.value.code, caught.value.field) == ("no_such_version", "HUBBARD")
