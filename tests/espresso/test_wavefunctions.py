"""Wave functions made of those of another SCF, as pw.x itself finds them good."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests import hdf5
from tests.programs import PW
from zpe_sdk.espresso import density, patch, wavefunctions
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.mesh import operations
from zpe_sdk.espresso.output import ScfResult
from zpe_sdk.espresso.process import STDOUT
from zpe_sdk.espresso.run import kpoints_of, run_scf
from zpe_sdk.wire import Task

PSEUDO_DIR = Path("/usr/share/espresso/pseudo")
# Glide planes and screw axes off the origin, at points of the FFT grid: pw.x drops them elsewhere.
SILICON = """&SYSTEM
  ibrav = 2, A = 5.4, nat = 2, ntyp = 1, ecutwfc = 12.0, nr1 = 24, nr2 = 24, nr3 = 24 {system}
/
&ELECTRONS
/
ATOMIC_SPECIES
Si 28.0 Si.pz-vbc.UPF
ATOMIC_POSITIONS crystal
Si 0.0833333333333333 0.1666666666666667 0.0416666666666667
Si 0.3333333333333333 0.4166666666666667 0.2916666666666667
K_POINTS automatic
3 3 3 0 0 0
"""
SPINS = ", occupations = 'smearing', degauss = 0.02, nspin = 2, starting_magnetization(1) = 0.1"


def text(pw_input: PwInput, task: Task, *, rehearsal: bool = False, **electrons: object) -> str:
    return patch.task_text(
        pw_input,
        task,
        prefix="pw",
        outdir="./",
        pseudo_dir=str(PSEUDO_DIR),
        electrons={"conv_thr": 1e-10, **electrons},
        rehearsal=rehearsal,
    )


def scf(folder: Path, pw_input: PwInput, task: Task, **electrons: object) -> ScfResult:
    folder.mkdir(exist_ok=True)
    return run_scf(PW, text(pw_input, task, **electrons), folder, prefix="pw")


def points(folder: Path, pw_input: PwInput, task: Task) -> list[tuple[float, float, float]]:
    folder.mkdir()
    return kpoints_of(PW, text(pw_input, task, rehearsal=True), folder)


def applications(folder: Path) -> int:
    """Return how often pw.x applied the Hamiltonian to all states at a k-point."""
    found = re.search(r"h_psi\s+:.*\(\s*(\d+) calls", (folder / STDOUT).read_text())
    assert found
    return int(found[1])


@pytest.mark.qe
@pytest.mark.parametrize("system", ["", SPINS])
def test_symmetry_and_time_reversal_give_the_states_at_all_points(system: str, tmp_path: Path) -> None:
    # With the symmetry that pw.x finds, glides among it, there are 8 points of the 14 without.
    symmetric = PwInput.parse(SILICON.format(system=system))
    whole, rest = PwInput.parse(SILICON.format(system=system + ", nosym = .true.")), Task(index=0)
    centre = tmp_path / "centre"
    known = scf(centre, symmetric, rest)
    listed = points(tmp_path / "rehearsal", whole, rest)
    assert (len(points(tmp_path / "symmetric", symmetric, rest)), len(listed)) == (8, 14)
    for folder in (tmp_path / "density", tmp_path / "states"):
        folder.mkdir()
        assert density.copy(centre / "pw.save", folder / "pw.save")
    save = tmp_path / "states" / "pw.save"
    assert wavefunctions.prepare(centre / "pw.save", save, listed, operations(symmetric))
    assert len(list(save.glob("wfc*"))) == 14 * (2 if system else 1)
    thr = {"startingpot": "file", "diago_thr_init": 1e-8}
    scf(tmp_path / "density", whole, rest, **thr)
    same = scf(tmp_path / "states", whole, rest, startingwfc="file", **thr)
    assert same.energy_ev == pytest.approx(known.energy_ev, abs=1e-6)
    # One application finds that there is nothing to do; with wrong phases it takes as many as from nowhere.
    assert applications(tmp_path / "states") < 0.5 * applications(tmp_path / "density")


@pytest.mark.qe
def test_the_states_of_an_opposite_displacement_are_nearly_known(tmp_path: Path) -> None:
    pw_input = PwInput.parse(SILICON.format(system=""))
    first = Task(index=1, atom=1, displacement=(0.01, 0.0, 0.02))
    opposite = Task(index=2, atom=1, displacement=(-0.01, 0.0, -0.02))
    centre, displaced = tmp_path / "centre", tmp_path / "displaced"
    scf(centre, pw_input, Task(index=0))
    scf(displaced, pw_input, first)
    listed = points(tmp_path / "rehearsal", pw_input, opposite)
    counts = []
    for source in (None, displaced / "pw.save"):
        folder = tmp_path / f"from {'both' if source else 'one'}"
        folder.mkdir()
        assert density.extrapolate(centre / "pw.save", displaced / "pw.save", folder / "pw.save")
        assert wavefunctions.prepare(
            centre / "pw.save", folder / "pw.save", listed, operations(pw_input), displaced=source
        )
        scf(folder, pw_input, opposite, startingpot="file", startingwfc="file", diago_thr_init=1e-8)
        counts.append(applications(folder))
    assert counts[1] < counts[0]


def test_states_that_are_not_there_or_do_not_match_are_no_start(tmp_path: Path) -> None:
    pw_input = PwInput.parse(SILICON.format(system=""))
    centre, save = tmp_path / "centre", tmp_path / "save"
    for folder in (centre, save):
        folder.mkdir()
    listed = [(0.0, 0.0, 0.0)]
    assert not wavefunctions.prepare(centre, save, None, operations(pw_input))
    assert not wavefunctions.prepare(centre, save, listed, operations(pw_input))
    (centre / "wfc1.dat").write_bytes(np.arange(10).tobytes())
    assert not wavefunctions.prepare(centre, save, None, operations(pw_input))
    assert not list(save.iterdir())


@pytest.mark.qe
@pytest.mark.parametrize("system", ["", SPINS])
def test_states_in_hdf5_are_made_in_the_same_way(system: str, tmp_path: Path) -> None:
    pw_input = PwInput.parse(SILICON.format(system=system))
    task = Task(index=1, atom=0, displacement=(0.01, 0.02, 0.0))
    at = points(tmp_path / "points", pw_input, task)
    scf(tmp_path / "centre", pw_input, Task(index=0))
    scf(tmp_path / "displaced", pw_input, task)
    made = {}
    for kind in ("fortran", "hdf5"):
        for name, points_of in (("centre", at), ("displaced", None)):
            shutil.copytree(tmp_path / name / "pw.save", tmp_path / kind / name)
            if kind == "hdf5":
                hdf5.convert(tmp_path / kind / name)
            target = tmp_path / kind / f"from {name}"
            target.mkdir()
            assert wavefunctions.prepare(
                tmp_path / kind / name, target, points_of, operations(pw_input)[: None if points_of else 1]
            )
            if kind == "fortran":
                hdf5.convert(target)
        made[kind] = {
            path.relative_to(tmp_path / kind): content(path) for path in (tmp_path / kind).glob("from*/*")
        }
    assert made["fortran"].keys() == made["hdf5"].keys() != set()
    for name, (attributes, waves, states) in made["hdf5"].items():
        others = made["fortran"][name]
        assert attributes.keys() == others[0].keys()
        for key, value in attributes.items():
            np.testing.assert_array_equal(value, others[0][key])
        np.testing.assert_array_equal(waves, others[1])
        np.testing.assert_allclose(states, others[2], atol=1e-14)


def content(path: Path) -> tuple[dict[str, object], np.ndarray, np.ndarray]:
    with h5py.File(path) as file:
        return dict(file.attrs), file["MillerIndices"][...], file["evc"][...]
