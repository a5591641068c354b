"""The input of a task: what pw.x computes from it, and that nothing else of the user's text changed."""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from ase.units import Bohr
from numpy.typing import NDArray

from tests.programs import PW
from zpe_sdk.errors import InputError
from zpe_sdk.espresso import patch
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.run import run_scf
from zpe_sdk.wire import Task, Vector

PSEUDO_DIR = "/usr/share/espresso/pseudo"
EQUILIBRIUM = Task(index=0)
STEP = (0.004, -0.007, 0.01)
BY_HAND = """&CONTROL
  prefix='pw', outdir='./', pseudo_dir='{pseudo_dir}', tprnfor=.true.
/
&SYSTEM
  ibrav=0, nat=2, ntyp=1, ecutwfc=12, nosym=.true. {system}
/
&ELECTRONS
  conv_thr=1d-12
/
ATOMIC_SPECIES
H 1.008 H.pz-vbc.UPF
CELL_PARAMETERS angstrom
{cell}
ATOMIC_POSITIONS angstrom
{atoms}
K_POINTS {kpoints}
"""
FORM = """! H2, stretched
{control}
&SYSTEM
  nat = 2, ntyp = 1, ecutwfc = 12.0 {system}
/
{electrons}
ATOMIC_SPECIES
 H 1.008 H.pz-vbc.UPF
{cell}
ATOMIC_POSITIONS {positions}
K_POINTS {kpoints}
"""
CONTROL = "&CONTROL\n  calculation = 'relax', outdir='/nowhere/x', prefix='../y' ! mine\n/"
ELECTRONS = "&ELECTRONS\n conv_thr = 1d-4, startingpot = 'file', startingwfc='file'\n/\n&IONS\n/"
CUBIC = ", ibrav = 1, celldm(1) = 8.0"
# Without nosym, pw.x adds to k-points all that the lattice's own symmetry makes of them: one without any.
OBLIQUE = {"system": ", ibrav=0", "cell": "CELL_PARAMETERS {bohr}\n 7 0.5 0.2\n 0 8 0.3\n 0.1 0 9"}
LIST = "2\n 0.25 0 0.1 1.0\n 0 0.1 0.2 3.0"


def form(
    positions: str,
    *,
    system: str = CUBIC,
    cell: str = "",
    kpoints: str = "gamma",
    control: str = CONTROL,
    electrons: str = ELECTRONS,
) -> str:
    return FORM.format(
        positions=positions, system=system, cell=cell, kpoints=kpoints, control=control, electrons=electrons
    )


FORMS = {
    "bohr": form("bohr\n H 0 0 0\n H 0.1 0 1.5d0"),
    "alat": form("(alat)\n H 0 0 0\n H 0.02 0 0.19"),
    "no unit": form("\n H 0 0 0\n H 0.02 0 .19"),
    "angstrom": form("{angstrom}\n H 0 0 0\n H 0.05 0 0.8"),
    "crystal, hexagonal": form(
        "crystal\n H 0 0 0\n H 0.02 0.01 0.17", system=", ibrav=4, celldm(1)=8, celldm(3)=1.1"
    ),
    "cell given": form(
        "crystal\n H 0 0 0\n H 0.02 0.01 0.17",
        system=", ibrav=0",
        cell="CELL_PARAMETERS {bohr}\n 8 0.5 0\n 0 8 0.3\n 0 0 9",
    ),
    "fixed atoms": form("bohr\n H 0 0 0  0 0 0\n H 0.1 0 1.5 1 0 1"),
    "no &CONTROL, no &ELECTRONS": form("bohr\n H 0 0 0\n H 0.1 0 1.5", control="", electrons=""),
    "everything on one line": form(
        "bohr\n H 0 0 0\n H 0.1 0 1.5",
        control="&control calculation='vc-relax' wfcdir='/x', tstress=T,max_seconds=1 /",
        electrons="&electrons conv_thr=1e-3 &end\n&ions / ! bfgs\n&cell press=1.0 /",
    ),
    "more atoms than nat": form("bohr\n H 0 0 0\n# a comment\n\n H 0.1 0 1.5\n H 5 5 5"),
    "comments behind the lines": form(
        "bohr ! a\n H 0 0 0 0 0 0 ! fixed 0 0 0\n H 0.1 0 1.5 !free, 1 0 1",
        kpoints="automatic ! mesh\n 1 1 1 0 0 0 ! gamma",
        cell="CELL_PARAMETERS bohr ! cell\n 8 0 0 ! x\n 0 8 0 ! y\n 0 0 9 ! z",
        system=", ibrav=0",
    ),
    "CRLF": form("bohr\n H 0 0 0\n H 0.1 0 1.5").replace("\n", "\r\n"),
    "mesh": form("bohr\n H 0 0 0\n H 0.1 0 1.5", kpoints="automatic\n 2 1 1 0 0 1", **OBLIQUE),
    "list": form("bohr\n H 0 0 0\n H 0.1 0 1.5", kpoints=f"crystal\n {LIST}", **OBLIQUE),
    "smearing in capitals": form(
        "bohr\n H 0 0 0\n H 0.1 0 1.5", system=CUBIC + "\n OCCUPATIONS='smearing', DEGAUSS=0.02"
    ),
}
SAMPLED = {"mesh": "automatic\n 2 1 1 0 0 1", "list": f"crystal\n {LIST}"}


