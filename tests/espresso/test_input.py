"""Reading pw.x inputs: what is understood, and what is refused by name."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ase.units import Bohr

from zpe_sdk.errors import InputError
from zpe_sdk.espresso import physics
from zpe_sdk.espresso.input import KPoints, PwInput

TEXT = """&CONTROL
  calculation = 'relax' ! a comment / with a slash
  title = "a / b ! c"
/
&system ibrav={ibrav}, nat=2, ntyp=2, ecutwfc = 1.2d1, occupations='smearing', degauss=0.1
/
&ELECTRONS
  electron_maxstep = 1
/
{cell}
ATOMIC_SPECIES
 H1 1.008 H.pz-vbc.UPF
 H2 2.014d0 H.pz-vbc.UPF
{positions}
# a comment of pw.x's own kind
 H1  0.0 0.1 0.0  0 0 0
 H2  0.0 1.0d-1 {z}
 H2  9.9 9.9 9.9
K_POINTS {kpoints}
"""


def pw_text(
    *,
    ibrav: str = "1, celldm(1)=8.0",
    cell: str = "",
    positions: str = "ATOMIC_POSITIONS (bohr)",
    z: str = "1.4",
    kpoints: str = "gamma",
) -> str:
    return TEXT.format(ibrav=ibrav, cell=cell, positions=positions, z=z, kpoints=kpoints)


VECTORS = " 1.0 0.1 0.0\n 0.0 1.2 0.0\n 0.0 0.0 1.3"
FORMS = {
    "bohr": pw_text(),
    "alat": pw_text(positions="ATOMIC_POSITIONS alat", z="0.3"),
    "no unit": pw_text(positions="ATOMIC_POSITIONS", z="0.3"),
    "crystal": pw_text(
        positions="ATOMIC_POSITIONS {crystal}", z="0.3", ibrav="4, celldm(1)=8, celldm(3)=1.2"
    ),
    "angstrom": pw_text(positions="ATOMIC_POSITIONS Angstrom", z="0.75", ibrav="1, A=4.3"),
    "cell in alat": pw_text(ibrav="0, celldm(1)=8.0", cell=f"CELL_PARAMETERS alat\n{VECTORS}"),
    "cell, no unit": pw_text(ibrav="0, A=4.3", cell=f"CELL_PARAMETERS\n{VECTORS}"),
    "cell in bohr, positions in alat": pw_text(
        ibrav="0",
        cell="CELL_PARAMETERS {bohr}\n 8 1 0\n 0 9 0\n 0 0 10",
        positions="ATOMIC_POSITIONS alat",
        z="0.2",
    ),
    "CRLF and tabs": pw_text().replace("\n", "\r\n").replace(" 1.4", "\t1.4"),
}


@pytest.mark.qe
@pytest.mark.parametrize("form", FORMS)
def test_cell_and_positions_are_those_pw_prints(form: str, tmp_path: Path) -> None:
    paths = "&CONTROL\n outdir='./', pseudo_dir='/usr/share/espresso/pseudo'"
    (tmp_path / "pw.in").write_text(FORMS[form].replace("&CONTROL", paths).replace("relax", "scf"))
    run = subprocess.run(
        ["pw.x", "-in", "pw.in"],
        cwd=tmp_path,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    alat = float(re.search(r"celldm\(1\)=\s*(\S+)", run.stdout)[1]) * Bohr  # type: ignore[index]
    axes = [row.split() for row in re.findall(r"a\(\d\) = \((.*)\)", run.stdout)]
    atoms = [row.split() for row in re.findall(r"tau\(\s*\d+\) = \((.*)\)", run.stdout)]
    parsed = PwInput.parse(FORMS[form])
    np.testing.assert_allclose(parsed.cell, np.array(axes, dtype=float) * alat, atol=2e-5)
    np.testing.assert_allclose(parsed.positions, np.array(atoms, dtype=float) * alat, atol=2e-5)


def test_a_comment_behind_an_atom_is_one() -> None:
    commented = PwInput.parse(pw_text(z="1.4 !0 0 0 fixed?"))
    np.testing.assert_array_equal(commented.positions, PwInput.parse(pw_text(z="1.4")).positions)
    assert commented.fixed_indices == (0,)
    assert physics.physics_hash(commented) == physics.physics_hash(PwInput.parse(pw_text(z="1.4")))


@pytest.mark.parametrize("comment", ["! relaxed", "# the second", "(angstrom)", "! in Angstrom"])
def test_a_comment_behind_a_unit_that_names_no_other_is_one(comment: str) -> None:
    bare = PwInput.parse(pw_text(positions="ATOMIC_POSITIONS angstrom"))
    told = PwInput.parse(pw_text(positions=f"ATOMIC_POSITIONS angstrom {comment}"))
    np.testing.assert_array_equal(told.positions, bare.positions)


def test_labels_flags_and_masses_are_understood() -> None:
    parsed = PwInput.parse(pw_text())
    assert parsed.labels == ("H1", "H2")
    assert parsed.symbols == ("H", "H")
    assert [s.mass for s in parsed.species] == [1.008, 2.014]
    assert parsed.fixed_indices == (0,)
    assert parsed.mobile() == (1,)
    assert parsed.namelists["system"]["ecutwfc"] == 12.0


@pytest.mark.parametrize("opening", ["automatic", "(automatic)", "{automatic}", "{ Automatic }"])
def test_a_mesh_is_a_mesh_in_every_spelling(opening: str) -> None:
    parsed = PwInput.parse(pw_text(kpoints=f"{opening}\n 2 3 4 0 1 0"))
    assert parsed.kpoints == KPoints("automatic", (2, 3, 4), (0, 1, 0))


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "content"),
        ("\x00\x01", "content"),
        ("hello", "nat"),
        (pw_text(positions=""), "ATOMIC_POSITIONS"),
        (pw_text(positions="atomic_positions bohr"), "ATOMIC_POSITIONS"),
        (pw_text().replace("nat=2", "nat=5"), "ATOMIC_POSITIONS"),
        (pw_text().replace("nat=2", "nat=-1"), "nat"),
        (pw_text().replace("H1 1.008", "Qq 100.0").replace("H1", "Qq"), "ATOMIC_SPECIES"),
        (pw_text().replace(" H2 2", " H3 2"), "ATOMIC_POSITIONS"),
        (pw_text().replace("H.pz-vbc.UPF", "../H.UPF"), "ATOMIC_SPECIES"),
        (pw_text(z="1/0"), "ATOMIC_POSITIONS"),
        (pw_text(z="nan"), "ATOMIC_POSITIONS"),
        (pw_text(z="1.4 # pw.x takes this for more fields"), "ATOMIC_POSITIONS"),
        (pw_text(z="1.4!glued"), "ATOMIC_POSITIONS"),
        (pw_text(z="! 1.4"), "ATOMIC_POSITIONS"),
        (pw_text(positions="ATOMIC_POSITIONS bohr\n  ! indented"), "ATOMIC_POSITIONS"),
        (pw_text(positions="ATOMIC_POSITIONS crystal_sg"), "ATOMIC_POSITIONS"),
        (pw_text(positions="ATOMIC_POSITIONS angstrom ! was crystal"), "ATOMIC_POSITIONS"),
        (pw_text(positions="ATOMIC_POSITIONS {alat} ! in Bohr"), "ATOMIC_POSITIONS"),
        (
            pw_text(ibrav="0").replace("K_POINTS", f"CELL_PARAMETERS angstrom ! bohr\n{VECTORS}\nK_POINTS"),
            "CELL_PARAMETERS",
        ),
        (pw_text(kpoints="gamma ! not automatic"), "K_POINTS"),
        (pw_text(kpoints="automatic\n 2 2"), "K_POINTS"),
        (pw_text(kpoints="crystal_b\n 1\n 0 0 0 1"), "K_POINTS"),
        (pw_text(ibrav="77, celldm(1)=8"), "ibrav"),
        (pw_text(ibrav="0"), "CELL_PARAMETERS"),
    ],
)
def test_what_cannot_be_carried_out_is_refused_by_name(text: str, field: str) -> None:
    with pytest.raises(InputError) as caught:
        PwInput.parse(text)
    assert caught.value.field == field


@pytest.mark.parametrize("indices", [[], [2], [-1], [0]])
def test_impossible_mobile_atoms_are_refused(indices: list[int]) -> None:
    with pytest.raises(InputError) as caught:
        PwInput.parse(pw_text()).mobile(indices)
    assert caught.value.field == "mobile_indices"


def test_a_partly_fixed_atom_cannot_be_mobile() -> None:
    with pytest.raises(InputError, match="in part"):
        PwInput.parse(pw_text().replace("0 0 0", "0 0 1")).mobile([0])
