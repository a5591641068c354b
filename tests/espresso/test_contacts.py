"""Two atoms in one place are no structure."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.collections import g2

from zpe_sdk.errors import InputError
from zpe_sdk.espresso.contacts import check_contacts


def check(atoms: Atoms) -> None:
    symbols = atoms.get_chemical_symbols()
    check_contacts(symbols, symbols, atoms.positions, np.array(atoms.cell))


def test_real_molecules_pass() -> None:
    for name in g2.names:
        molecule = g2[name]
        molecule.center(vacuum=3.0)
        check(molecule)


@pytest.mark.parametrize("element", ["Cs", "U", "C", "Si", "Cu", "W"])
def test_crystals_pass_and_also_at_a_quarter_of_their_volume(element: str) -> None:
    crystal = bulk(element)
    check(crystal)
    crystal.set_cell(crystal.cell * 0.25 ** (1 / 3), scale_atoms=True)
    check(crystal)


SKEW = np.array([[3.0, 0, 0], [30.5, 3.0, 0], [0, -16.0, 3.0]])  # its shortest vectors are not its rows


@pytest.mark.parametrize(
    ("atoms", "pair", "distance"),
    [
        (Atoms("OH2", [(0, 0, 0), (0, 0, 0), (0, 0, 1)], cell=[8] * 3), "0 (O) and 1 (H)", "are 0 Å"),
        (Atoms("HOH", [(1, 1, 1), (0, 0, 0), (1, 1, 1.02)], cell=[8] * 3), "0 (H) and 2 (H)", "0.02 Å"),
        (Atoms("H2", [(0, 0, 0.01), (0, 0, 7.9)], cell=[8] * 3), "0 (H) and 1 (H)", "0.11 Å"),
        (Atoms("H2", [(0, 0, 0), (80, -80, 8)], cell=[8] * 3), "0 (H) and 1 (H)", "0 Å"),
        (Atoms("H2", [(0.1, 0, 0), (30.6, 3.0, 0.1)], cell=SKEW), "0 (H) and 1 (H)", "0.1 Å"),
        (Atoms("HCs", [(2, 2, 2), (0, 0, 0)], cell=[1.5, 9, 9]), "atom 1 (Cs) and its own image", "1.5 Å"),
    ],
)
def test_atoms_in_one_place_are_named_with_their_distance(atoms: Atoms, pair: str, distance: str) -> None:
    with pytest.raises(InputError) as refused:
        check(atoms)
    assert (refused.value.code, refused.value.field) == ("atoms_too_close", "ATOMIC_POSITIONS")
    assert pair in str(refused.value)
    assert distance in str(refused.value)


def test_many_atoms_in_one_place_are_refused_too() -> None:
    with pytest.raises(InputError, match=r"and \d+ \(H\) are 0 Å"):
        check(Atoms("H2000", np.zeros((2000, 3)), cell=[30] * 3))
    with pytest.raises(InputError, match="do not fit"):
        check(Atoms("H2000", np.random.default_rng(1).random((2000, 3)), cell=[1] * 3))
