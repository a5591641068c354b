"""Point groups against spglib, irreducible representations against phonopy and tables of measured spectra."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import spglib
from ase import Atoms
from ase.build import molecule

from tests.springs import springs_result
from zpe_sdk.result.result import ZPEResult
from zpe_sdk.vibrations.hessian import symmetrised
from zpe_sdk.vibrations.irreps import assign_irreps, point_operations
from zpe_sdk.vibrations.kinds import external_motions, linear_axis
from zpe_sdk.vibrations.modes import normal_modes
from zpe_sdk.vibrations.plan import plan_displacements
from zpe_sdk.vibrations.point_groups import find_point_group

SCHOENFLIES = dict(
    pair.split("=")
    for line in """
        1=C1 -1=Ci 2=C2 m=Cs 2/m=C2h 222=D2 mm2=C2v mmm=D2h 4=C4 -4=S4 4/m=C4h 422=D4 4mm=C4v -42m=D2d
        4/mmm=D4h 3=C3 -3=S6 32=D3 3m=C3v -3m=D3d 6=C6 -6=C3h 6/m=C6h 622=D6 6mm=C6v -6m2=D3h 6/mmm=D6h
        23=T m-3=Th 432=O -43m=Td m-3m=Oh
    """.strip().splitlines()
    for pair in line.split()
)


def crystal_groups() -> dict[str, np.ndarray]:
    """Return the Cartesian matrices of a crystal of each of the 32 classes."""
    found: dict[str, np.ndarray] = {}
    for hall in range(1, 531):
        name = spglib.get_spacegroup_type(hall).pointgroup_international
        if name in found:
            continue
        rotations = np.unique(spglib.get_symmetry_from_database(hall)["rotations"], axis=0).astype(float)
        # The mean of all turned metrics is a lattice that they leave as it is.
        lattice = np.linalg.cholesky(np.mean([W.T @ W for W in rotations], axis=0)).T
        found[name] = lattice @ rotations @ np.linalg.inv(lattice)
    return found


GROUPS = crystal_groups()


@pytest.mark.parametrize("name", list(GROUPS))
def test_a_group_is_found_by_its_name_and_its_characters_are_orthogonal(name: str) -> None:
    rotations = GROUPS[name]
    group = find_point_group(rotations, np.zeros(len(rotations), dtype=int))
    assert group.name == SCHOENFLIES[name]
    products = group.characters @ group.characters.T / len(rotations)
    np.testing.assert_allclose(products, np.diag(products.diagonal()), atol=1e-9)
    # 2 for a pair of complex representations, else 1; and together they are all that there is.
    assert set(products.diagonal().round(9)) <= {1.0, 2.0}
    sizes = group.characters.max(axis=1)
    assert np.sum(sizes**2 / products.diagonal()) == pytest.approx(len(rotations))
    for R in rotations:
        turned = [int(np.argmin(np.abs(rotations - R @ S @ R.T).sum(axis=(1, 2)))) for S in rotations]
        np.testing.assert_allclose(group.characters[:, turned], group.characters, atol=1e-9)


@pytest.mark.parametrize("name", list(GROUPS))
def test_the_shares_of_a_group_are_projections(name: str) -> None:
    rotations = GROUPS[name]
    group = find_point_group(rotations, np.zeros(len(rotations), dtype=int))
    number = {tuple(np.rint(1e3 * R).ravel()): n for n, R in enumerate(rotations)}
    table = np.array([[number[tuple(np.rint(1e3 * R @ S).ravel())] for S in rotations] for R in rotations])
    regular = np.eye(len(rotations))[table].swapaxes(1, 2)
    sizes = group.characters.max(axis=1)
    total = np.zeros_like(regular[0])
    for size, characters in zip(sizes, group.characters, strict=True):
        projector = size / np.sum(characters**2) * np.einsum("g,gij->ij", characters, regular)
        np.testing.assert_allclose(projector @ projector, projector, atol=1e-9)
        total += projector
    np.testing.assert_allclose(total, np.eye(len(rotations)), atol=1e-9)


def in_cell(atoms: Atoms, *, hexagonal: bool = False, axis: str | None = None) -> Atoms:
    """Return a molecule in a large cell, the axis named turned into z."""
    if axis:
        atoms.rotate(axis, "z")
    cell = [12, 12, 12, 90, 90, 120 if hexagonal else 90]
    atoms.set_cell(cell)
    atoms.pbc = True
    return atoms


def along_111(name: str) -> Atoms:
    atoms = molecule(name)
    atoms.rotate("z", (1, 1, 1))
    # One of the mirrors through (-1, 1, 0).
    for angle in np.arange(0, 120, 0.5):
        turned = atoms.copy()
        turned.rotate(angle, (1, 1, 1))
        swapped = turned.positions[:, [1, 0, 2]]
        apart = np.linalg.norm(swapped[:, None] - turned.positions[None], axis=2).min(axis=1)
        if apart.max() < 1e-2:
            return turned
    raise AssertionError(name)


def irreps_of(atoms: Atoms) -> tuple[str, Counter[str | None]]:
    """Return point group and vibrations of any forces that have the symmetry of the atoms."""
    symbols = atoms.get_chemical_symbols()
    plan = plan_displacements(atoms.positions, atoms.cell[:], symbols, range(len(atoms)), delta=0.01)
    operations = point_operations(plan)
    masses = atoms.get_masses()
    noise = np.random.default_rng(1).normal(size=(3 * len(atoms), 3 * len(atoms)))
    hessian = np.zeros_like(noise)
    for o in operations:
        moved = np.kron(np.eye(len(atoms))[list(o.permutation)].T, o.matrix)
        hessian += moved @ (noise @ noise.T) @ moved.T
    external = external_motions(masses, atoms.positions)
    modes = normal_modes(symmetrised(hessian), masses, external)
    axis = linear_axis(atoms.positions, external)
    found = assign_irreps(operations, masses, modes.eigenvectors, axis=axis)
    assert found is not None
    kinds = zip(found.names, modes.kinds, strict=True)
    return found.point_group, Counter(name for name, kind in kinds if kind == "vibration")


def lying_in_a_brick(name: str) -> Atoms:
    atoms = molecule(name)
    atoms.rotate("z", "x")
    atoms.set_cell([10, 11, 12])
    atoms.pbc = True
    return atoms


# T. Shimanouchi, Tables of Molecular Vibrational Frequencies, NSRDS-NBS 39 (1972).
MOLECULES = [
    (in_cell(molecule("H2O")), "C2v", "2 A1 + B2"),
    (in_cell(molecule("H2CO")), "C2v", "3 A1 + B1 + 2 B2"),
    (in_cell(along_111("NH3")), "C3v", "2 A1 + 2 E"),
    (in_cell(molecule("NH3"), hexagonal=True), "C3v", "2 A1 + 2 E"),
    (in_cell(molecule("CO2")), "D∞h", "Σg+ + Σu+ + Πu"),
    (in_cell(molecule("C2H2")), "D∞h", "2 Σg+ + Σu+ + Πg + Πu"),
    (in_cell(molecule("HCN")), "C∞v", "2 Σ+ + Π"),
    (in_cell(molecule("N2O"), hexagonal=True), "C∞v", "2 Σ+ + Π"),
    (in_cell(molecule("CO")), "C∞v", "Σ+"),
    # Of the turns about its axis this cell leaves one.
    (lying_in_a_brick("C2H2"), "D∞h", "2 Σg+ + Σu+ + Πg + Πu"),
    (in_cell(molecule("CH4")), "Td", "A1 + E + 2 T2"),
    (in_cell(molecule("C2H4")), "D2h", "3 Ag + Au + 2 B1u + B2g + 2 B2u + 2 B3g + B3u"),
    (in_cell(molecule("C2H6"), hexagonal=True), "D3d", "3 A1g + A1u + 2 A2u + 3 Eg + 3 Eu"),
    (in_cell(molecule("BF3"), hexagonal=True, axis="z"), "D3h", "A1' + A2'' + 2 E'"),
    (
        in_cell(molecule("C6H6"), hexagonal=True),
        "D6h",
        "2 A1g + A2g + A2u + 2 B1u + 2 B2g + 2 B2u + E1g + 3 E1u + 4 E2g + 2 E2u",
    ),
    (in_cell(molecule("CH3OH")), "Cs", "8 A' + 4 A''"),
    (in_cell(molecule("H2O2")), "C2", "4 A + 2 B"),
]


@pytest.mark.parametrize(("atoms", "group", "irreps"), MOLECULES, ids=lambda case: str(case)[:18])
def test_vibrations_of_molecules_are_of_the_kinds_that_are_measured(
    atoms: Atoms, group: str, irreps: str
) -> None:
    found, counts = irreps_of(atoms)
    assert found == group
    expected = {}
    for part in irreps.split(" + "):
        *count, name = part.split()
        expected[name] = int(count[0] if count else 1) * {"E": 2, "Π": 2, "T": 3}.get(name[0], 1)
    assert counts == expected


def test_motions_of_a_linear_molecule_as_a_whole_are_of_their_kinds() -> None:
    atoms = in_cell(molecule("CO2"))
    plan = plan_displacements(atoms.positions, atoms.cell[:], ["C", "O", "O"], range(3), delta=0.01)
    masses = atoms.get_masses()
    external = external_motions(masses, atoms.positions)
    axis = linear_axis(atoms.positions, external)
    found = assign_irreps(point_operations(plan), masses, external.reshape(5, 3, 3), axis=axis)
    assert found is not None
    assert Counter(found.names) == {"Σu+": 1, "Πu": 2, "Πg": 2}
    # Half along the axis and half across: it is neither.
    mixed = (external[1] + external[2]).reshape(1, 3, 3) / np.sqrt(2)
    assert assign_irreps(point_operations(plan), masses, mixed, axis=axis).names == [None]


@pytest.mark.parametrize("turned", [False, True])  # of the operations the inversion alone is left
def test_isotopes_of_a_linear_molecule_take_its_centre_away(turned: bool) -> None:
    def vibrations(result: ZPEResult) -> list[str | None]:
        kinds = zip(result.irreps, result.document.mode_kinds, strict=True)
        return sorted(irrep for irrep, kind in kinds if kind == "vibration")

    carbon_dioxide = springs_result("CO2", turned=turned)
    assert carbon_dioxide.point_group == "D∞h"
    assert vibrations(carbon_dioxide) == ["Πu", "Πu", "Σg+", "Σu+"]
    assert "Point group D∞h: Πu + Σg+ + Σu+" in carbon_dioxide.summary()
    mixed = carbon_dioxide.with_masses({1: "18O"})
    assert (mixed.point_group, vibrations(mixed)) == ("C∞v", ["Π", "Π", "Σ+", "Σ+"])
    assert carbon_dioxide.with_masses({"O": "18O"}).point_group == "D∞h"


def test_an_isotope_lowers_the_symmetry() -> None:
    water = springs_result("H2O")
    assert water.point_group == "C2v"
    vibrations = water.irreps[6:]
    assert sorted(vibrations) == ["A1", "A1", "B2"]
    assert "antisymmetric" in water.assignments[6 + vibrations.index("B2")]
    mixed = water.with_masses({1: "D"})
    assert (mixed.point_group, mixed.irreps[6:]) == ("Cs", ["A'"] * 3)
    assert water.with_masses({"H": "D"}).point_group == "C2v"


@pytest.mark.parametrize("name", ["H2O", "CH4", "CH3OH"])
def test_phonopy_names_the_modes_alike(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    phonopy = pytest.importorskip("phonopy", reason="phonopy is one of the tools of development")
    import yaml

    result = springs_result(name)
    atoms, count = result.atoms, len(result.atoms)
    phonon = phonopy.Phonopy(
        phonopy.structure.atoms.PhonopyAtoms(
            symbols=atoms.get_chemical_symbols(),
            positions=atoms.positions,
            cell=atoms.cell.array,
            masses=atoms.get_masses(),
        ),
        supercell_matrix=np.eye(3),
    )
    phonon.force_constants = result.hessian.reshape(count, 3, count, 3).swapaxes(1, 2)
    phonon.run_irreps([0, 0, 0], degeneracy_tolerance=1e-3)
    monkeypatch.chdir(tmp_path)
    phonon.write_yaml_irreps()
    sets = yaml.safe_load((tmp_path / "irreps.yaml").read_text())["normal_modes"]
    # It does not tell motions of the whole apart, so these are compared too; it counts modes from 1.
    named = {index - 1: each["ir_label"] for each in sets for index in each["band_indices"]}
    assert [named[k] for k in range(3 * count)] == result.irreps


def test_summary_and_csv_have_the_representations() -> None:
    methane = springs_result("CH4")
    assert "Point group Td: A1 + E + 2 T2" in methane.summary()
    header, *rows = methane.to_csv().splitlines()
    column = header.split(",").index("irrep")
    assert Counter(row.split(",")[column] for row in rows[6:]) == {"A1": 1, "E": 2, "T2": 6}


def test_without_operations_nothing_is_named() -> None:
    old = springs_result("H2O").document.model_copy(update={"symmetry_operations": []})
    again = type(springs_result("H2O"))(old).at(300.0)
    assert again.point_group is None
    assert again.irreps is None
    assert "Point group" not in again.summary()
    assert "irrep" not in again.to_csv()
    atoms = molecule("H2O", vacuum=4)
    plan = plan_displacements(
        atoms.positions, atoms.cell[:], atoms.get_chemical_symbols(), range(3), delta=0.01, symmetry=False
    )
    assert point_operations(plan) == ()


def test_a_supercell_has_translations_and_no_point_group() -> None:
    from ase.build import bulk

    atoms = bulk("Si").repeat((2, 1, 1))
    plan = plan_displacements(
        atoms.positions, atoms.cell[:], atoms.get_chemical_symbols(), range(len(atoms)), delta=0.01
    )
    assert plan.order > 1
    assert point_operations(plan) == ()
    atoms = bulk("Si")
    plan = plan_displacements(atoms.positions, atoms.cell[:], ["Si", "Si"], range(2), delta=0.01)
    assert len(point_operations(plan)) == 48
