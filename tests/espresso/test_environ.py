"""Environ: its input is read as a pw.x input is, and what it prints is told from what only looks like it."""

from __future__ import annotations

import pytest

from zpe_sdk.errors import ComputeError, InputError
from zpe_sdk.espresso.environ import EnvironInput, run_text
from zpe_sdk.espresso.environ_output import environ_fault, environ_in, has_environ
from zpe_sdk.espresso.failures import failure

WATER = "&ENVIRON\n  environ_type = 'water'\n/\n&BOUNDARY\n/\n"
CHARGE = """&ENVIRON
  env_electrostatic = .true., env_external_charges = 1
/
&BOUNDARY
/
&ELECTROSTATIC
/
EXTERNAL_CHARGES (angstrom)
0.5 1.8 0.0 1.2 0.5
"""

RULE = "     " + 80 * "="
BANNER_3 = f"\n{RULE}\n\n{34 * ' '}Environ Setup Summary\n\n{RULE}\n\n     Please cite\n"
BANNER_2 = "\n\n     Environ Module\n     ==============\n\n     Please cite\n"
ITERATION = "\n     iteration #  3     ecut=    25.00 Ry     beta= 0.70\n"
ADDED = "\n     add environment contribution to local potential\n"
NOT_CONVERGED = " Warning: Polarization charge not converged\n"


def box(routine: str, message: str) -> str:
    rule = 78 * "%"
    return f"\n {rule}\n     Error in routine {routine} (1):\n     {message}\n {rule}\n\n     stopping ...\n"


@pytest.mark.parametrize(("banner", "version"), [(BANNER_3, "3"), (BANNER_2, "1 or 2")])
def test_the_plug_in_is_known_by_what_it_alone_prints(banner: str, version: str) -> None:
    assert environ_in(banner + ITERATION + ADDED) == version
    # It summed up its setup, but never added its potential: an SCF in vacuum.
    assert environ_in(banner + ITERATION) is None


@pytest.mark.parametrize(
    "text",
    [
        "\n     Title: \n     Environ Setup Summary" + 54 * " " + "\n",
        "\n     Title: \n     Environ Module" + 61 * " " + "\n",
        f"\n     Title: \n     {75 * '='}\n",
        "     file /opt/Environ Module 3.1/H.UPF: wavefunction(s)  1S renormalized\n",
        "     15342 MiB available memory on the printing compute node when the environment starts\n",
    ],
)
def test_a_title_or_a_path_does_not_pass_for_the_plug_in(text: str) -> None:
    assert environ_in(text + ITERATION + ADDED) is None


def test_an_scf_with_environ_counts_only_if_all_of_its_input_was_used() -> None:
    start = "\n     Reading input from environ.in:\n     * setting up water environment\n"
    ignored = "     * ignoring &ELECTROSTATIC namelist\n"
    card = "\nEnviron Warning (1001): card FOO ignored\n\n"
    lost = WATER + "&ELECTROSTATIC\n tol = 1e-9\n/\n"
    for said, environ, names in (
        (ignored, lost, "&ELECTROSTATIC"),
        (card, WATER + "FOO\n", "FOO"),
    ):
        fault = environ_fault(start + said + ITERATION + ADDED, environ)
        assert isinstance(fault, InputError)
        assert fault.field == "environ"
        assert names in fault.message
    assert environ_fault(start + ITERATION + ADDED, WATER) is None
    # An empty namelist has nothing to lose.
    assert environ_fault(start + ignored + ITERATION + ADDED, WATER + "&ELECTROSTATIC\n/\n") is None


def test_an_scf_whose_medium_did_not_converge_at_its_end_is_no_result() -> None:
    last = ITERATION + ADDED + NOT_CONVERGED
    assert isinstance(environ_fault(last, WATER), ComputeError)
    assert environ_fault(last + ITERATION + ADDED, WATER) is None


@pytest.mark.parametrize(
    "stdout",
    [
        box("environ_read_namelist", "Missing or erroneous ENVIRON namelist"),
        box("environ_checkin", "'wine' is not a valid option for environ_type"),
        box("card_external_charges", "End of file reading external charges"),
        "\n     Reading input from environ.in:\n     * using electronic solvent mode\n",
    ],
)
def test_what_environ_finds_wrong_with_its_input_is_told_as_that(stdout: str) -> None:
    stderr = (
        "At line 1662 of file input.f90\nFortran runtime error: Bad real number in item 1 of list input\n"
    )
    error = failure(stdout, stderr, 2)
    assert isinstance(error, InputError)
    assert (error.code, error.field) == ("bad_input", "environ")
    assert "Environ" in error.message


def test_a_program_with_the_plug_in_misses_the_file_and_one_without_does_not() -> None:
    assert has_environ(box("read_environ_input", "Missing input file"))
    assert has_environ(box("read_environ", " missing environ.in file "))
    assert not has_environ(box("readpp", "file ./none.UPF not found"))


