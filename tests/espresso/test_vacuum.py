"""The same structure is the same job, whatever its cell is called."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, graphene, molecule
from ase.cluster import Octahedron

from zpe_sdk.client.submission import input_text
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.pseudopotentials import placeholders
from zpe_sdk.espresso.vacuum import repeating


def slab(vacuum: float = 6.0) -> Atoms:
    atoms = fcc111("Al", (1, 1, 3), vacuum=vacuum)
    atoms.pbc = (True, True, False)
    return atoms


@pytest.mark.parametrize(
    "atoms",
    [
        molecule("H2O", vacuum=4.0),
        molecule("CH4", vacuum=3.0),
        slab(),
        graphene(vacuum=5.0),
        Octahedron("Pt", 3, 1),
    ],
    ids=["water", "methane", "slab", "graphene", "cluster"],
)
def test_a_periodic_cell_makes_no_other_job_of_what_stands_in_vacuum(atoms: Atoms) -> None:
    if not atoms.cell.rank:
        atoms.center(vacuum=4.0)
    called = atoms.copy()
    called.pbc = True
    here, chosen = input_text(atoms, placeholders, ecutwfc=30)
    there, also = input_text(called, placeholders, ecutwfc=30)
    assert here == there
    assert chosen == also


def test_a_molecule_that_is_taken_from_its_input_is_one_still() -> None:
    text, _ = input_text(molecule("H2O", vacuum=4.0), placeholders)
    read = PwInput.parse(text)
    again, _ = input_text(Atoms(read.symbols, read.positions, cell=read.cell, pbc=True), placeholders)
    assert PwInput.parse(again).kpoints.mode == "gamma"
    assert again == text


def test_a_slab_has_one_k_point_across_its_vacuum() -> None:
    atoms = slab(8.0)
    atoms.pbc = True
    mesh = PwInput.parse(input_text(atoms, placeholders)[0]).kpoints.mesh
    assert mesh is not None
    assert mesh[0] == mesh[1] > 4
    assert mesh[2] == 1


@pytest.mark.parametrize(
    "atoms",
    [bulk("Cs"), bulk("Al"), bulk("NaCl", "rocksalt", a=5.64), bulk("Xe", "fcc", a=6.2)],
    ids=["Cs", "Al", "NaCl", "Xe"],
)
def test_crystals_repeat_in_all_directions_however_far_their_planes_are(atoms: Atoms) -> None:
    np.testing.assert_array_equal(repeating(atoms), [True, True, True])


def test_layers_of_a_crystal_repeat_and_those_that_are_pulled_apart_do_not() -> None:
    layers = graphene(vacuum=3.35 / 2)
    layers.pbc = True
    np.testing.assert_array_equal(repeating(layers), [True, True, True])
    layers.center(vacuum=2.5, axis=2)
    np.testing.assert_array_equal(repeating(layers), [True, True, False])


def test_a_chain_without_a_cell_across_repeats_along_itself() -> None:
    chain = Atoms("C2", [(0, 0, 0), (0, 0, 1.3)], cell=[0, 0, 2.6], pbc=(False, False, True))
    np.testing.assert_array_equal(repeating(chain), [False, False, True])
