"""Settings by kind of system; what they are worth is measured in docs/engine.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.programs import PW
from zpe_sdk.espresso import patch
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.output import gap_of
from zpe_sdk.espresso.recipe import Near, recipe
from zpe_sdk.espresso.run import run_scf
from zpe_sdk.wire import Task

METAL = "occupations = 'smearing', smearing = 'mv', degauss = 0.02"


def job(
    system: str = "",
    electrons: str = "",
    *,
    atoms: int = 1,
    element: str = "Al",
    kpoints: str = "automatic\n3 3 1 0 0 0",
) -> PwInput:
    rows = "\n".join(f"{element} 0.0 0.0 {3 * n}.0" for n in range(atoms))
    return PwInput.parse(
        f"&SYSTEM\n  ibrav = 6, celldm(1) = 6.0, celldm(3) = 4.0, nat = {atoms}, ntyp = 1\n"
        f"  ecutwfc = 20.0\n  {system}\n/\n"
        f"&ELECTRONS\n  {electrons}\n/\nATOMIC_SPECIES\n{element} 0.0 {element}.UPF\n"
        f"ATOMIC_POSITIONS angstrom\n{rows}\nK_POINTS {kpoints}\n"
    )


@pytest.mark.parametrize("system", ["", METAL, METAL + ", nspin = 2"])
def test_what_the_input_says_is_never_overruled(system: str) -> None:
    said = (
        "mixing_mode = 'plain', mixing_ndim = 6, mixing_beta = 0.2, diago_thr_init = 1e-3, conv_thr = 1e-14, "
        "diago_david_ndim = 3"
    )
    how = recipe(job(system, said + ", startingwfc = 'random'"))
    assert all(how.electrons(near) == {"conv_thr": 1e-14} for near in Near)
    assert not how.wave_functions


def test_the_threshold_is_tight_enough_for_forces_and_grows_with_most_cells() -> None:
    loose = "conv_thr = 1e-6"
    assert recipe(job("", loose)).conv_thr == pytest.approx(1e-11)
    assert recipe(job("", loose, atoms=12)).conv_thr == pytest.approx(3e-11)
    for atoms in (4, 14):  # with 7e-10, CO on 12 atoms of aluminium has its slowest mode off by 1.8 cm⁻¹
        assert recipe(job(METAL, loose, atoms=atoms)).conv_thr == pytest.approx(1e-10)
    assert recipe(job(METAL, loose, element="Cu")).conv_thr == pytest.approx(5e-12)
    assert recipe(job(METAL + ", nspin = 2", loose)).conv_thr == pytest.approx(4e-13)


def test_metals_start_from_wave_functions_and_magnets_mix_by_local_screening() -> None:
    how = recipe(job(METAL))
    assert how.wave_functions
    assert "mixing_mode" not in how.electrons(Near.SCRATCH)
    assert recipe(job(METAL + ", nspin = 2")).electrons(Near.SCRATCH)["mixing_mode"] == "local-TF"
    assert not recipe(job()).wave_functions
    assert not recipe(job(METAL + ", noncolin = .true.")).wave_functions  # spinors turn in their own way


def test_a_molecule_is_displaced_beside_its_equilibrium_and_a_slab_after_it() -> None:
    assert recipe(job(atoms=2)).waits  # in a cell of 3 Å by 3 Å
    molecule = job("celldm(1) = 20.0, celldm(3) = 1.0", atoms=2, kpoints="gamma")
    assert not recipe(molecule).waits


def test_an_equilibrium_with_a_gap_decides_what_smearing_left_open() -> None:
    loose = "conv_thr = 1e-6"
    shown = recipe(job(METAL, loose), 5.0)
    assert shown.conv_thr == pytest.approx(1e-11)
    assert not shown.wave_functions
    assert shown.waits  # for the equilibrium, before which nothing is known
    assert "mixing_mode" not in shown.electrons(Near.NEIGHBOUR)
    assert recipe(job(METAL, loose), 0.1) == recipe(job(METAL, loose))
    magnet = job(METAL + ", nspin = 2", loose)
    assert recipe(magnet, 5.0) == recipe(magnet)


@pytest.mark.qe
def test_the_gap_is_what_an_scf_has_left_of_one(tmp_path: Path) -> None:
    hydrogen = """&SYSTEM
  ibrav = 1, A = 6.0, nat = {count}, ntyp = 1, ecutwfc = 20.0, occupations = 'smearing', degauss = 0.01
/
&ELECTRONS
/
ATOMIC_SPECIES
H 1.0 H.pbe-kjpaw.UPF
ATOMIC_POSITIONS angstrom
{atoms}
K_POINTS gamma
"""
    gaps = []
    for atoms in (["H 0 0 0", "H 0 0 0.75"], ["H 0 0 0"]):  # without spins, an atom is filled by half
        folder = tmp_path / f"{len(atoms)}"
        folder.mkdir()
        text = patch.task_text(
            PwInput.parse(hydrogen.format(count=len(atoms), atoms="\n".join(atoms))),
            Task(index=0),
            prefix="pw",
            outdir="./",
            pseudo_dir="/usr/share/espresso/pseudo",
            electrons={"conv_thr": 1e-6},
        )
        run_scf(PW, text, folder, prefix="pw")
        gaps.append(gap_of(folder / "pw.save"))
    assert gaps[0] == pytest.approx(10, abs=2)  # PBE, between bonding and antibonding orbital or continuum
    assert gaps[1] == 0.0
    assert gap_of(tmp_path) is None


def test_what_goes_together_is_not_set_in_part() -> None:
    # A beta of 1 is for local screening alone.
    near = recipe(job(METAL)).electrons(Near.NEIGHBOUR)
    assert (near["mixing_mode"], near["mixing_beta"]) == ("local-TF", 1.0)
    near = recipe(job(METAL, "mixing_mode = 'plain'")).electrons(Near.NEIGHBOUR)
    assert "mixing_beta" not in near
    assert "mixing_mode" not in recipe(job(METAL, element="Cu")).electrons(Near.NEIGHBOUR)