# ---------------------------------------------------------------------------------------------- input


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (" \n", "empty_input", "the Environ input is empty"),
        (WATER + "!" * 100_000, "out_of_bounds", "more than 100000 characters"),
        (WATER + "! \x0b", "binary_input", "no place in the Environ input"),
        (CHARGE + CHARGE[CHARGE.index("EXTERNAL") :], "bad_input", "is there twice"),
        ("&BOUNDARY\n/\n", "bad_input", "&ENVIRON"),
        (WATER.replace("environ_type", "environ_typ"), "bad_input", "no key environ_typ; environ_type?"),
        (WATER + "&ELEKTROSTATIC\n/\n", "bad_input", "&ELEKTROSTATIC; ELECTROSTATIC?"),
        ("&BOUNDARY\n/\n&ENVIRON\n/\n", "bad_input", "in this order"),
        (WATER.replace("'water'", "'../water'"), "path_in_input", "looks like a path"),
        (WATER.replace("'water'", "'water', environ_thr = 1e-12"), "out_of_bounds", "environ_thr"),
        (WATER.replace("/\n&B", "env_external_charges = 1\n/\n&B"), "bad_input", "needs the card"),
        (CHARGE.replace("= 1\n", "= 2\n"), "bad_input", "fewer than the 2 rows"),
        (CHARGE.replace(", env_external_charges = 1", ""), "bad_input", "passed over"),
        (CHARGE + "0.5 1.8 0.0 1.2 0.5\n", "bad_input", "no card that Environ knows"),
        (CHARGE.replace("0.5 1.8 0.0 1.2 0.5", "0.5 x 0.0 1.2"), "bad_input", "4 to 7 numbers"),
        (CHARGE.replace("1.2 0.5", "1.2 0.5 3"), "out_of_bounds", "dimension"),
        (CHARGE.replace("1.2 0.5", "1.2 0.5 2 4"), "out_of_bounds", "axis"),
        (CHARGE.replace("CHARGES (", "CHARGES("), "bad_input", "no card"),
        (CHARGE.replace("= 1\n", "= 100000\n"), "out_of_bounds", "env_external_charges"),
        (
            "&ENVIRON\n/\n&BOUNDARY\n field_awareness = 1, field_aware = .true.\n/\n",
            "bad_input",
            "field_aware (3), field_awareness (2)",
        ),
    ],
)
def test_an_input_that_could_not_be_carried_out_is_refused_and_says_why(
    text: str, code: str, words: str
) -> None:
    with pytest.raises(InputError) as caught:
        EnvironInput.parse(text)
    assert (caught.value.code, caught.value.field) == (code, "environ")
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("text", "keeps"),
    [
        (WATER, True),
        (
            "&ENVIRON\n env_static_permittivity = 78.3, env_surface_tension = 50, env_pressure = -0.35\n/\n",
            True,
        ),
        (WATER.replace("&BOUNDARY", "&BOUNDARY\n solvent_mode = 'IONIC', solvationrad(1) = 3.0"), True),
        (WATER + "&ELECTROSTATIC\n pbc_correction = 'none', tol = 1e-11\n/\n", True),
        (WATER.replace("&BOUNDARY", "&BOUNDARY\n solvent_mode = 'system'"), False),
        (WATER + "&ELECTROSTATIC\n pbc_correction = 'parabolic', pbc_dim = 2, pbc_axis = 3\n/\n", False),
        (WATER.replace("'water'", "'water', system_dim = 2, system_axis = 3"), False),
        (WATER.replace("'water'", "'water', system_pos = 1.0, 0.0, 0.0"), False),
        (CHARGE, False),
    ],
)
def test_only_a_medium_that_follows_the_atoms_keeps_their_symmetry(text: str, keeps: bool) -> None:
    assert EnvironInput.parse(text).keeps_symmetry is keeps


def test_the_physics_are_the_same_whatever_the_layout_and_the_run_control() -> None:
    same = (
        '! of the lab\n&environ\n verbose = 2, ENVIRON_TYPE = "Water"\n environ_restart = T\n/\n&boundary\n/'
    )
    assert EnvironInput.parse(same).physics_hash() == EnvironInput.parse(WATER).physics_hash()
    moved = CHARGE.replace("1.8", "1.9")
    others = (WATER.replace("'water'", "'vacuum'"), CHARGE, moved, moved.replace("angstrom", "bohr"))
    assert len({EnvironInput.parse(text).physics_hash() for text in (WATER, *others)}) == 5


def test_a_run_changes_only_how_environ_starts_and_what_it_writes_for_looking_at() -> None:
    given = CHARGE.replace("&ENVIRON\n", "&ENVIRON\n  verbose = 2\n  environ_restart = .true.\n")
    cold, warm = run_text(given, restart=False), run_text(given, restart=True)
    assert cold == CHARGE
    assert warm == CHARGE.replace("&ENVIRON\n", "&ENVIRON\n  environ_restart = .true.\n")
    # What cannot be read here is for Environ to judge.
    assert run_text("&ENVIRON\n what\n", restart=True) == "&ENVIRON\n what\n"
