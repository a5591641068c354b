"""What pw.x says beside its results: what it ignored, and which of its warnings count."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.programs import PW, PW_VERSION
from zpe_sdk.errors import ConfigError, InputError, ZPEError
from zpe_sdk.espresso import patch
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.run import run_scf
from zpe_sdk.espresso.said import ignored, warnings
from zpe_sdk.wire import Task
from zpe_sdk.wire.versions import fits

PSEUDO_DIR = "/usr/share/espresso/pseudo"
START = """
     Program PWSCF v.6.7MaX starts on  1Jan2026 at 12: 0: 0
{said}
     Self-consistent Calculation

     iteration #  1     ecut=    20.00 Ry     beta= 0.70
{first}
     iteration #  2     ecut=    20.00 Ry     beta= 0.70
{last}
     End of self-consistent calculation
"""


def stdout(said: str = "", *, first: str = "", last: str = "") -> str:
    return START.format(said=said, first=first, last=last)


def message(routine: str, text: str) -> str:
    return f"     Message from routine {routine}:\n     {text}\n     next line"


CARD = "Warning: card {} ignored"


@pytest.mark.parametrize(
    ("said", "kind", "field", "words"),
    [
        # The lines of a card that is not known are taken for cards as well.
        (
            CARD.format("HUBBARD (ATOMIC)") + "\n" + CARD.format("U O-2P 6.0"),
            ConfigError,
            "HUBBARD",
            "6.7MaX does",
        ),
        (CARD.format("SOLVENTS {1/CELL}"), ConfigError, "SOLVENTS", "card SOLVENTS"),
        (CARD.format("5 5 5"), InputError, None, "'5 5 5'"),
        (
            message(
                "set_vdw_corr", "WARNING: unknown vdw correction (vdw_corr): d4. No vdw correction used."
            ),
            ConfigError,
            None,
            "vdw_corr",
        ),
        (message("setup", "Warning: ecutfock not valid for US/PAW, ignored"), InputError, None, "ecutfock"),
    ],
)
def test_an_output_that_says_it_ignored_something_is_no_result(
    said: str, kind: type[ZPEError], field: str | None, words: str
) -> None:
    error = ignored(stdout(said))
    assert isinstance(error, kind)
    assert (error.code, error.field) == ("input_ignored", field)
    assert words in error.message


@pytest.mark.parametrize(
    "said",
    [
        "",
        CARD.format("  ! A COMMENT"),
        CARD.format("   # ANOTHER"),
        CARD.format("/"),
        message("iosys", "calculation=scf: ion_dynamics=damp ignored, 'bfgs' assumed"),
        message("iosys", "mixing_mode=plain is ignored, 'TF' is adopted"),
    ],
)
def test_what_says_nothing_to_an_scf_may_be_ignored(said: str) -> None:
    assert ignored(stdout(said)) is None


def test_warnings_about_the_result_are_kept_and_others_are_not() -> None:
    said = "\n".join(
        [
            message("setup ", "BEWARE: nonlinear core correction is not consistent with hybrid XC"),
            message("setup", "using ibrav=0 with symmetry is DISCOURAGED, use correct ibrav instead"),
            message("read_cards ", "DEPRECATED: no units specified in ATOMIC_POSITIONS card"),
            "     WARNING: integrated charge=     7.99990000, expected=     8.00000000",
            "     warning: symmetry operation #  4 not allowed.   fractional translation:",
        ]
    )
    assert warnings(stdout(said)) == [
        "setup: BEWARE: nonlinear core correction is not consistent with hybrid XC",
        "WARNING: integrated charge= 7.99990000, expected= 8.00000000",
    ]


def test_of_the_iterations_only_the_last_one_counts() -> None:
    bands = "     c_bands:  2 eigenvalues not converged\n     negative rho (up, down):  2.000E+00 0.000E+00"
    assert warnings(stdout(first=bands, last="     negative rho (up, down):  1.523E-04 0.000E+00")) == []
    assert warnings(stdout(first=bands, last=bands)) == [
        "c_bands: 2 eigenvalues not converged",
        "negative rho (up, down): 2 0 electrons",
    ]


H2 = """&CONTROL
/
&SYSTEM
  ibrav = 1, A = 5.0, nat = 2, ntyp = 1, ecutwfc = 12, {system}
/
&ELECTRONS
/
ATOMIC_SPECIES
H 1.008 H.pz-vbc.UPF
Ghost 1.008 H.pz-vbc.UPF
ATOMIC_POSITIONS angstrom
H 0 0 0
H 0 0 0.8
H 2 2 2
{cards}
"""
MESH = "K_POINTS automatic\n1 1 1 0 0 0\n0 0 0 1\n"


def run(folder: Path, cards: str = MESH, system: str = "") -> tuple[str, ...]:
    text = patch.task_text(
        PwInput.parse(H2.format(cards=cards, system=system).replace("Ghost", "He")),
        Task(index=0),
        prefix="pw",
        outdir="./",
        pseudo_dir=PSEUDO_DIR,
        electrons={},
    )
    return run_scf(PW, text, folder, prefix="pw").warnings


@pytest.mark.qe
def test_an_input_with_more_lines_than_pw_reads_has_a_result(tmp_path: Path) -> None:
    zeros = "\nH 0 0 0\nH 0 0 0\n"
    cards = f"{MESH}CONSTRAINTS\n1\n'distance' 1 2\nATOMIC_VELOCITIES{zeros}ATOMIC_FORCES{zeros}"
    assert run(tmp_path, "   ! a comment\n" + cards) == ()


@pytest.mark.qe
@pytest.mark.parametrize(
    ("wrong", "kind", "field"),
    [
        ({"cards": MESH + "CARD_OF_A_LATER_VERSION on\n"}, ConfigError, "CARD_OF_A_LATER_VERSION"),
        ({"system": "vdw_corr='d4'"}, ConfigError, None),
    ],
)
def test_an_scf_without_a_part_of_the_input_is_refused(
    wrong: dict[str, str], kind: type[ZPEError], field: str | None, tmp_path: Path
) -> None:
    with pytest.raises(kind) as caught:
        run(tmp_path, **wrong)
    assert (caught.value.code, caught.value.field) == ("input_ignored", field)


@pytest.mark.qe
@pytest.mark.skipif(fits(PW_VERSION, ">=7.1"), reason="this pw.x knows the card HUBBARD")
def test_an_scf_without_the_u_that_was_asked_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        run(tmp_path, MESH + "HUBBARD (atomic)\nU H-1s 2.0\n")
    assert (caught.value.code, caught.value.field) == ("input_ignored", "HUBBARD")


@pytest.mark.qe
def test_warnings_of_pw_stand_in_its_result(tmp_path: Path) -> None:
    [warning] = run(tmp_path, "K_POINTS automatic\n2 2 2 0 0 0\n", "occupations='tetrahedra'")
    assert "force calculation with tetrahedra" in warning
