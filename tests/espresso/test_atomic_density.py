"""Atoms' own densities: what files say of them, and what moving them along is worth to pw.x."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import trapezoid

from tests.programs import PW
from zpe_sdk.espresso import atomic_density, density, patch
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.process import STDOUT
from zpe_sdk.espresso.run import run_scf
from zpe_sdk.wire import Task

PSEUDO_DIR = Path("/usr/share/espresso/pseudo")
WATER = """&SYSTEM
  ibrav = 1, A = 6.0, nat = 3, ntyp = 2, ecutwfc = 20.0, ecutrho = 100.0
/
&ELECTRONS
/
ATOMIC_SPECIES
O 16.0 O.pbe-kjpaw.UPF
H  1.0 H.pbe-kjpaw.UPF
ATOMIC_POSITIONS angstrom
O 3.0  3.0 3.12
H 3.77 3.0 2.52
H 2.23 3.0 2.52
K_POINTS gamma
"""
FIRST = Task(index=1, atom=0, displacement=(0.0, 0.02, 0.02))
OPPOSITE = Task(index=2, atom=0, displacement=(0.0, -0.02, -0.02))


def accuracies(folder: Path, task: Task, **electrons: object) -> list[float]:
    """Run an SCF in a folder and return what pw.x estimates after each iteration, in Ry."""
    folder.mkdir(exist_ok=True)
    text = patch.task_text(
        PwInput.parse(WATER),
        task,
        prefix="pw",
        outdir="./",
        pseudo_dir=str(PSEUDO_DIR),
        electrons={"conv_thr": 1e-9, **electrons},
    )
    run_scf(PW, text, folder, prefix="pw")
    said = re.findall(r"estimated scf accuracy +< +(\S+) Ry", (folder / STDOUT).read_text())
    return [float(accuracy) for accuracy in said]


def oxygen(*places: tuple[float, tuple[float, float, float]]) -> list[tuple[float, np.ndarray]]:
    rest = PwInput.parse(WATER).positions[0]
    return [(weight, rest + np.array(vector)) for weight, vector in places]


@pytest.mark.qe
def test_an_scf_starts_nearer_to_its_end_where_the_atoms_density_moves_along(tmp_path: Path) -> None:
    atom = atomic_density.read(PSEUDO_DIR / "O.pbe-kjpaw.UPF")
    centre, displaced = tmp_path / "centre", tmp_path / "displaced"
    accuracies(centre, Task(index=0))
    left, along = tmp_path / "left", tmp_path / "along"
    for folder in (left, along):
        density.copy(centre / "pw.save", folder / "pw.save")
    assert FIRST.displacement
    assert atomic_density.add(
        along / "pw.save", atom, oxygen((1.0, FIRST.displacement), (-1.0, (0.0, 0.0, 0.0)))
    )
    start = {"startingpot": "file", "diago_thr_init": 1e-8}
    # The wrong way, or with wrong units, it would begin farther away than without.
    assert accuracies(along, FIRST, **start)[0] < 0.1 * accuracies(left, FIRST, **start)[0]

    accuracies(displaced, FIRST)
    left, along = tmp_path / "left, extrapolated", tmp_path / "along, extrapolated"
    for folder in (left, along):
        assert density.extrapolate(centre / "pw.save", displaced / "pw.save", folder / "pw.save")
    assert OPPOSITE.displacement
    assert atomic_density.add(
        along / "pw.save",
        atom,
        oxygen((1.0, OPPOSITE.displacement), (1.0, FIRST.displacement), (-2.0, (0.0, 0.0, 0.0))),
    )
    assert accuracies(along, OPPOSITE, **start)[0] < 0.5 * accuracies(left, OPPOSITE, **start)[0]


@pytest.mark.parametrize(
    ("file", "valence"),
    [("O.pbe-kjpaw.UPF", 6), ("C.pz-rrkjus.UPF", 4), ("Al.pz-vbc.UPF", 3), ("H.pbe-kjpaw.UPF", 1)],
)
def test_a_free_atom_has_its_valence_electrons(file: str, valence: int) -> None:
    atom = atomic_density.read(PSEUDO_DIR / file)
    assert trapezoid(atom.electrons, atom.radii) == pytest.approx(valence, abs=2e-3)
    assert atom.transform(np.array([0.0, 0.5]))[0] == pytest.approx(valence, abs=2e-3)


def test_the_transform_is_that_of_an_analytic_density() -> None:
    # Hydrogen: ρ(r) = exp(-2r)/π, whose transform is 1 / (1 + G²/4)².
    radii = np.linspace(0.0, 20.0, 4001)
    atom = atomic_density.AtomicDensity(radii, 4 * radii**2 * np.exp(-2 * radii))
    lengths = np.array([0.0, 0.013, 0.7, 2.0, 9.99])
    assert atom.transform(lengths) == pytest.approx(1 / (1 + lengths**2 / 4) ** 2, abs=2e-6)


def test_what_is_no_density_stays_as_it_is(tmp_path: Path) -> None:
    atom = atomic_density.read(PSEUDO_DIR / "O.pbe-kjpaw.UPF")
    (tmp_path / "charge-density.hdf5").write_bytes(b"\x89HDF")
    assert not atomic_density.add(tmp_path, atom, oxygen((1.0, (0.0, 0.0, 0.0))))
    (tmp_path / "charge-density.dat").write_bytes(b"no records")
    assert not atomic_density.add(tmp_path, atom, oxygen((1.0, (0.0, 0.0, 0.0))))
    assert (tmp_path / "charge-density.dat").read_bytes() == b"no records"
    with pytest.raises(ValueError, match="PP_R"):
        atomic_density.read(tmp_path / "charge-density.hdf5")
