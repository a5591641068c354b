"""Wave functions made of those of another SCF, as pw.x itself finds them good."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.programs import PW
from zpe_sdk.espresso import density, patch, wavefunctions
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.mesh import operations, whole_mesh
from zpe_sdk.espresso.output import ScfResult
from zpe_sdk.espresso.process import STDOUT
from zpe_sdk.espresso.run import run_scf
from zpe_sdk.wire import Task

PSEUDO_DIR = Path("/usr/share/espresso/pseudo")
# Its symmetry has glide planes and screw axes, off the origin.
SILICON = """&SYSTEM
  ibrav = 2, A = 5.4, nat = 2, ntyp = 1, ecutwfc = 12.0 {system}
/
&ELECTRONS
/
ATOMIC_SPECIES
Si 28.0 Si.pz-vbc.UPF
ATOMIC_POSITIONS alat
Si 0.01 0.02 0.03
Si 0.26 0.27 0.28
K_POINTS automatic
3 3 3 0 0 0
"""
SPINS = ", occupations = 'smearing', degauss = 0.02, nspin = 2, starting_magnetization(1) = 0.1"


def scf(
    folder: Path, pw_input: PwInput, task: Task, *, on_mesh: bool = True, **electrons: object
) -> ScfResult:
    text = patch.task_text(
        pw_input,
        task,
        prefix="pw",
        outdir="./",
        pseudo_dir=str(PSEUDO_DIR),
        electrons={"conv_thr": 1e-10, **electrons},
        points=whole_mesh(pw_input) if on_mesh else None,
    )
    folder.mkdir(exist_ok=True)
    return run_scf(PW, text, folder, prefix="pw")


def applications(folder: Path) -> int:
    """Return how often pw.x applied the Hamiltonian to all states at a k-point."""
    found = re.search(r"h_psi\s+:.*\(\s*(\d+) calls", (folder / STDOUT).read_text())
    assert found
    return int(found[1])


def points(pw_input: PwInput) -> list[tuple[float, float, float]]:
    mesh = whole_mesh(pw_input)
    assert mesh is not None
    return [point for point, _ in mesh]


@pytest.mark.qe
@pytest.mark.parametrize("system", ["", SPINS])
def test_symmetry_and_time_reversal_give_the_states_of_the_whole_mesh(system: str, tmp_path: Path) -> None:
    pw_input, rest = PwInput.parse(SILICON.format(system=system)), Task(index=0)
    centre = tmp_path / "centre"
    known = scf(centre, pw_input, rest, on_mesh=False)
    for folder in (tmp_path / "density", tmp_path / "states"):
        folder.mkdir()
        assert density.copy(centre / "pw.save", folder / "pw.save")
    assert wavefunctions.prepare(
        centre / "pw.save", tmp_path / "states" / "pw.save", points(pw_input), operations(pw_input)
    )
    spins = 2 if system else 1
    assert len(list((tmp_path / "states" / "pw.save").glob("wfc*.dat"))) == 14 * spins
    thr = {"startingpot": "file", "diago_thr_init": 1e-8}
    scf(tmp_path / "density", pw_input, rest, **thr)
    same = scf(tmp_path / "states", pw_input, rest, startingwfc="file", **thr)
    assert same.energy_ev == pytest.approx(known.energy_ev, abs=1e-6)
    # One application finds that there is nothing to do; with wrong phases it takes as many as from nowhere.
    assert applications(tmp_path / "states") < 0.5 * applications(tmp_path / "density")


@pytest.mark.qe
def test_the_states_of_an_opposite_displacement_are_nearly_known(tmp_path: Path) -> None:
    pw_input = PwInput.parse(SILICON.format(system=""))
    first = Task(index=1, atom=1, displacement=(0.01, 0.0, 0.02))
    opposite = Task(index=2, atom=1, displacement=(-0.01, 0.0, -0.02))
    centre, displaced = tmp_path / "centre", tmp_path / "displaced"
    scf(centre, pw_input, Task(index=0), on_mesh=False)
    scf(displaced, pw_input, first)
    counts = []
    for source in (None, displaced / "pw.save"):
        folder = tmp_path / f"from {'both' if source else 'one'}"
        folder.mkdir()
        assert density.extrapolate(centre / "pw.save", displaced / "pw.save", folder / "pw.save")
        assert wavefunctions.prepare(
            centre / "pw.save", folder / "pw.save", points(pw_input), operations(pw_input), displaced=source
        )
        scf(folder, pw_input, opposite, startingpot="file", startingwfc="file", diago_thr_init=1e-8)
        counts.append(applications(folder))
    assert counts[1] < counts[0]


def test_states_that_are_not_there_or_do_not_match_are_no_start(tmp_path: Path) -> None:
    pw_input = PwInput.parse(SILICON.format(system=""))
    centre, save = tmp_path / "centre", tmp_path / "save"
    for folder in (centre, save):
        folder.mkdir()
    assert not wavefunctions.prepare(centre, save, None, operations(pw_input))
    assert not wavefunctions.prepare(centre, save, points(pw_input), operations(pw_input))
    (centre / "wfc1.dat").write_bytes(np.arange(10).tobytes())
    assert not wavefunctions.prepare(centre, save, None, operations(pw_input))
    assert not list(save.iterdir())
