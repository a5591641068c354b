"""The hash of an input's physics: the same for the same physics in any layout, another for another."""

from __future__ import annotations

import re

import pytest

from benchmarks.planning import supercell
from zpe_sdk.espresso import patch, physics
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.wire import Task

TEXT = """&CONTROL
  calculation = 'scf', title = 'a', tefield = .true., prefix = 'x'
/
&SYSTEM
  ibrav = 1, celldm(1) = 8.0, nat = 2, ntyp = 1
  ecutwfc = 30.0, nspin = 2, starting_magnetization(1) = 0.5
  occupations = 'smearing', degauss = 0.01
/
&ELECTRONS
  conv_thr = 1.0d-8, mixing_beta = 0.7, real_space = .false.
/
ATOMIC_SPECIES
H 1.008 H.UPF
ATOMIC_POSITIONS bohr
H 0.0 0.0 0.0
H 0.0 0.0 1.4
K_POINTS automatic
2 2 2 0 0 0
"""


def changed(old: str, new: str) -> PwInput:
    assert old in TEXT
    return PwInput.parse(TEXT.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ecutwfc = 30.0", "ECUTWFC=3d1 ! Ry\n "),
        ("ecutwfc = 30.0", "ecutwfc = 30"),
        ("degauss = 0.01", "degauss = 1.0e-2,"),
        ("nspin = 2, starting_magnetization(1) = 0.5", "Starting_Magnetization=.5 nspin=2"),
        ("celldm(1) = 8.0", "celldm = 8"),
        ("tefield = .true.", "TEFIELD=T"),
        ("'smearing'", '"Smearing "'),
        ("calculation = 'scf'", "calculation = 'relax'"),
        ("title = 'a'", "title = 'b', verbosity='high', max_seconds=100"),
        ("conv_thr = 1.0d-8, mixing_beta = 0.7", "conv_thr=1d-12 mixing_mode='TF', startingwfc='random'"),
        ("ATOMIC_SPECIES", "&IONS\n ion_dynamics='bfgs'\n/\nATOMIC_SPECIES"),
        ("H 1.008 H.UPF", "# species\n   H    2.014   H.UPF"),
        ("K_POINTS automatic\n2 2 2 0 0 0", "K_POINTS {Automatic}\n\n 2  2  2  0 0 0"),
        ("H 0.0 0.0 1.4", "H 0.0 0.0 1.5 0 0 0"),
    ],
)
def test_another_layout_or_another_steering_is_the_same_physics(old: str, new: str) -> None:
    assert physics.physics_hash(changed(old, new)) == physics.physics_hash(PwInput.parse(TEXT))


OTHER = [
    ("ecutwfc = 30.0", "ecutwfc = 30.5"),
    ("nspin = 2, starting_magnetization(1) = 0.5", ""),
    ("starting_magnetization(1) = 0.5", "starting_magnetization(1) = 0.4"),
    ("degauss = 0.01", "degauss = 0.01, vdw_corr='d3'"),
    ("degauss = 0.01", "degauss = 0.01, tot_charge=1"),
    ("degauss = 0.01", "degauss = 0.01, orbital_resolved=.true."),
    ("tefield = .true.", "tefield = .false."),
    ("real_space = .false.", "real_space = .true."),
    ("H.UPF", "H.pbe.UPF"),
    ("2 2 2 0 0 0", "2 2 3 0 0 0"),
    ("2 2 2 0 0 0", "2 2 2 1 1 1"),
    ("automatic\n2 2 2 0 0 0", "crystal\n1\n 0.25 0.25 0.25 1.0"),
    ("automatic\n2 2 2 0 0 0", "gamma"),
    ("celldm(1) = 8.0", "celldm(1) = 8.1"),
    ("K_POINTS", "OCCUPATIONS\n1.0 0.0\nK_POINTS"),
    ("K_POINTS", "HUBBARD ortho-atomic\nU H-1s 1.0\nK_POINTS"),
]