def task_text(pw_input: PwInput, task: Task, conv_thr: float = 1e-12) -> str:
    return patch.task_text(
        pw_input, task, prefix="pw", outdir="./", pseudo_dir=PSEUDO_DIR, electrons={"conv_thr": conv_thr}
    )


def forces(text: str, folder: Path) -> NDArray[np.float64]:
    folder.mkdir(exist_ok=True)
    return np.asarray(run_scf(PW, text, folder, prefix="pw").forces_ev_ang)


def rows(values: NDArray[np.float64], label: str = "") -> str:
    return "\n".join(label + " ".join(f"{x:.14f}" for x in row) for row in values)


@pytest.fixture(scope="module")
def by_hand_forces(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], NDArray[np.float64]]:
    """Run an input that several forms amount to once."""
    return lru_cache(lambda text: forces(text, tmp_path_factory.mktemp("by_hand")))


@pytest.mark.qe
@pytest.mark.parametrize("name", FORMS)
def test_forces_are_those_of_an_input_written_by_hand(
    name: str, tmp_path: Path, by_hand_forces: Callable[[str], NDArray[np.float64]]
) -> None:
    pw_input = PwInput.parse(FORMS[name])
    moved = pw_input.positions + np.array([[0, 0, 0], STEP])
    system = ", occupations='smearing', degauss=0.02" if "smearing" in name else ""
    by_hand = BY_HAND.format(
        pseudo_dir=PSEUDO_DIR,
        system=system,
        cell=rows(pw_input.cell),
        atoms=rows(moved, "H "),
        kpoints=SAMPLED.get(name, "gamma"),
    )
    text = task_text(pw_input, Task(index=1, atom=1, displacement=STEP))
    found = forces(text, tmp_path / "patched")
    assert found.all()  # not 0 for fixed components either
    np.testing.assert_allclose(found, by_hand_forces(by_hand), atol=2e-5)
    assert "ignored" not in (tmp_path / "patched" / "pw.out").read_text()
    save = {path.name.split(".")[0] for path in (tmp_path / "patched" / "pw.save").iterdir()}
    assert {"charge-density", "data-file-schema"} <= save


RICH = """&CONTROL
  title = 'Fe / O, "a" ! b', calculation = 'vc-relax' ! my relaxation
  outdir = '/scratch/me'
  verbosity = 'high', dipfield = .true., tefield=.true.
/
&SYSTEM
  ibrav = 0, nat = 3, ntyp = 3
  ecutwfc = 40, ecutrho = 4.0D2, ! Ry
  nspin=2 starting_magnetization(1)=+0.5, starting_magnetization(2)=-0.5
  edir = 3, emaxpos = 0.7, eopreg = 1.d-1, eamp=0
  vdw_corr = 'grimme-d3', tot_charge = 0.0
/
&ELECTRONS
  mixing_mode = 'local-TF',  conv_thr = 1.0d-6
/
&IONS
  ion_dynamics = 'bfgs'
/
ATOMIC_SPECIES
Fe1 55.845 Fe.UPF
 Fe2  55.845   Fe.UPF
O 15.999 O.UPF
HUBBARD (ortho-atomic)
U Fe1-3d 4.0
U Fe2-3d 4.0
CELL_PARAMETERS {angstrom}
 4.0 0.0 0.0
 0.0 4.0 0.0
 0.0 0.0 12.0
ATOMIC_POSITIONS (crystal)
Fe1   0.0 0.0 0.10  0 0 0
# between
Fe2   0.5 0.5 0.1   1 1 1
O     0.25d0   1.D-1 0.3
K_POINTS {automatic}
 4 4 1  1 1 0
"""


