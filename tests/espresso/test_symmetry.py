"""What an input leaves of its structure's symmetry, and how many SCFs that takes."""

from __future__ import annotations

import pytest

from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.symmetry import symmetry_of
from zpe_sdk.vibrations.plan import plan_displacements

TEXT = """&CONTROL
  {control}
/
&SYSTEM
  ibrav = 1, celldm(1) = 10.0, nat = {nat}, ntyp = {ntyp}, ecutwfc = 20 {system}
/
&ELECTRONS
/
ATOMIC_SPECIES
{species}
ATOMIC_POSITIONS crystal
{atoms}
K_POINTS {kpoints}
"""
# A square planar H4, in the plane of x and y around the middle of a cubic cell.
SQUARE = ["0.6 0.5 0.5", "0.4 0.5 0.5", "0.5 0.6 0.5", "0.5 0.4 0.5"]


def square(
    *,
    control: str = "",
    system: str = "",
    kpoints: str = "gamma",
    labels: tuple[str, ...] = ("H",) * 4,
    cards: str = "",
) -> PwInput:
    kinds = sorted(set(labels))
    text = TEXT.format(
        control=control,
        system=system,
        kpoints=kpoints,
        nat=4,
        ntyp=len(kinds),
        species="\n".join(f"{label} 1.008 H.UPF" for label in kinds),
        atoms="\n".join(f"{label} {xyz}" for label, xyz in zip(labels, SQUARE, strict=True)),
    )
    return PwInput.parse(text + cards)


def scfs(pw_input: PwInput) -> int:
    found = symmetry_of(pw_input)
    labels, breakers = found or (pw_input.labels, None)
    plan = plan_displacements(
        pw_input.positions,
        pw_input.cell,
        labels,
        pw_input.mobile(),
        delta=0.01,
        symmetry=found is not None,
        breakers=breakers,
    )
    return len(plan.displacements)


FULL = 25  # 6 x 4 and the equilibrium


def test_all_the_symmetry_is_used_where_nothing_breaks_it() -> None:
    # One atom stands for the four. Its two mirror planes make of one oblique direction all the others but
    # the opposite ones.
    assert scfs(square()) == 3


@pytest.mark.parametrize(
    "harmless",
    [
        {"system": ", nspin=2, starting_magnetization(1)=0.5, tot_magnetization=2"},
        {"system": ", assume_isolated='mt'"},
        {"system": ", tot_charge=1, vdw_corr='d3'"},
        {"system": ", nosym=.false., noinv=F"},
        {"kpoints": "automatic\n 2 2 2 1 1 1"},
        {"kpoints": "crystal\n 1\n 0 0 0 1"},
    ],
)
def test_what_points_nowhere_leaves_the_symmetry(harmless: dict[str, str]) -> None:
    assert scfs(square(**harmless)) == 3


@pytest.mark.parametrize(
    ("breaker", "count"),
    [
        # x and y are different: two kinds of atoms, each with two mirror planes.
        ({"kpoints": "automatic\n 3 2 2 0 0 0"}, 5),
        ({"kpoints": "crystal\n 1\n 0.25 0 0 1"}, 5),
        ({"kpoints": "tpiba\n 2\n 0 0 0 1\n 0.25 0 0 1"}, 5),
        ({"labels": ("H1", "H1", "H2", "H2")}, 5),
        # A field along z: one kind of atom with one mirror plane, so one more direction.
        ({"control": "tefield=.true.", "system": ", edir=3"}, 5),
        ({"system": ", assume_isolated='esm'"}, 5),
        ({"control": "gate=.true."}, 5),
        # A field along x: two atoms on the axis with two mirror planes each, and a pair beside it with one.
        ({"control": "tefield=.true."}, 9),
    ],
)
def test_what_has_a_direction_takes_some_of_it(breaker: dict[str, str], count: int) -> None:
    assert scfs(square(**breaker)) == count


@pytest.mark.parametrize(
    "breaker",
    [
        {"system": ", noncolin=.true."},
        {"system": ", noncolin=.true., lspinorb=.true."},
        {"system": ", nspin=4"},
        {"system": ", nosym=.true."},
        {"system": ", nosym_evc=T"},
        {"system": ", noinv=.true."},
        {"system": ", occupations='from_input'"},
        {"system": ", one_atom_occupations=.true."},
        {"system": ", starting_ns_eigenvalue(1,1,1)=1.0"},
        {"system": ", hubbard_v(1,2,1)=0.5"},
        {"cards": "HUBBARD ortho-atomic\nV H-1s H-1s 1 2 0.5\n"},
        {"cards": "HUBBARD ortho-atomic\nu H-1s 2\nv H-1s H-1s 1 2 0.5\n"},
        {"cards": "ATOMIC_FORCES\nH 0 0 0.1\n"},
        {"system": ", nqx1=2"},
        {"control": "tefield=.true., gate=.true.", "system": ", edir=1"},
    ],
)
def test_what_may_break_all_symmetry_leaves_none(breaker: dict[str, str]) -> None:
    pw_input = square(**breaker)
    assert symmetry_of(pw_input) is None
    assert scfs(pw_input) == FULL


def test_a_slab_of_two_dimensions_may_be_turned_around_but_not_over_into_another_axis() -> None:
    found = symmetry_of(square(system=", assume_isolated='2D'"))
    assert found is not None
    assert found[1].plane_axis == 2
    assert found[1].field_axis is None
