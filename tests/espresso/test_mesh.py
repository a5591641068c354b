"""Meshes of k-points, and the operations of crystals whose space groups are in the tables."""

from __future__ import annotations

import numpy as np
import pytest

from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.mesh import kpoint_count, lattice_rotations, operations

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


@pytest.mark.parametrize(
    ("cell", "mesh", "system"),
    [
        (SQUARE, "4 2 1 0 0 0", ""),  # a quarter turn takes it to another mesh
        (HEXAGONAL, "4 4 1 1 1 0", ""),  # as does a third of one
        (SQUARE, "3 3 1 0 0 0", ", nosym = .true."),
        (SQUARE, "3 3 1 0 0 0", ", noinv = .true."),
        (SQUARE, "3 3 1 0 0 0", ", noncolin = .true."),
        (SQUARE, "80 80 1 0 0 0", ""),
    ],
)
def test_k_points_are_not_counted_where_pw_x_may_take_others(cell: str, mesh: str, system: str) -> None:
    assert kpoint_count(crystal(cell, ["Si 0 0 0"], mesh=mesh, system=system)) == 1


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
    ("cell", "atoms", "mesh", "system", "count"),
    [
        (HEXAGONAL, ["Si 0 0 0"], "4 4 1 0 0 0", "", 4),
        (HEXAGONAL, ["Si 0 0 0"], "3 3 1 0 0 0", "", 3),
        (HEXAGONAL, ["Si 0 0 0"], "3 3 1 0 0 0", ", nspin = 2", 6),
        (HEXAGONAL, ["Si 0.1 0.2 0.3", "Si 0.5 0.55 0.62", "Si 0.3 0 0"], "4 4 1 0 0 0", "", 10),
        (SQUARE, ["Si 0 0 0"], "2 2 1 1 1 0", "", 1),
    ],
)
def test_k_points_are_counted_as_pw_x_does(
    cell: str, atoms: list[str], mesh: str, system: str, count: int
) -> None:
    assert kpoint_count(crystal(cell, atoms, mesh=mesh, system=system)) == count