def test_a_task_changes_what_it_must_and_not_a_byte_more() -> None:
    task = Task(index=3, atom=2, displacement=(0.0, 0.0, 0.012))
    text = task_text(PwInput.parse(RICH), task, 1e-10)
    changes = [
        line for line in difflib.ndiff(RICH.splitlines(), text.splitlines()) if line.startswith(("- ", "+ "))
    ]
    assert changes == [
        "+   restart_mode = 'from_scratch'",
        "+   prefix = 'pw'",
        f"+   pseudo_dir = '{PSEUDO_DIR}'",
        "+   tprnfor = .true.",
        "+   tstress = .false.",
        "+   disk_io = 'low'",
        "-   title = 'Fe / O, \"a\" ! b', calculation = 'vc-relax' ! my relaxation",
        "+   title = 'Fe / O, \"a\" ! b', calculation = 'scf' ! my relaxation",
        "-   outdir = '/scratch/me'",
        "+   outdir = './'",
        "-   mixing_mode = 'local-TF',  conv_thr = 1.0d-6",
        "+   mixing_mode = 'local-TF',  conv_thr = 1e-10",
        "- /",
        "- &IONS",
        "-   ion_dynamics = 'bfgs'",
        "- Fe1   0.0 0.0 0.10  0 0 0",
        "+ Fe1   0.0 0.0 0.10",
        "- O     0.25d0   1.D-1 0.3",
        "+ O     0.25d0   1.D-1 0.3010000000000000",
    ]


def test_a_comment_behind_an_atom_stays() -> None:
    text = form("bohr\n H 0 0 0 0 0 0 ! the 0 one\n H 0.1 0 1.5 ! the other 0")
    changed = task_text(PwInput.parse(text), Task(index=1, atom=1, displacement=STEP))
    assert " H 0 0 0 ! the 0 one\n" in changed
    assert changed.count(" ! the other 0") == 1


@pytest.mark.parametrize("unit", ["bohr", "alat", "angstrom", "crystal"])
@pytest.mark.parametrize("step", [(0.01, 0.0, 0.0), (-0.003, 0.004, 1e-3)])
def test_only_the_displaced_atom_moves_and_by_the_displacement(unit: str, step: Vector) -> None:
    text = form(
        f"{unit}\n H 0.1 0.2 .3\n H 0.123456789012 0 -1.d-1",
        system=", ibrav=14, celldm=8 1.2 1.1 .1 .2 .3",
    )
    before = PwInput.parse(text)
    changed = task_text(before, Task(index=1, atom=1, displacement=step))
    after = PwInput.parse(changed)
    assert " H 0.1 0.2 .3\n" in changed
    np.testing.assert_allclose(after.positions[1] - before.positions[1], step, atol=1e-14)
    assert before.alat == pytest.approx(8 * Bohr)


@pytest.mark.parametrize(
    "task", [Task(index=1, atom=2, displacement=STEP), Task(index=1, atom=-1, displacement=STEP)]
)
def test_an_atom_that_is_not_there_cannot_move(task: Task) -> None:
    with pytest.raises(InputError) as caught:
        task_text(PwInput.parse(FORMS["bohr"]), task)
    assert caught.value.code == "bad_task"


def test_a_step_that_pw_would_overlook_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        task_text(PwInput.parse(FORMS["bohr"]), Task(index=1, atom=1, displacement=(0, 0, 4e-5)))
    assert caught.value.field == "delta"


@pytest.mark.qe
def test_a_task_leaves_the_density_that_the_next_one_starts_from(tmp_path: Path) -> None:
    paw = form("angstrom\n H 0 0 0\n H 0 0 0.8", system=", ibrav = 1, A = 4.0, ecutrho = 60")
    pw_input = PwInput.parse(paw.replace("H.pz-vbc.UPF", "H.pbe-kjpaw.UPF"))
    task = Task(index=1, atom=1, displacement=STEP)
    cold = forces(task_text(pw_input, task, 1e-10), tmp_path / "cold")
    forces(task_text(pw_input, EQUILIBRIUM, 1e-10), tmp_path / "equilibrium")
    save = tmp_path / "warm" / "pw.save"
    shutil.copytree(
        tmp_path / "equilibrium" / "pw.save", save, ignore=shutil.ignore_patterns("wfc*", "*.UPF")
    )
    text = patch.task_text(
        pw_input,
        task,
        prefix="pw",
        outdir="./",
        pseudo_dir=PSEUDO_DIR,
        electrons={"conv_thr": 1e-10, "startingpot": "file"},
    )
    warm = forces(text, tmp_path / "warm")
    assert "The initial density is read from file" in (tmp_path / "warm" / "pw.out").read_text()
    np.testing.assert_allclose(warm, cold, atol=2e-4)
