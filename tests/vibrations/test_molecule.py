"""Which atoms are a molecule, of structures of which it is known."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, graphene, molecule, nanotube
from ase.lattice.hexagonal import Graphite

from zpe_sdk.vibrations.molecule import Molecule, find_molecule


def found(atoms: Atoms) -> Molecule | None:
    return find_molecule(atoms.get_chemical_symbols(), atoms.positions, atoms.cell.array)


def boxed(name: str, size: float) -> Atoms:
    atoms = molecule(name)
    atoms.set_cell([size, size, size])
    atoms.center()
    return atoms


def dry_ice() -> Atoms:
    """Solid CO2, Pa-3, a = 5.62 Å (W. H. Keesom and J. W. L. Köhler, Physica 1, 655 (1934))."""
    a, u = 5.624, 0.118
    corners = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    turned = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    rows = np.concatenate([np.stack([c, c + u * t, c - u * t]) for c, t in zip(corners, turned, strict=True)])
    return Atoms("CO2" * 4, rows * a, cell=[a, a, a])


def polyethylene() -> Atoms:
    return Atoms(
        "C2H4",
        [
            (0, 0, 0),
            (0.45, 0, 1.27),
            (-0.6, 0.89, 0),
            (-0.6, -0.89, 0),
            (1.05, 0.89, 1.27),
            (1.05, -0.89, 1.27),
        ],
        cell=[12, 12, 2.54],
    )


def slab() -> Atoms:
    atoms = fcc111("Al", (2, 2, 3), vacuum=8.0)
    add_adsorbate(atoms, "H", 1.1, "fcc")
    return atoms


REPEATING = {
    **{metal: bulk(metal, cubic=True) for metal in ("Al", "Pb", "K", "Cs", "Fe", "Au")},
    "silicon": bulk("Si", cubic=True),
    "salt": bulk("NaCl", "rocksalt", a=5.64, cubic=True),
    "graphene": graphene(vacuum=8.0),
    "graphite": Graphite("C", latticeconstant=(2.46, 6.71)),
    "a nanotube": nanotube(5, 0, length=1, vacuum=8.0),
    "polyethylene": polyethylene(),
    "hydrogen on aluminium": slab(),
    "dry ice": dry_ice(),
    "solid argon": bulk("Ar", "fcc", a=5.31, cubic=True),
}


@pytest.mark.parametrize("name", REPEATING)
def test_what_bonds_to_its_images_or_is_as_near_to_them_is_no_molecule(name: str) -> None:
    assert found(REPEATING[name]) is None


@pytest.mark.parametrize(
    ("name", "size", "apart"),
    [
        ("H2", 5.0, 5 - 0.737),
        ("CO2", 6.2, 6.2 - 2.357),
        ("H2O", 8.0, 8 - 1.527),
        ("CH3CH2OH", 9.0, 4.9),
        ("Na2", 9.0, 9 - 3.09),
        ("C6H6", 10.0, 10 - 4.96),
        ("CH4", 5.0, (3.74**2 + 1.26**2) ** 0.5),
    ],
)
def test_a_molecule_is_one_wherever_it_lies_in_its_box(name: str, size: float, apart: float) -> None:
    atoms = boxed(name, size)
    inside = found(atoms)
    assert inside is not None
    assert inside.image_distance == pytest.approx(apart, abs=0.1)
    np.testing.assert_array_equal(inside.positions, atoms.positions)
    # Cut by the faces of the box, each atom by itself.
    moved = atoms.copy()
    moved.positions += [0.1 * size, size / 2, 0.52 * size]
    moved.wrap(pbc=True)
    whole = found(moved)
    assert whole is not None
    assert whole.image_distance == pytest.approx(inside.image_distance)
    np.testing.assert_allclose(
        whole.positions - whole.positions[0], atoms.positions - atoms.positions[0], atol=1e-9
    )


def test_a_slanted_cell_is_no_obstacle() -> None:
    atoms = boxed("H2O", 7.0)
    same = atoms.copy()
    same.set_cell([[7, 0, 0], [21, 7, 0], [-14, 28, 7]])  # the same lattice
    straight, slanted = found(atoms), found(same)
    assert straight is not None
    assert slanted is not None
    assert slanted.image_distance == pytest.approx(straight.image_distance)
    row = Atoms("H2", [(0, 0, 0), (0, 0, 0.75)], cell=[[9, 0, 0], [27, 9, 0], [0, 18, 1.5]])
    assert found(row) is None


@pytest.mark.parametrize(
    ("atoms", "apart"),
    [
        # Two molecules of hydrogen side by side; a water dimer's hydrogen bond; a bond that breaks.
        (Atoms("H4", [(0, 0, 0), (0, 0, 0.74), (3, 0, 0), (3, 0, 0.74)], cell=[10, 10, 10]), 7.0),
        (Atoms("OHFH", [(0, 0, 0), (0, 0, 0.97), (0, 0, 2.7), (0, 0, 3.62)], cell=[10, 10, 10]), 6.38),
        (Atoms("N2", [(0, 0, 0), (0, 0, 3.0)], cell=[9, 9, 9]), 6.0),
        (Atoms("H3", [(0, 0, 0), (0, 0, 0.93), (0, 0, 1.86)], cell=[8, 8, 8]), 6.14),
    ],
)
def test_pieces_that_are_near_one_another_are_one_cluster(atoms: Atoms, apart: float) -> None:
    atoms.positions += [9.9, 5, 9.4]
    expected = atoms.positions - atoms.positions[0]
    atoms.wrap(pbc=True)
    cluster = found(atoms)
    assert cluster is not None
    assert cluster.image_distance == pytest.approx(apart, abs=0.01)
    np.testing.assert_allclose(cluster.positions - cluster.positions[0], expected, atol=1e-9)


def test_pieces_as_far_from_one_another_as_from_images_are_none() -> None:
    assert found(Atoms("N2", [(0, 0, 0), (0, 0, 4.0)], cell=[8, 8, 8])) is None
    assert found(Atoms("Ne", [(0, 0, 0)], cell=[8, 8, 8])) is not None
