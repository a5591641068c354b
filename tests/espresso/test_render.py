"""From ASE Atoms to a pw.x input, and back by our own reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, molecule
from ase.constraints import FixAtoms, FixBondLength

from tests.programs import PW
from zpe_sdk.errors import InputError
from zpe_sdk.espresso import patch
from zpe_sdk.espresso.input import KPoints, PwInput
from zpe_sdk.espresso.render import by_namelist, render_input
from zpe_sdk.espresso.run import run_scf
from zpe_sdk.wire import Task

PSEUDO = {"H": "H.pbe-kjpaw.UPF", "O": "O.pbe-kjpaw.UPF", "Cu": "Cu.pbe-kjpaw.UPF", "Fe": "Fe.UPF"}


def rendered(atoms: Atoms, **options: Any) -> PwInput:
    return PwInput.parse(
        render_input(atoms, **{"pseudopotentials": PSEUDO, "ecutwfc": 30, "ecutrho": 240, **options})
    )


def test_a_molecule_without_a_cell_gets_a_box_and_the_gamma_point() -> None:
    water = molecule("H2O")
    found = rendered(water)
    assert found.symbols == ("O", "H", "H")
    assert found.kpoints == KPoints("gamma")
    assert found.formula == "H2O"
    assert found.pseudopotentials == ("H.pbe-kjpaw.UPF", "O.pbe-kjpaw.UPF")
    extent = np.ptp(water.positions, axis=0)
    np.testing.assert_allclose(np.diag(found.cell) - extent, 8.0, atol=1e-6)
    np.testing.assert_allclose(
        found.positions - found.positions[0], water.positions - water.positions[0], atol=1e-9
    )
    assert found.namelists["system"]["ecutrho"] == 240


def test_fixed_layers_of_a_slab_become_flags() -> None:
    slab = fcc111("Cu", (1, 1, 3), vacuum=6)
    slab.set_constraint(FixAtoms([0, 1]))
    add_adsorbate(slab, "H", 1.0, "fcc")
    found = rendered(slab, kpts=(4, 4, 1), input_data={"occupations": "smearing", "degauss": 0.02})
    assert found.fixed_indices == (0, 1)
    assert found.mobile() == (2, 3)
    assert found.kpoints == KPoints("automatic", (4, 4, 1), (0, 0, 0))
    assert found.namelists["system"]["occupations"] == "smearing"
    np.testing.assert_allclose(found.positions, slab.positions, atol=1e-9)
    np.testing.assert_allclose(found.cell, slab.cell, atol=1e-9)


@pytest.mark.parametrize(
    ("kpts", "mode"),
    [("gamma", "gamma"), ({"density": 3.0}, "automatic"), (np.array([[0, 0, 0, 1.0]]), "crystal")],
)
def test_k_points_may_be_given_in_several_ways(kpts: Any, mode: str) -> None:
    assert rendered(bulk("Cu", cubic=True), kpts=kpts).kpoints.mode == mode


def test_isotopes_become_species_of_their_own() -> None:
    water = molecule("H2O")
    water.set_masses([15.999, 2.014, 1.008])
    found = rendered(water)
    by_label = {species.label: species for species in found.species}
    assert [by_label[label].mass for label in found.labels] == [15.999, 2.014, 1.008]
    assert {by_label[label].pseudopotential for label in found.labels[1:]} == {"H.pbe-kjpaw.UPF"}
    assert found.symbols == ("O", "H", "H")


def test_moments_become_species_and_isotopes_keep_them() -> None:
    iron = bulk("Fe", cubic=True) * (2, 1, 1)
    iron.set_initial_magnetic_moments([2.2, -2.2, 2.2, -2.2])
    iron.set_masses([55.845, 55.845, 53.94, 55.845])
    found = rendered(iron, kpts="gamma")
    system = found.namelists["system"]
    start = dict(zip([s.label for s in found.species], system["starting_magnetization"], strict=True))
    assert system["nspin"] == 2
    assert [np.sign(start[label]) for label in found.labels] == [1, -1, 1, -1]
    assert len(set(found.labels)) == 3
    assert max(map(abs, start.values())) <= 1


def bonded() -> Atoms:
    atoms = molecule("H2")
    atoms.set_constraint(FixBondLength(0, 1))
    return atoms


@pytest.mark.parametrize(
    ("atoms", "options", "field"),
    [
        (molecule("H2O"), {"pseudopotentials": {"H": "H.UPF"}}, "pseudopotentials"),
        (molecule("H2O"), {"pseudopotentials": None}, "pseudopotentials"),
        (molecule("H2O"), {"ecutwfc": None}, "ecutwfc"),
        (molecule("H2O"), {"input_data": {"ibrav": 1}}, "input_data"),
        (molecule("H2O"), {"input_data": {"lelfield": True}}, "lelfield"),
        # ASE would drop each of these and say nothing.
        (molecule("H2O"), {"input_data": {"tot_charg": 1}}, "input_data"),
        (molecule("H2O"), {"input_data": {"Hubbard_U(1)": 4.0}}, "input_data"),
        (molecule("H2O"), {"input_data": {"lda_plus_u": True}}, "input_data"),
        (molecule("H2O"), {"input_data": {"nat": 2}}, "input_data"),
        (molecule("H2O"), {"input_data": {"nspin": 2, "starting_magnetization(1)": 0.5}}, "input_data"),
        (molecule("H2O"), {"input_data": {"system": {"nbnd": 8}, "SYSTEM": {"nbnd": 9}}}, "input_data"),
        (molecule("H2O"), {"input_data": {"system": {"nbnd": 8, "NBND": 9}}}, "input_data"),
        (molecule("H2O"), {"input_data": {"system": {"nbnd": 8}, "nbnd": 9}}, "input_data"),
        (molecule("H2O"), {"input_data": {"ecutwfc": 40}}, "ecutwfc"),
        (molecule("H2O"), {"input_data": "ecutwfc=50"}, "input_data"),
        (molecule("H2O"), {"pseudopotentials": "H.UPF"}, "pseudopotentials"),
        (molecule("H2O"), {"kpts": "Gamma point"}, "kpts"),
        (molecule("H2O"), {"kpts": (4.5, 4, 1)}, "kpts"),
        (molecule("H2O"), {"kpts": {"size": (4.5, 4, 1)}}, "kpts"),
        (molecule("H2O"), {"kpts": (4, 4)}, "kpts"),
        (molecule("H2O"), {"kpts": 4}, "kpts"),
        (molecule("H2O"), {"kpts": {"spacing": 0.3}}, "kpts"),
        (molecule("H2O"), {"kpts": [[0, 0, 0]]}, "kpts"),
        (molecule("H2O"), {"kpts": (2, 2, 2), "koffset": (0, 0.5, 0)}, "koffset"),
        (Atoms("H", [(0, 0, float("nan"))]), {}, "positions"),
        (Atoms(), {}, "structure"),
        (Atoms("H", magmoms=[(0, 0, 1)]), {}, "initial_magmoms"),
        (Atoms("H", charges=[1]), {}, "initial_charges"),
        (Atoms("H", charges=[1]), {"input_data": {"tot_charge": -1}}, "initial_charges"),
        (bulk("Cu"), {}, "kpts"),
        (Atoms("H", pbc=True), {"kpts": "gamma"}, "cell"),
        (bonded(), {}, "constraints"),
    ],
)
def test_what_is_missing_or_cannot_be_written_is_named(
    atoms: Atoms, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(InputError) as caught:
        rendered(atoms, **options)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "input_data",
    [
        {"tot_charge": 1, "conv_thr": 1e-9, "celldm(1)": 2.0},
        {"SYSTEM": {"Tot_Charge": np.int64(1), "celldm(1)": 2.0}, "Electrons": {"conv_thr": 1e-9}},
        {"system": {"tot_charge": 1, "celldm(1)": 2.0}, "conv_thr": 1e-9},
    ],
)
def test_keys_come_flat_or_by_namelist_in_any_case(input_data: dict[str, Any]) -> None:
    found = by_namelist(input_data)
    assert found == {"system": {"tot_charge": 1, "celldm(1)": 2.0}, "electrons": {"conv_thr": 1e-9}}


@pytest.mark.parametrize(
    ("size", "fits"),
    [((1.5, 1.5, 1.5), False), ((4.1, 4.1, 4.9), True), ((4.1, 3.9, 4.9), False), ((4.1, 4.1, 4.5), False)],
)
def test_a_molecule_is_alone_in_its_cell_or_refused(size: tuple[float, ...], fits: bool) -> None:
    # Across the border of the cell, as some programs leave it.
    hydrogen = Atoms("H2", [(0, 0, -0.3), (0, 0, 0.45)], cell=size)
    if fits:
        assert rendered(hydrogen).kpoints.mode == "gamma"
    else:
        with pytest.raises(InputError) as caught:
            rendered(hydrogen)
        assert caught.value.field == "cell"
    assert rendered(Atoms(hydrogen, pbc=True), kpts="gamma").kpoints.mode == "gamma"


def test_a_namelist_takes_keys_that_ase_does_not_know() -> None:
    found = rendered(molecule("H2O"), input_data={"SYSTEM": {"lda_plus_u": True, "Hubbard_U(1)": 4.0}})
    assert found.namelists["system"]["lda_plus_u"] is True
    assert found.namelists["system"]["hubbard_u"] == [4.0]
    assert found.namelists["system"]["ecutwfc"] == 30


def test_numbers_of_numpy_are_written_as_numbers() -> None:
    found = rendered(
        molecule("H2O"), ecutwfc=np.float64(30), kpts=np.array([2.0, 2.0, 1.0]), koffset=(1, 1, 0)
    )
    assert found.namelists["system"]["ecutwfc"] == 30
    assert found.kpoints == KPoints("automatic", (2, 2, 1), (1, 1, 0))


@pytest.mark.qe
def test_pw_runs_a_rendered_molecule_with_an_isotope(tmp_path: Path) -> None:
    hd = molecule("H2")
    hd.set_masses([1.008, 2.014])
    text = patch.task_text(
        rendered(hd, ecutwfc=15, ecutrho=60, pseudopotentials={"H": "H.pz-vbc.UPF"}),
        Task(index=0),
        prefix="pw",
        outdir="./",
        pseudo_dir="/usr/share/espresso/pseudo",
        electrons={},
    )
    result = run_scf(PW, text, tmp_path, prefix="pw")
    forces = np.asarray(result.forces_ev_ang)
    np.testing.assert_allclose(forces[0], -forces[1], atol=1e-3)
    assert abs(forces[0, 2]) > 0.01
