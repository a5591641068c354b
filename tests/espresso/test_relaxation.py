"""Inputs of relaxations, made from the job's own input, and inputs with other positions in them."""

from __future__ import annotations

import re

import numpy as np
import pytest
from ase.build import add_adsorbate, fcc111, molecule
from ase.units import Bohr, Rydberg

from zpe_sdk.errors import InputError
from zpe_sdk.espresso.contacts import lost_atom
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.ionic_steps import scf_cycles
from zpe_sdk.espresso.moved import moved_text
from zpe_sdk.espresso.relaxation import (
    check_relaxation,
    force_threshold,
    relaxation_text,
    steps_wanted,
)
from zpe_sdk.wire import RelaxOptions

TEXT = """! CO on a surface of one atom
&CONTROL
  calculation = '{calculation}', prefix = 'mine' {control}
/
&SYSTEM
  ibrav = 8, A = 5.0, B = 6.0, C = 12.0, nat = 3, ntyp = 3, ecutwfc = 30.0 ! Ry
/
&ELECTRONS
/
{ions}
ATOMIC_SPECIES
Al 26.98 Al.pz-vbc.UPF
C 12.011 C.pbe-n-kjpaw_psl.0.1.UPF
O 15.999 O.pbe-kjpaw.UPF
ATOMIC_POSITIONS {unit}
Al  1/3  0.25 0.0   0 0 0 ! bottom
C   0.1  0.2  0.30  0 1 1
# between
O   0.1  0.2  0.40
K_POINTS gamma
"""
UNITS = ["angstrom", "bohr", "alat", "crystal"]


def text(calculation: str = "scf", *, control: str = "", ions: str = "", unit: str = "crystal") -> str:
    return TEXT.format(calculation=calculation, control=control, ions=ions, unit=unit)


def relaxation(content: str, options: RelaxOptions | None = None, **more: object) -> PwInput:
    given = PwInput.parse(content)
    made = relaxation_text(
        given,
        options or RelaxOptions(),
        prefix="pw",
        outdir="./",
        pseudo_dir="/pseudo",
        electrons={},
        **{"steps": 50, **more},  # type: ignore[arg-type]
    )
    return PwInput.parse(made)


@pytest.mark.parametrize("unit", UNITS)
def test_positions_come_back_and_all_else_stays(unit: str) -> None:
    given = PwInput.parse(text(unit=unit))
    moved = given.positions + np.array([[0, 0, 0], [0.01234567891, 0, -0.3], [0, 1e-7, 0]])
    made = moved_text(given, moved)
    np.testing.assert_allclose(PwInput.parse(made).positions, moved, rtol=0, atol=1e-10)
    words = re.compile(r"-?\d+\.\d{16}")
    assert len(words.findall(made)) == 3  # the coordinates that changed, and no others
    lines = [line for line in made.splitlines() if not words.search(line)]
    assert [line for line in given.text.splitlines() if line in lines] == lines
    assert "0 1 1" in made
    assert moved_text(given, given.positions) == given.text


@pytest.mark.parametrize("unit", UNITS)
def test_a_structure_in_a_skewed_cell_comes_back_too(unit: str) -> None:
    content = text(unit=unit).replace("ibrav = 8, A = 5.0, B = 6.0, C = 12.0", "ibrav = 4, A = 5.0, C = 12.0")
    given = PwInput.parse(content)
    moved = given.positions + np.random.default_rng(1).normal(scale=0.1, size=(3, 3))
    np.testing.assert_allclose(PwInput.parse(moved_text(given, moved)).positions, moved, atol=1e-10)


def test_flags_and_symmetry_stay_and_the_cell_does_not_move() -> None:
    made = relaxation(text("vc-relax", ions="&IONS\n/\n&CELL\n press = 0.1\n/"))
    assert made.namelists["control"]["calculation"] == "relax"
    assert "cell" not in made.namelists
    assert "nosym" not in made.namelists["system"]
    assert made.free.tolist() == [[False] * 3, [False, True, True], [True] * 3]


@pytest.mark.parametrize(
    ("given", "options", "threshold"),
    [
        ("", None, 1e-4),
        (", forc_conv_thr = 1.0d-3", None, 1e-4),
        (", forc_conv_thr = 2.0d-5", None, 2e-5),
        (", forc_conv_thr = 2.0d-5", RelaxOptions(fmax=0.03), 0.03 / np.sqrt(3) / (Rydberg / Bohr)),
    ],
)
def test_the_forces_decide_when_it_is_over(
    given: str, options: RelaxOptions | None, threshold: float
) -> None:
    control = relaxation(text("relax", control=given + ", etot_conv_thr = 1e-9"), options).namelists[
        "control"
    ]
    assert control["forc_conv_thr"] == pytest.approx(threshold)
    assert control["etot_conv_thr"] > 1


