"""Γ alone: one program of pw.x for both of its forms only where they have been seen to be the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.programs import PW, PW_VERSION
from zpe_sdk.errors import ComputeError
from zpe_sdk.espresso import patch, physics
from zpe_sdk.espresso.gamma import gamma_warning
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.run import run_scf
from zpe_sdk.wire import Task
from zpe_sdk.wire.versions import fits

PSEUDO_DIR = "/usr/share/espresso/pseudo"
MESH = "K_POINTS automatic\n1 1 1 0 0 0"
LIST = "K_POINTS crystal\n1\n0 0 0 1"
# Water, not at its minimum and without a symmetry that would hide an error.
TEXT = """&CONTROL
  {control}
/
&SYSTEM
  ibrav = 6, A = 6.0, celldm(3) = 1.8, nat = 3, ntyp = 2, ecutwfc = 20 {system}
/
&ELECTRONS
  {electrons}
/
ATOMIC_SPECIES
O 15.999 O.blyp-mt.UPF
H 1.008 H.blyp-vbc.UPF
ATOMIC_POSITIONS angstrom
O 0.05 0.02 0.11
H 0.0 0.78 0.61
H 0.03 -0.76 0.57
{cards}
{kpoints}
"""


def water(
    kpoints: str = MESH, *, control: str = "", system: str = "", electrons: str = "", cards: str = ""
) -> PwInput:
    system = ", C = 10.8" + system
    text = TEXT.replace("celldm(3) = 1.8, ", "")
    return PwInput.parse(
        text.format(control=control, system=system, electrons=electrons, cards=cards, kpoints=kpoints)
    )


def text_of(pw_input: PwInput) -> str:
    return patch.task_text(
        pw_input,
        Task(index=0),
        prefix="pw",
        outdir="./",
        pseudo_dir=PSEUDO_DIR,
        electrons={"conv_thr": 1e-13},
    )


def is_rewritten(pw_input: PwInput) -> bool:
    return "K_POINTS gamma" in text_of(pw_input)


def forces(text: str, folder: Path) -> np.ndarray:
    folder.mkdir()
    return np.asarray(run_scf(PW, text, folder, prefix="pw").forces_ev_ang)


@pytest.mark.parametrize(
    "plain",
    [
        {},
        {"system": ", nspin=2, starting_magnetization(1)=0.5, occupations='smearing', degauss=0.02"},
        {"system": ", assume_isolated='mt', vdw_corr='DFT-D3', input_dft='PBE'"},
        {"system": ", tot_charge=1.0, noncolin=.false., lda_plus_u=.false."},
        {"system": ", edir=3, emaxpos=0.7, eopreg=0.1, eamp=0", "control": "tefield=.true. dipfield=.true."},
        {"electrons": "mixing_mode='local-TF', diagonalization='cg'"},
        {"cards": "OCCUPATIONS\n2 2 2 2", "system": ", occupations='from_input'"},
        {"kpoints": MESH + "\n0 0 0 1\n! done"},
    ],
)
def test_a_plain_molecule_runs_with_half_the_plane_waves(plain: dict[str, str]) -> None:
    mesh = water(**plain)
    assert is_rewritten(mesh)
    assert physics.physics_hash(mesh) == physics.physics_hash(water(**{**plain, "kpoints": "K_POINTS gamma"}))


@pytest.mark.parametrize(
    "other",
    [
        {"system": ", assume_isolated='2D'"},
        {"system": ", assume_isolated='esm'"},
        {"system": ", noncolin=.true."},
        {"system": ", nspin=4"},
        {"system": ", occupations='tetrahedra'"},
        {"system": ", lda_plus_u=.true., Hubbard_U(1)=3.0"},
        {"system": ", nqx1=2"},
        {"system": ", input_dft='scan'"},
        {"system": ", vdw_corr='mbd'"},
        {"system": ", exxdiv_treatment='none'"},
        {"control": "gate=.true."},
        {"electrons": "real_space=.true."},
        {"cards": "HUBBARD atomic\nU O-2p 6.0"},
        {"cards": "ATOMIC_FORCES\nO 0 0 0\nH 0 0 0.1\nH 0 0 0"},
        {"cards": "CARD_OF_A_LATER_VERSION on"},
        {"cards": "CARD_OF_A_LATER_VERSION 3"},
        {"cards": "CONSTRAINTS\n0\nCARD_OF_A_LATER_VERSION on"},
    ],
)
def test_anything_else_leaves_the_k_points_and_the_physics_as_they_are_written(other: dict[str, str]) -> None:
    mesh = water(**other)
    assert MESH in text_of(mesh)
    assert physics.physics_hash(mesh) != physics.physics_hash(water("K_POINTS gamma", **other))


@pytest.mark.qe
@pytest.mark.parametrize(
    "system", ["", ", tot_charge=1, nspin=2, tot_magnetization=1, assume_isolated='mt', vdw_corr='grimme-d3'"]
)
def test_the_gamma_point_is_the_one_point_mesh(system: str, tmp_path: Path) -> None:
    text = text_of(water(system=system + ", input_dft='pbe'"))
    found = forces(text, tmp_path / "gamma")
    as_it_stood = forces(text.replace("K_POINTS gamma", MESH), tmp_path / "mesh")
    np.testing.assert_allclose(found, as_it_stood, atol=1e-5)


@pytest.mark.qe
def test_a_mesh_of_one_point_has_the_forces_of_the_point_where_gamma_tricks_are_wrong(tmp_path: Path) -> None:
    def run(kpoints: str, folder: str) -> np.ndarray | None:
        slab = water(kpoints, system=", assume_isolated='2D'", electrons="electron_maxstep=20")
        text = text_of(slab).replace("conv_thr = 1e-13", "conv_thr = 1e-10")
        try:
            return forces(text, tmp_path / folder)
        except ComputeError:  # it does not converge
            return None

    point, mesh, tricks = run(LIST, "list"), run(MESH, "mesh"), run("K_POINTS gamma", "gamma")
    assert point is not None
    assert mesh is not None
    np.testing.assert_allclose(mesh, point, atol=1e-4)
    is_wrong = tricks is None or bool(np.abs(tricks - point).max() > 0.1)
    assert is_wrong == fits(PW_VERSION, "<7.3.1")


@pytest.mark.parametrize(
    ("isolated", "concerned", "versions"),
    [
        ("2D", ["6.3", "6.7MaX", "7.2", "7.3"], "before 7.3.1"),
        ("esm", ["7.2", "7.3"], "7.2 and 7.3"),
        ("mt", [], ""),
    ],
)
def test_an_input_that_says_gamma_where_pw_is_wrong_with_it_is_warned(
    isolated: str, concerned: list[str], versions: str
) -> None:
    gamma = water("K_POINTS gamma", system=f", assume_isolated='{isolated}'")
    told = {
        version: gamma_warning(gamma, version) for version in ("6.3", "6.7MaX", "7.2", "7.3", "7.3.1", "7.5")
    }
    assert [version for version, warning in told.items() if warning] == concerned
    assert all(versions in warning and isolated in warning for warning in told.values() if warning)
    assert gamma_warning(water(system=f", assume_isolated='{isolated}'"), "7.2") is None
