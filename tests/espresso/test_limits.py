"""Inputs that would leave their run folder, ask for the impossible or for what cannot be carried out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zpe_sdk.errors import InputError
from zpe_sdk.espresso import patch, physics
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.run import pw_command, run_scf
from zpe_sdk.espresso.symmetry import symmetry_of
from zpe_sdk.wire import Task

TEXT = """&CONTROL
  {control}
/
&SYSTEM
  ibrav = 1, celldm(1) = 8.0, nat = 1, ntyp = 1, ecutwfc = 8 {system}
/
&ELECTRONS
  {electrons}
/
ATOMIC_SPECIES
H 1.008 {pseudo}
ATOMIC_POSITIONS bohr
H 0 0 0
K_POINTS {kpoints}
"""


def pw_text(
    *,
    control: str = "",
    system: str = ", occupations='smearing', degauss=0.05",
    electrons: str = "conv_thr=1d-4",
    pseudo: str = "H.pz-vbc.UPF",
    kpoints: str = "gamma",
) -> str:
    return TEXT.format(control=control, system=system, electrons=electrons, pseudo=pseudo, kpoints=kpoints)


@pytest.mark.parametrize(
    ("text", "field", "code"),
    [
        (pw_text(control="calculation='bands'"), "calculation", "not_supported"),
        (pw_text(control="calculation='nscf'"), "calculation", "not_supported"),
        (pw_text(control="calculation='md'"), "calculation", "not_supported"),
        (pw_text(control="lelfield=.true."), "lelfield", "not_supported"),
        (pw_text(control="lberry=.true."), "lberry", "not_supported"),
        (pw_text(control="lfcp=.true."), "lfcp", "not_supported"),
        (pw_text(control="trism=T"), "trism", "not_supported"),
        (pw_text(control="tqmmm=.true."), "tqmmm", "not_supported"),
        (pw_text(control="input_xml_schema_file='a.xml'"), "input_xml_schema_file", "not_supported"),
        (pw_text(control="vdw_table_name='mine'"), "vdw_table_name", "not_supported"),
        (pw_text(system=", space_group=225"), "space_group", "not_supported"),
        (pw_text(system=", lgcscf=.true."), "lgcscf", "not_supported"),
        (pw_text(system=", dmft=.true."), "dmft", "not_supported"),
        (pw_text(control="use_wannier=.true."), "use_wannier", "not_supported"),
        (pw_text(system=", hubbard_parameters='file'"), "hubbard_parameters", "not_supported"),
        (pw_text(control="some_new_file='/etc/passwd'"), "some_new_file", "unknown_key"),
        (pw_text(control="memory='/etc/passwd'"), "memory", "path_in_input"),
        (pw_text(system=", input_dft='..'"), "input_dft", "path_in_input"),
        (pw_text(system=", pol_type(2)='~root'"), "pol_type", "path_in_input"),
        (pw_text(electrons="startingwfc='/a/b'"), "startingwfc", "path_in_input"),
        (pw_text(pseudo="../H.UPF"), "ATOMIC_SPECIES", "bad_input"),
        (pw_text(pseudo="/etc/passwd"), "ATOMIC_SPECIES", "bad_input"),
        (pw_text(pseudo=".."), "ATOMIC_SPECIES", "bad_input"),
        (pw_text().replace("nat = 1", "nat = 1000000"), "nat", "out_of_bounds"),
        (pw_text().replace("ntyp = 1", "ntyp = 2000"), "ntyp", "out_of_bounds"),
        (pw_text().replace("ecutwfc = 8", "ecutwfc = 1e9"), "ecutwfc", "out_of_bounds"),
        (pw_text().replace("ecutwfc = 8", "ecutwfc = -8"), "ecutwfc", "out_of_bounds"),
        (pw_text(system=", ecutrho=1d8"), "ecutrho", "out_of_bounds"),
        (pw_text(kpoints="automatic\n 999 999 999 0 0 0"), "K_POINTS", "bad_input"),
        (pw_text(kpoints="crystal\n 999999999\n 0 0 0 1"), "K_POINTS", "bad_input"),
        (pw_text(kpoints="tpiba_b\n 1\n 0 0 0 1"), "K_POINTS", "bad_input"),
        (pw_text(kpoints="crystal_c\n 3\n 0 0 0 1"), "K_POINTS", "bad_input"),
        (pw_text() + "&CONTROL\n outdir='/x'\n/\n", "CONTROL", "bad_input"),
        ("&SYSTEM\n/\n&CONTROL\n/\n", "CONTROL", "bad_input"),
        (pw_text().replace("&ELECTRONS", "&INPUTPP"), "INPUTPP", "bad_input"),
        (pw_text().replace("K_POINTS gamma", "K_POINTS{gamma}"), "K_POINTS", "bad_input"),
        ("# &control outdir='/x' /\n" + pw_text(), "namelists", "bad_input"),
        ("see &control outdir='/x' /\n" + pw_text(), "namelists", "bad_input"),
        ("<?xml version='1.0'?>\n" + pw_text(), "namelists", "bad_input"),
        (
            pw_text().replace("&ELECTRONS", "# &ELECTRONS startingpot='file' /\n&ELECTRONS"),
            "ELECTRONS",
            "bad_input",
        ),
        (pw_text(control="! \x0b outdir='/x'"), "content", "binary_input"),
        (pw_text(control="! \r outdir='/x'"), "content", "binary_input"),
        ("x" * 4_000_001, "content", "out_of_bounds"),
    ],
)
def test_what_may_not_be_asked_for_is_refused_by_name(text: str, field: str, code: str) -> None:
    with pytest.raises(InputError) as caught:
        PwInput.parse(text)
    assert (caught.value.field, caught.value.code) == (field, code)


def test_an_error_names_the_bound() -> None:
    with pytest.raises(InputError, match="1000 Ry"):
        PwInput.parse(pw_text().replace("ecutwfc = 8", "ecutwfc = 2000"))


@pytest.mark.parametrize("control", ["lelfield=.false., lberry=F, trism=.false., vdw_table_name=''"])
def test_wishes_that_ask_for_nothing_are_no_reason_to_refuse(control: str) -> None:
    PwInput.parse(pw_text(control=control, system=", space_group=0, hubbard_parameters='input'"))


@pytest.mark.qe
@pytest.mark.parametrize(
    "control",
    [
        "outdir='{there}', wfcdir='{there}', prefix='{there}/x', pseudo_dir='{there}', disk_io='high'",
        "outdir='a', outdir='{there}', prefix(1:3)='../', prefix = '{there}/x' restart_mode='restart'",
        "title='/', OutDir = \"{there}\" ! outdir='.'\n PREFIX='{there}/x', WFCDIR=\n'{there}'",
        "outdir='{there}' / ! outdir = './'",
    ],
)
def test_an_input_writes_in_its_run_folder_and_nowhere_else(control: str, tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here" / "run"
    there.mkdir()
    here.mkdir(parents=True)
    text = pw_text(control=control.format(there=there), electrons="startingpot='file', startingwfc='file'")
    if "/ !" in control:
        text = text.replace("'./'\n/", "'./'")
    task = patch.task_text(
        PwInput.parse(text),
        Task(index=0),
        prefix="pw",
        outdir="./",
        pseudo_dir="/usr/share/espresso/pseudo",
        electrons={"conv_thr": 1e-4},
    )
    run_scf(pw_command(), task, here, prefix="pw")
    assert list(there.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir() if path.name != "there"] == ["here"]
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["run"]
    assert (here / "pw.save" / "data-file-schema.xml").exists()


VALID = pw_text(
    control="title = 'x', calculation='relax', tefield=.true.",
    system=", edir=3, nspin=1, nqx1=1, tot_charge=0.0, occupations='smearing', degauss=0.05",
    kpoints="automatic\n 2 2 2 0 0 0",
)


def use(text: str) -> None:
    """Ask an input for all that control plane and workers ask of it."""
    try:
        pw_input = PwInput.parse(text)
        symmetry_of(pw_input)
    except InputError:
        return
    task = patch.task_text(pw_input, Task(index=0), prefix="pw", outdir="./", pseudo_dir="/p", electrons={})
    again = PwInput.parse(task)
    assert again.namelists["control"]["outdir"] == "./"
    assert again.namelists["control"]["prefix"] == "pw"
    assert physics.physics_hash(again) == physics.physics_hash(pw_input)
    assert physics.scf_key(again, Task(index=0)) == physics.scf_key(pw_input, Task(index=0))
    assert again.formula == pw_input.formula


PIECES = st.text("&/'\"=,()*!\n 09.aT$-", max_size=4)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, len(VALID)), st.integers(0, 6), st.text("&/'\"=,()*!\n 09.aT$-", max_size=4)
        ),
        min_size=1,
        max_size=3,
    )
)
def test_a_mangled_input_is_understood_or_refused(
    edits: list[tuple[int, int, str]],
) -> None:
    text = VALID
    for start, length, new in edits:
        text = text[:start] + new + text[start + length :]
    use(text)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([match.span(1) for match in re.finditer(r"= ?([^\s,]+)", VALID)]),
    st.sampled_from(["T", "'x'", "1 2", "-1", "1e400", "9" * 99, "0", "''", "3*1", ",", "2.5", "'a' 1"]),
)
def test_a_value_of_the_wrong_kind_is_refused_or_left_to_pw(span: tuple[int, int], value: str) -> None:
    use(VALID[: span[0]] + value + VALID[span[1] :])