def test_the_length_of_each_force_is_below_fmax() -> None:
    given = PwInput.parse(text())
    threshold = force_threshold(given, RelaxOptions(fmax=0.01)) * Rydberg / Bohr
    assert np.linalg.norm([threshold] * 3) == pytest.approx(0.01)


def test_an_scf_knows_its_energy_better_than_a_step_gains() -> None:
    tight = relaxation(text(), RelaxOptions(fmax=0.001)).namelists["electrons"]["conv_thr"]
    assert tight < (0.001 / (Rydberg / Bohr)) ** 2
    assert relaxation(text()).namelists["electrons"]["conv_thr"] == pytest.approx(1e-10)
    own = text("relax").replace("&ELECTRONS\n", "&ELECTRONS\n conv_thr = 1e-13\n")
    assert relaxation(own).namelists["electrons"]["conv_thr"] == 1e-13


def test_keys_of_a_relaxation_are_kept_and_those_of_others_are_not() -> None:
    ions = "&IONS\n  ion_dynamics = 'bfgs', trust_radius_max = 0.2 ! careful\n/"
    made = relaxation_text(
        PwInput.parse(text("relax", ions=ions)),
        RelaxOptions(),
        prefix="pw",
        outdir="./",
        pseudo_dir="/pseudo",
        electrons={},
        steps=1,
    )
    assert "  ion_dynamics = 'bfgs', trust_radius_max = 0.2 ! careful\n/" in made
    damped = text("scf", ions="&IONS\n ion_dynamics = 'damp', trust_radius_max = 0.2\n/")
    assert relaxation(damped).namelists["ions"].keys() == {"ion_positions", "upscale"}


def test_steps_are_those_asked_for_or_of_a_relaxation_in_the_input() -> None:
    assert steps_wanted(PwInput.parse(text("scf", control=", nstep = 7")), RelaxOptions()) == 100
    own = PwInput.parse(text("relax", control=", nstep = 7"))
    assert steps_wanted(own, RelaxOptions()) == 7
    assert steps_wanted(own, RelaxOptions(steps=30)) == 30


@pytest.mark.parametrize(
    ("content", "code", "field"),
    [
        (text("relax", ions="&IONS\n ion_dynamics = 'damp'\n/"), "not_supported", "ion_dynamics"),
        (text("relax", ions="&IONS\n trust_radius_mx = 1\n/"), "unknown_key", "trust_radius_mx"),
        (text() + "CONSTRAINTS\n1\n'distance' 1 2 1.5\n", "not_supported", "CONSTRAINTS"),
        (
            text().replace("0 1 1", "0 0 0").replace("0.40", "0.40 0 0 0"),
            "bad_input",
            "ATOMIC_POSITIONS",
        ),
    ],
)
def test_what_cannot_be_relaxed_is_refused_by_name(content: str, code: str, field: str) -> None:
    with pytest.raises(InputError) as caught:
        check_relaxation(PwInput.parse(content))
    assert (caught.value.code, caught.value.field) == (code, field)


def test_a_relaxation_of_the_cell_says_that_the_cell_stays() -> None:
    assert check_relaxation(PwInput.parse(text("relax"))) == []
    assert "cell stays" in check_relaxation(PwInput.parse(text("vc-relax")))[0]


def test_an_atom_that_leaves_all_others_is_found() -> None:
    slab = fcc111("Al", (2, 2, 2), vacuum=8.0)
    add_adsorbate(slab, "H", 1.0, "fcc")
    symbols, cell = slab.get_chemical_symbols(), slab.cell.array
    far = slab.positions.copy()
    far[-1, 2] += 2.0
    assert lost_atom(symbols, slab.positions, far, cell) is None
    far[-1, 2] += 3.0
    assert lost_atom(symbols, slab.positions, far, cell) == len(slab) - 1


def test_a_molecule_that_leaves_as_a_whole_has_lost_no_atom_and_a_lone_atom_has_nothing_to_lose() -> None:
    pair = molecule("N2", vacuum=5.0)
    apart = pair.positions + np.array([0, 0, 3.0])
    assert lost_atom(pair.symbols, pair.positions, apart, pair.cell.array) is None
    one = np.array([[0.0, 0.0, 0.0]])
    assert lost_atom(["H"], one, one + 1, np.eye(3) * 10) is None


def test_the_history_of_another_step_or_cut_short_is_known() -> None:
    n = 3 * 2 + 9
    numbers = ["1.0"] * (2 * n) + ["4", "3", "0", "-2.0"] + ["0.0"] * (2 * n + n * n) + ["0", "0.1"]
    assert scf_cycles(" ".join(numbers), 2) == 4
    assert scf_cycles(" ".join(numbers[:-1]), 2) is None
    assert scf_cycles(" ".join(numbers), 3) is None
    repeated = [f"{2 * n}*1.0", "4", "3", "0", "-2.0", f"{2 * n + n * n}*0.0", "0", "0.1"]
    assert scf_cycles("\n".join(repeated), 2) == 4
