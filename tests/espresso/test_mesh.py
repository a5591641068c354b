"""Meshes of k-points, and the operations of crystals whose space groups are in the tables."""

from __future__ import annotations

import numpy as np
import pytest

from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.mesh import kpoint_count, lattice_rotations, operations, whole_mesh

HEXAGONAL = "1.0 0.0 0.0\n-0.5 0.8660254037844386 0.0\n0.0 0.0 3.0"
SQUARE = "1.0 0.0 0.0\n0.0 1.0 0.0\n0.0 0.0 3.0"
FCC = "0.0 0.5 0.5\n0.5 0.0 0.5\n0.5 0.5 0.0"


def crystal(
    cell: str,
    atoms: list[str],
    *,
    mesh: str = "3 3 1 0 0 0",
    system: str = "",
    kinds: tuple[str, ...] = ("Si",),
) -> PwInput:
    species = "\n".join(f"{kind} 28.0 Si.pz-vbc.UPF" for kind in kinds)
    positions = "\n".join(atoms)
    return PwInput.parse(
        f"&SYSTEM\n  ibrav = 0, celldm(1) = 10.0, nat = {len(atoms)}, ntyp = {len(kinds)}, "
        f"ecutwfc = 12.0 {system}\n/\n"
        f"&ELECTRONS\n/\nATOMIC_SPECIES\n{species}\nCELL_PARAMETERS alat\n{cell}\n"
        f"ATOMIC_POSITIONS crystal\n{positions}\nK_POINTS automatic\n{mesh}\n"
    )


def test_of_each_k_and_minus_k_there_is_one() -> None:
    points = whole_mesh(crystal(HEXAGONAL, ["Si 0.1 0.2 0.3"]))
    assert points is not None
    assert sorted(weight for _, weight in points) == pytest.approx([1 / 9] + [2 / 9] * 4)
    both = np.array([sign * np.array(point) for point, _ in points for sign in (1, -1)]) * 3
    assert {tuple(row) for row in both.round().astype(int) % 3} == {
        (i, j, 0) for i in range(3) for j in range(3)
    }


@pytest.mark.parametrize(
    ("cell", "mesh", "system"),
    [
        (SQUARE, "4 2 1 0 0 0", ""),  # a quarter turn takes it to another mesh
        (HEXAGONAL, "4 4 1 1 1 0", ""),  # as does a third of one
        (SQUARE, "1 1 1 0 0 0", ""),
        (SQUARE, "3 3 1 0 0 0", ", nosym = .true."),
        (SQUARE, "3 3 1 0 0 0", ", noinv = .true."),
        (SQUARE, "3 3 1 0 0 0", ", noncolin = .true."),
        (SQUARE, "60 60 1 0 0 0", ""),
    ],
)
def test_the_k_points_of_the_input_stay_where_others_could_differ(cell: str, mesh: str, system: str) -> None:
    assert whole_mesh(crystal(cell, ["Si 0 0 0"], mesh=mesh, system=system)) is None


def test_a_shifted_mesh_that_is_as_symmetric_as_its_lattice_will_do() -> None:
    points = whole_mesh(crystal(SQUARE, ["Si 0 0 0"], mesh="2 2 1 1 1 0"))
    assert points is not None
    assert sorted(weight for _, weight in points) == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    ("cell", "atoms", "kinds", "count"),
    [
        (FCC, ["Si 0 0 0"], ("Si",), 48),  # Fm-3m
        (FCC, ["Si 0 0 0", "Si 0.25 0.25 0.25"], ("Si",), 48),  # Fd-3m: half of them with a translation
        (FCC, ["Si1 0 0 0", "Si2 0.25 0.25 0.25"], ("Si1", "Si2"), 24),  # F-43m
        (HEXAGONAL, ["Si 0.333333333 0.666666667 0.2", "Si 0 0 0.3", "Si 0 0 0.7"], ("Si",), 6),  # P3m1
        (SQUARE, ["Si 0.1 0.2 0.3", "Si 0.5 0.55 0.62"], ("Si",), 2),  # P-1: two atoms change places
        (SQUARE, ["Si 0.1 0.2 0.3", "Si 0.5 0.55 0.62", "Si 0.3 0 0"], ("Si",), 1),
    ],
)
def test_the_operations_are_those_of_the_space_group(
    cell: str, atoms: list[str], kinds: tuple[str, ...], count: int
) -> None:
    found = operations(crystal(cell, atoms, kinds=kinds))
    assert len(found) == count
    assert found[0].rotation.tolist() == np.eye(3).tolist()


def test_a_lattice_has_the_rotations_of_its_system() -> None:
    cubic, hexagonal = np.eye(3), np.array([[1.0, 0, 0], [-0.5, np.sqrt(0.75), 0], [0, 0, 3]])
    triclinic = np.array([[1.0, 0.1, 0.2], [0.3, 1.7, 0.1], [0.2, 0.4, 2.9]])
    assert [len(lattice_rotations(cell)) for cell in (cubic, hexagonal, triclinic)] == [48, 24, 2]


@pytest.mark.parametrize(
    ("cell", "mesh", "system", "symmetric", "whole"),
    [
        (HEXAGONAL, "4 4 1 0 0 0", "", 4, 10),
        (HEXAGONAL, "3 3 1 0 0 0", "", 3, 5),
        (HEXAGONAL, "3 3 1 0 0 0", ", nspin = 2", 6, 10),
        (SQUARE, "2 2 1 1 1 0", "", 1, 2),
        (SQUARE, "3 2 1 0 0 0", "", 1, 1),  # not known: pw.x adds what symmetry wants
    ],
)
def test_k_points_are_counted_as_pw_x_does(
    cell: str, mesh: str, system: str, symmetric: int, whole: int
) -> None:
    pw_input = crystal(cell, ["Si 0 0 0"], mesh=mesh, system=system)
    assert kpoint_count(pw_input, symmetric=True) == symmetric
    assert kpoint_count(pw_input, symmetric=False) == whole