@pytest.mark.parametrize(("old", "new"), OTHER)
def test_other_physics_has_another_hash(old: str, new: str) -> None:
    assert physics.physics_hash(changed(old, new)) != physics.physics_hash(PwInput.parse(TEXT))


def test_no_two_of_them_share_a_hash() -> None:
    hashes = {physics.physics_hash(changed(old, new)) for old, new in OTHER}
    assert len(hashes) == len(OTHER)


def test_the_gamma_point_is_the_gamma_point_however_it_is_asked_for() -> None:
    mesh = changed("2 2 2 0 0 0", "1 1 1 0 0 0")
    assert physics.physics_hash(mesh) == physics.physics_hash(changed("automatic\n2 2 2 0 0 0", "gamma"))
    spinors = TEXT.replace("nspin = 2", "noncolin=.true.").replace("2 2 2", "1 1 1")
    gamma = spinors.replace("automatic\n1 1 1 0 0 0", "gamma")
    assert physics.physics_hash(PwInput.parse(spinors)) != physics.physics_hash(PwInput.parse(gamma))


def test_a_task_of_an_input_has_the_physics_of_the_input() -> None:
    pw_input = PwInput.parse(TEXT)
    task = Task(index=1, atom=0, displacement=(0.01, 0, 0))
    text = patch.task_text(
        pw_input,
        task,
        prefix="p",
        outdir="./",
        pseudo_dir="/p",
        electrons={"mixing_beta": 0.1, "startingpot": "file"},
    )
    patched = PwInput.parse(text)
    assert physics.physics_hash(patched) == physics.physics_hash(pw_input)
    assert physics.scf_key(patched, Task(index=0)) == physics.scf_key(pw_input, task)


def test_the_key_of_an_scf_tells_structures_apart_and_not_their_spelling() -> None:
    pw_input = PwInput.parse(TEXT)
    equilibrium, task = Task(index=0), Task(index=1, atom=0, displacement=(0.01, 0, 0))
    assert re.fullmatch("[0-9a-f]{64}", physics.scf_key(pw_input, task))
    keys = {
        physics.scf_key(pw_input, equilibrium),
        physics.scf_key(pw_input, task),
        physics.scf_key(pw_input, Task(index=2, atom=0, displacement=(-0.01, 0, 0))),
        physics.scf_key(pw_input, Task(index=3, atom=1, displacement=(0.01, 0, 0))),
        physics.scf_key(changed("0.0 1.4", "0.0 1.41"), equilibrium),
        physics.scf_key(changed("celldm(1) = 8.0", "celldm(1) = 8.1"), equilibrium),
    }
    assert len(keys) == 6
    same = changed("bohr\nH 0.0 0.0 0.0\nH 0.0 0.0 1.4", "alat\nH 0 0 -0.0\nH 0 0 0.175")
    assert physics.scf_key(same, task) == physics.scf_key(pw_input, task)
    again = Task(index=9, atom=0, displacement=(0.01, 0, 0))
    assert physics.scf_key(pw_input, again) == physics.scf_key(pw_input, task)


def test_the_keys_of_a_large_structure_tell_which_atom_is_moved() -> None:
    pw_input = PwInput.parse(supercell(7))
    assert len(pw_input.positions) > physics.BLOCK
    tasks = [
        Task(0),
        *(Task(1, atom, (0.01, 0, 0)) for atom in (0, physics.BLOCK - 1, physics.BLOCK, 342)),
        Task(2, 342, (0, 0.01, 0)),
    ]
    keys = physics.scf_keys(pw_input, tasks)
    assert len(set(keys)) == len(tasks)
    for task, key in zip(tasks, keys, strict=True):
        text = patch.task_text(pw_input, task, prefix="p", outdir="./", pseudo_dir="/p", electrons={})
        assert physics.scf_key(PwInput.parse(text), Task(0)) == key
