"""Plans and Hessians: fewer SCFs by symmetry give what all 6N + 1 displacements give."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111, molecule
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from zpe_sdk.errors import InputError
from zpe_sdk.vibrations.hessian import assemble_hessian, raw_hessian
from zpe_sdk.vibrations.modes import normal_modes
from zpe_sdk.vibrations.plan import Plan, plan_displacements
from zpe_sdk.vibrations.symmetry import Operation, SymmetryBreakers

DELTA = 0.01
Forces = Callable[[np.ndarray], np.ndarray]


class Morse:
    """Anharmonic pair forces, written for these tests: atoms bound by Morse potentials to all in reach.

    Depth 4.7 eV and a = 1.9 / Å at 0.74 Å (hydrogen), softer with the distance and with the label's weight.
    The wells' minima lie ``off`` of each distance away, so that for 0 the structure is at rest. ``on_site``
    are further springs to each atom's place, shape (nat, 3, 3), in eV/Å².
    """

    def __init__(
        self,
        atoms: Atoms,
        labels: list[str] | None = None,
        *,
        off: float = 0.0,
        on_site: np.ndarray | None = None,
    ) -> None:
        labels = labels or atoms.get_chemical_symbols()
        weight = np.array([1 + 0.37 * (sum(map(ord, label)) - 72) % 0.7 for label in labels])
        reach = 4.337
        heights = 1 / np.linalg.norm(np.linalg.inv(atoms.cell[:]), axis=0)
        extent = np.ptp(atoms.get_scaled_positions(wrap=False), axis=0)
        images = [np.arange(-n, n + 1) for n in np.ceil(reach / heights + extent).astype(int)]
        shifts = np.stack(np.meshgrid(*images, indexing="ij"), axis=-1).reshape(-1, 3) @ atoms.cell[:]
        vectors = atoms.positions[None, :, None] + shifts[None, None] - atoms.positions[:, None, None]
        lengths = np.linalg.norm(vectors, axis=-1)
        self.i, self.j, n = np.nonzero((lengths < reach) & (lengths > 1e-6))
        self.rest = vectors[self.i, self.j, n]
        r = np.linalg.norm(self.rest, axis=1)
        self.depth = 4.7 * np.exp(-(r - 0.74)) * weight[self.i] * weight[self.j]
        self.minimum = r * (1 + off)
        self.on_site = np.zeros((len(atoms), 3, 3)) if on_site is None else on_site

    def forces(self, displacements: np.ndarray) -> np.ndarray:
        vectors = self.rest + displacements[self.j] - displacements[self.i]
        r = np.linalg.norm(vectors, axis=1)
        decay = np.exp(-1.9 * (r - self.minimum))
        pull = 2 * 1.9 * self.depth * decay * (1 - decay)
        forces = -np.einsum("iab,ib->ia", self.on_site, displacements)
        np.add.at(forces, self.i, (pull / r)[:, None] * vectors)
        return forces

    def hessian(self) -> np.ndarray:
        """Second derivatives in closed form, (3 nat, 3 nat)."""
        r = np.linalg.norm(self.rest, axis=1)
        decay = np.exp(-1.9 * (r - self.minimum))
        first = 2 * 1.9 * self.depth * decay * (1 - decay)
        second = 2 * 1.9**2 * self.depth * decay * (2 * decay - 1)
        along = np.einsum("na,nb->nab", self.rest, self.rest) / (r**2)[:, None, None]
        pairs = second[:, None, None] * along + (first / r)[:, None, None] * (np.eye(3) - along)
        nat = len(self.on_site)
        blocks = np.zeros((nat, nat, 3, 3))
        np.add.at(blocks, (self.i, self.i), pairs)
        np.add.at(blocks, (self.i, self.j), -pairs)
        blocks[range(nat), range(nat)] += self.on_site
        return blocks.transpose(0, 2, 1, 3).reshape(3 * nat, 3 * nat)

    def linear(self) -> Forces:
        """The forces without their anharmonic part."""
        hessian, at_rest = self.hessian(), self.forces(np.zeros((len(self.on_site), 3)))
        return lambda u: at_rest - (hessian @ u.ravel()).reshape(-1, 3)


def run(plan: Plan, forces: Forces, nat: int) -> dict[int, np.ndarray]:
    found = {}
    for d in plan.displacements:
        u = np.zeros((nat, 3))
        if d.atom is not None:
            u[d.atom] = d.displacement
        found[d.index] = forces(u)
    return found


def all_displacements(forces: Forces, mobile: list[int], nat: int) -> np.ndarray:
    """Hessian from ±x, ±y, ±z of every mobile atom, written without the code under test."""
    rows = []
    for atom in mobile:
        for axis in range(3):
            u = np.zeros((nat, 3))
            u[atom, axis] = DELTA
            rows.append(((forces(-u) - forces(u)) / (2 * DELTA))[mobile].ravel())
    hessian = np.array(rows)
    return (hessian + hessian.T) / 2


def boxed(name: str, size: float = 8.0) -> Atoms:
    atoms = molecule(name)
    atoms.set_cell([size, size, size])
    atoms.pbc = True
    atoms.center()
    return atoms


def ammonia() -> Atoms:
    """NH3 with its threefold axis along that of a hexagonal box."""
    angles = np.radians([90, 210, 330])
    hydrogens = np.stack([0.94 * np.cos(angles), 0.94 * np.sin(angles), np.full(3, -0.27)], axis=1)
    cell = [[8, 0, 0], [-4, 4 * 3**0.5, 0], [0, 0, 8]]
    return Atoms("NH3", [[0, 0, 0.12], *hydrogens], cell=cell, pbc=True)


def rotated(atoms: Atoms, rotation: Rotation) -> Atoms:
    """The molecule turned within its box."""
    turned = atoms.copy()
    turned.positions = rotation.apply(atoms.positions)
    turned.center()
    return turned


def slab() -> Atoms:
    atoms = fcc111("Al", (2, 2, 3), vacuum=6.0)
    add_adsorbate(atoms, "H", 1.1, "fcc")
    atoms.pbc = True
    return atoms


def lopsided() -> Atoms:
    return Atoms(
        "HOClF", [[1, 1, 1], [1.9, 1.2, 1.1], [3.1, 2.4, 0.9], [2.0, 1.5, 2.7]], cell=[6, 7, 8], pbc=True
    )


def diagonal(atoms: Atoms, springs: list[float]) -> np.ndarray:
    return np.tile(np.diag(springs), (len(atoms), 1, 1))


def case(
    atoms: Atoms,
    scfs: int,
    *,
    mobile: list[int] | None = None,
    labels: list[str] | None = None,
    on_site: np.ndarray | None = None,
    breakers: SymmetryBreakers | None = None,
) -> tuple[Atoms, int, list[int], list[str], np.ndarray | None, SymmetryBreakers | None]:
    mobile = list(range(len(atoms))) if mobile is None else mobile
    return atoms, scfs, mobile, labels or atoms.get_chemical_symbols(), on_site, breakers


H2 = boxed("H2")
CUBE = bulk("Fe", cubic=True)
GENERAL = Rotation.from_euler("xyz", [20, 33, 47], degrees=True)
# What stands for k-points or a field in these forces: springs as uneven as they.
UNEVEN = diagonal(CUBE, [1.0, 1.0, 3.0])
SLANTED = np.eye(3)[None] * (1 + 0.3 * np.arange(2))[:, None, None]

CASES = {
    "H2": case(H2, 3),
    "H2O": case(boxed("H2O"), 7),
    "CO2": case(boxed("CO2"), 4),
    "NH3": case(boxed("NH3"), 15),
    "NH3 in a hexagonal box": case(ammonia(), 7),
    "CH4": case(boxed("CH4"), 4),
    "H2O turned by 90 degrees": case(rotated(boxed("H2O"), Rotation.from_euler("x", 90, degrees=True)), 7),
    "CH4 turned in its box": case(rotated(boxed("CH4"), GENERAL), 31),
    "H2 turned in its box": case(rotated(H2, GENERAL), 7),
    "hydrogen on a slab": case(slab(), 3, mobile=[12]),
    "hydrogen and top layer": case(slab(), 9, mobile=[12, 8, 9, 10, 11]),
    "silicon": case(bulk("Si"), 2),
    "silicon, cubic": case(bulk("Si", cubic=True), 2),
    "aluminium": case(bulk("Al") * (2, 2, 2), 2),
    "no symmetry": case(lopsided(), 25),
    "antiferromagnet": case(CUBE, 3, labels=["Fe1", "Fe2"]),
    "one of two atoms": case(H2, 3, mobile=[1]),
    "one of water's hydrogens": case(boxed("H2O"), 5, mobile=[2]),
    "mobile in another order": case(boxed("H2O"), 7, mobile=[2, 0, 1]),
    "uneven mesh": case(CUBE, 2, on_site=UNEVEN, breakers=SymmetryBreakers(kmesh=(3, 3, 1))),
    "list of k-points": case(
        CUBE,
        2,
        on_site=UNEVEN,
        breakers=SymmetryBreakers(kpoints=((0, 0, 0), (0, 0, 0.25)), kweights=(1.0, 2.0)),
    ),
    "field along z": case(H2, 5, on_site=SLANTED, breakers=SymmetryBreakers(field_axis=2)),
}


def planned(name: str, *, delta: float = DELTA, symmetry: bool = True) -> Plan:
    atoms, _, mobile, labels, _, breakers = CASES[name]
    return plan_displacements(
        atoms.positions, atoms.cell[:], labels, mobile, delta=delta, symmetry=symmetry, breakers=breakers
    )


def exact_hessian(model: Morse, mobile: list[int]) -> np.ndarray:
    rows = (3 * np.array(mobile)[:, None] + np.arange(3)).ravel()
    return model.hessian()[np.ix_(rows, rows)]


@pytest.mark.parametrize("name", CASES)
def test_symmetry_saves_scfs_and_is_exact_for_harmonic_forces(name: str) -> None:
    atoms, scfs, mobile, labels, on_site, _ = CASES[name]
    plan = planned(name)
    assert len(plan.displacements) == scfs
    assert plan.full_count == 6 * len(mobile) + 1
    model = Morse(atoms, labels, on_site=on_site)
    exact = exact_hessian(model, mobile)
    # Forces of the structure as it stands, however uneven, do not matter.
    offset, linear = np.random.default_rng(3).normal(0, 0.05, (len(atoms), 3)), model.linear()
    hessian = assemble_hessian(plan, run(plan, lambda u: linear(u) + offset, len(atoms)))
    np.testing.assert_allclose(hessian, exact, atol=1e-9)
    masses = atoms.get_masses()[mobile]
    expected = normal_modes(exact, masses).frequencies_cm
    # λ has rounding errors of 1e-13, of which the root near zero makes something visible.
    real = expected > 10
    np.testing.assert_allclose(
        normal_modes(hessian, masses).frequencies_cm[real], expected[real], rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("name", CASES)
def test_anharmonic_forces_leave_an_error_of_second_order(name: str) -> None:
    atoms, _, mobile, labels, on_site, _ = CASES[name]
    model = Morse(atoms, labels, on_site=on_site)
    exact = exact_hessian(model, mobile)
    plans = [planned(name, delta=DELTA / n) for n in (1, 2)]
    hessians = [assemble_hessian(plan, run(plan, model.forces, len(atoms))) for plan in plans]
    first, second = (float(np.abs(hessian - exact).max()) for hessian in hessians)
    assert second == pytest.approx(first / 4, rel=0.01)
    # A displacement along a bond of a Morse potential makes 7 (a δ)²/6 of its stiffness; none makes more.
    assert first < 7 * (1.9 * DELTA) ** 2 / 6 * np.abs(exact).max() * 1.001
    masses = atoms.get_masses()[mobile]
    ours, expected = (normal_modes(h, masses).frequencies_cm for h in (hessians[0], exact))
    real = expected > 10
    np.testing.assert_allclose(ours[real], expected[real], rtol=0, atol=1.2)


@pytest.mark.parametrize("name", CASES)
def test_without_symmetry_the_plan_is_all_displacements(name: str) -> None:
    atoms, _, mobile, labels, on_site, _ = CASES[name]
    plan = planned(name, symmetry=False)
    assert len(plan.displacements) == plan.full_count == 6 * len(mobile) + 1
    model = Morse(atoms, labels, on_site=on_site)
    hessian = assemble_hessian(plan, run(plan, model.forces, len(atoms)))
    full = all_displacements(model.forces, mobile, len(atoms))
    np.testing.assert_allclose(hessian, full, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("uneven mesh", SymmetryBreakers(kmesh=(3, 3, 3))),
        ("list of k-points", SymmetryBreakers(kpoints=((0, 0, 0),))),
        ("field along z", SymmetryBreakers()),
    ],
)
def test_kpoints_and_fields_must_not_be_overlooked(name: str, wrong: SymmetryBreakers) -> None:
    atoms, _, mobile, labels, on_site, _ = CASES[name]
    plan = plan_displacements(atoms.positions, atoms.cell[:], labels, mobile, delta=DELTA, breakers=wrong)
    model = Morse(atoms, labels, on_site=on_site)
    hessian = assemble_hessian(plan, run(plan, model.linear(), len(atoms)))
    assert np.abs(hessian - exact_hessian(model, mobile)).max() > 0.1


@pytest.mark.parametrize(
    ("breakers", "order"),
    [
        (SymmetryBreakers(), 48),
        (SymmetryBreakers(kmesh=(2, 2, 2), kshift=(1, 1, 1)), 48),
        (SymmetryBreakers(kmesh=(2, 2, 2), kshift=(0, 0, 1)), 16),
        (SymmetryBreakers(kmesh=(1, 2, 3)), 8),
        (SymmetryBreakers(kpoints=((0.25, 0, 0), (0, 0.25, 0), (0, 0, 0.25))), 48),
        # -k is k, and so is k + G.
        (SymmetryBreakers(kpoints=((0.25, 0, 0), (0, -0.25, 0), (0, 0, 1.25))), 48),
        (SymmetryBreakers(kpoints=((0.25, 0, 0), (0, 0.25, 0)), kweights=(1.0, 1.0)), 16),
        (SymmetryBreakers(kpoints=((0.25, 0, 0), (0, 0.25, 0)), kweights=(1.0, 2.0)), 8),
        (SymmetryBreakers(kpoints=((0.1, 0.2, 0.3),)), 2),
        (SymmetryBreakers(field_axis=1), 8),
        (SymmetryBreakers(plane_axis=0), 16),
    ],
)
def test_what_is_left_of_a_cube(breakers: SymmetryBreakers, order: int) -> None:
    plan = plan_displacements(np.zeros((1, 3)), 4 * np.eye(3), ["Po"], [0], delta=DELTA, breakers=breakers)
    assert plan.order == order


@pytest.mark.parametrize(
    ("breakers", "order"),
    [
        (SymmetryBreakers(), 24),
        (SymmetryBreakers(kmesh=(3, 3, 1)), 24),
        (SymmetryBreakers(kmesh=(3, 2, 1)), 4),
        # The corner of the zone is its own image; half-way along one reciprocal vector there are three.
        (SymmetryBreakers(kpoints=((1 / 3, 1 / 3, 0),)), 24),
        (SymmetryBreakers(kpoints=((0.5, 0, 0),)), 8),
        (SymmetryBreakers(kpoints=((0.5, 0, 0), (0, 0.5, 0), (0.5, 0.5, 0))), 24),
    ],
)
def test_what_is_left_of_a_hexagon(breakers: SymmetryBreakers, order: int) -> None:
    cell = [[3, 0, 0], [-1.5, 1.5 * 3**0.5, 0], [0, 0, 5]]
    plan = plan_displacements(np.zeros((1, 3)), cell, ["Mg"], [0], delta=DELTA, breakers=breakers)
    assert plan.order == order


@pytest.mark.parametrize(("axis", "order"), [(None, 32), (0, 8), (2, 8)])
def test_a_field_forbids_translations_along_it(axis: int | None, order: int) -> None:
    positions, cell = [[0, 0, 0], [0, 0, 3]], np.diag([4.0, 4.0, 6.0])
    breakers = SymmetryBreakers(field_axis=axis)
    plan = plan_displacements(positions, cell, ["Po", "Po"], [0, 1], delta=DELTA, breakers=breakers)
    assert plan.order == order


ANGLES = st.floats(-180, 180, allow_nan=False)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["H2", "H2O", "CH4"]), ANGLES, ANGLES, ANGLES)
def test_a_molecule_may_stand_in_its_box_as_it_likes(name: str, a: float, b: float, c: float) -> None:
    # The box counts as well: only what box and molecule have in common is symmetry.
    atoms = rotated(boxed(name), Rotation.from_euler("zyz", [a, b, c], degrees=True))
    mobile = list(range(len(atoms)))
    plan = plan_displacements(atoms.positions, atoms.cell[:], atoms.symbols, mobile, delta=DELTA)
    model = Morse(atoms)
    found = raw_hessian(plan, run(plan, model.linear(), len(atoms)))
    # Angles near a symmetric one may be taken for it, within the tolerance of 1e-4 Å.
    np.testing.assert_allclose(found, model.hessian(), atol=1e-3 * np.abs(model.hessian()).max())


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["Si", "Fe"]),
    ANGLES,
    ANGLES,
    st.lists(st.integers(-3, 3), min_size=6, max_size=6),
    st.booleans(),
)
def test_strained_and_turned_crystals(name: str, a: float, b: float, strain: list[int], box: bool) -> None:
    atoms = bulk(name, cubic=box)
    xx, yy, zz, yz, xz, xy = 0.02 * np.array(strain)
    deformed = np.array([[1 + xx, xy, xz], [xy, 1 + yy, yz], [xz, yz, 1 + zz]])
    straight = atoms.copy()
    straight.set_cell(atoms.cell[:] @ deformed, scale_atoms=True)
    turned = straight.copy()
    turned.set_cell(Rotation.from_euler("zy", [a, b], degrees=True).apply(straight.cell[:]), scale_atoms=True)
    mobile = list(range(len(atoms)))
    counts = []
    for crystal in (straight, turned):
        plan = plan_displacements(crystal.positions, crystal.cell[:], crystal.symbols, mobile, delta=DELTA)
        model = Morse(crystal)
        found = raw_hessian(plan, run(plan, model.linear(), len(crystal)))
        np.testing.assert_allclose(found, model.hessian(), atol=1e-8)
        counts.append(len(plan.displacements))
    assert counts[0] == counts[1] <= 6 * len(atoms) + 1


@pytest.mark.parametrize(("name", "scfs"), [("H2O", 7), ("CH4", 4)])
def test_a_structure_that_is_only_nearly_symmetric_and_relaxed(name: str, scfs: int) -> None:
    # As a relaxation leaves it, and pulled apart besides.
    atoms = boxed(name)
    nat, mobile = len(atoms), list(range(len(atoms)))
    atoms.positions += np.random.default_rng(7).uniform(-2e-5, 2e-5, (nat, 3))
    model = Morse(atoms, off=0.01)
    assert np.abs(model.forces(np.zeros((nat, 3)))).max() > 0.2
    plan = plan_displacements(atoms.positions, atoms.cell[:], atoms.symbols, mobile, delta=DELTA)
    assert len(plan.displacements) == scfs
    masses = atoms.get_masses()
    ours = normal_modes(assemble_hessian(plan, run(plan, model.forces, nat)), masses).frequencies_cm
    full = normal_modes(all_displacements(model.forces, mobile, nat), masses).frequencies_cm
    np.testing.assert_allclose(ours[6:], full[6:], rtol=0, atol=1.0)


@pytest.mark.parametrize("name", ["H2O", "silicon, cubic", "hydrogen and top layer", "no symmetry"])
def test_a_plan_survives_json(name: str) -> None:
    plan = planned(name)
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_a_plan_that_an_earlier_version_kept_is_read() -> None:
    """Its displacements had a vector, and neither a start nor a task that they repeat."""
    plan = planned("H2O")
    kept = plan.to_json()
    kept["displacements"] = [
        {"index": d.index, "atom": d.atom, "vector": d.displacement} for d in plan.displacements
    ]
    assert Plan.from_json(json.loads(json.dumps(kept))) == plan


@pytest.mark.parametrize("name", ["H2O", "CH4", "silicon, cubic", "aluminium", "hydrogen and top layer"])
def test_a_plan_that_spells_out_all_its_operations_gives_the_same(name: str) -> None:
    """Earlier versions kept all that leave a displaced atom in its place, and one to each other atom."""
    plan = planned(name)
    spelt: list[Operation] = []
    for atom in dict.fromkeys(task.atom for task in plan.displacements if task.atom is not None):
        place = plan.mobile.index(atom)
        spelt += plan.site(place)
        ways = {place: spelt[-1]}
        for source, operation, target in plan.paths(place):
            before = ways[source]
            rotation = operation.matrix @ before.matrix
            permutation = tuple(operation.permutation[k] for k in before.permutation)
            ways[target] = Operation(tuple(map(tuple, rotation.tolist())), permutation)
            spelt.append(ways[target])
    earlier = Plan.from_json(json.loads(json.dumps(replace(plan, operations=tuple(spelt)).to_json())))
    atoms = CASES[name][0]
    forces = run(plan, Morse(atoms).forces, len(atoms))
    np.testing.assert_allclose(raw_hessian(earlier, forces), raw_hessian(plan, forces), rtol=0, atol=1e-9)


def test_a_large_supercell_is_planned_by_what_it_needs() -> None:
    atoms = bulk("Al") * (10, 10, 10)
    plan = plan_displacements(atoms.positions, atoms.cell[:], atoms.symbols, [3], delta=DELTA)
    assert (plan.order, len(plan.displacements), len(plan.site(0))) == (48, 2, 48)
    plan = plan_displacements(atoms.positions, atoms.cell[:], atoms.symbols, range(1000), delta=DELTA)
    assert (plan.order, len(plan.displacements)) == (48_000, 2)
    # All follow from the three translations, and from three or four that leave an atom in its place.
    assert len(plan.operations) <= 3 + 4
    assert len(plan.site(0)) == 48
    assert sorted(target for _, _, target in plan.paths(0)) == list(range(1, 1000))
    assert len(json.dumps(plan.to_json())) < 50_000


@pytest.mark.parametrize("off", [0.0, 2e-5])
def test_a_vacancy_leaves_the_symmetry_around_it(off: float) -> None:
    """Oh, and 124 atoms in nine sets of equivalent ones: 6+6 (C4v), 12+12 (C2v), 8+8 (C3v), 24+24+24 (Cs).

    In a set with several mirrors a displacement and its opposite are enough, with one it takes two of each.
    ``off`` is far below what the symmetry is found with.
    """
    atoms = bulk("Po", "sc", a=3.35) * (5, 5, 5)
    del atoms[0]
    positions = atoms.positions + np.random.default_rng(5).uniform(-off, off, atoms.positions.shape)
    plan = plan_displacements(positions, atoms.cell[:], atoms.symbols, range(124), delta=DELTA)
    assert (plan.order, len(plan.displacements)) == (48, 1 + 2 * 6 + 4 * 3)


@pytest.mark.parametrize(
    ("every", "order", "scfs"),
    [
        # Every other layer across x is fixed. Left are half of the translations along x, and the 16 of D4h. A
        # free atom has them all: one displacement in general position is enough.
        (2, 16 * 32, 2),
        # Every fourth layer. Of three free ones the middle has D4h (1 SCF), the outer two, mirror images of
        # each other, C4v (a displacement and its opposite).
        (4, 16 * 16, 4),
    ],
)
def test_a_pattern_of_fixed_atoms_leaves_the_symmetry_that_keeps_it(
    every: int, order: int, scfs: int
) -> None:
    atoms = bulk("Po", "sc", a=3.35) * (4, 4, 4)
    layers = np.rint(atoms.positions[:, 0] / 3.35).astype(int)
    mobile = np.flatnonzero(layers % every != 0).tolist()
    plan = plan_displacements(atoms.positions, atoms.cell[:], atoms.symbols, mobile, delta=DELTA)
    assert (plan.order, len(plan.displacements)) == (order, scfs)
    model = Morse(atoms)
    found = raw_hessian(plan, run(plan, model.linear(), len(atoms)))
    np.testing.assert_allclose(found, exact_hessian(model, mobile), atol=1e-8)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"positions": [[0, 0, 0]]}, "ATOMIC_POSITIONS"),
        ({"positions": [[0, 0, 0], [0, 0, float("nan")]]}, "ATOMIC_POSITIONS"),
        ({"positions": [[0, 0, 0], [0, 0, 8]]}, "ATOMIC_POSITIONS"),
        ({"cell": [[1, 0, 0], [2, 0, 0], [0, 0, 1]]}, "CELL_PARAMETERS"),
        ({"mobile": []}, "mobile_indices"),
        ({"mobile": [0, 0]}, "mobile_indices"),
        ({"mobile": [0, 2]}, "mobile_indices"),
        ({"mobile": [-1]}, "mobile_indices"),
        ({"delta": 0.0}, "delta"),
        ({"delta": float("nan")}, "delta"),
    ],
)
def test_a_bad_request_for_a_plan_names_its_field(change: dict[str, object], field: str) -> None:
    arguments = {
        "positions": H2.positions,
        "cell": H2.cell[:],
        "labels": ["H", "H"],
        "mobile": [0, 1],
        "delta": DELTA,
    }
    with pytest.raises(InputError) as caught:
        plan_displacements(**(arguments | change))
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("task", "forces", "code"),
    [
        (1, None, "forces_missing"),
        (1, [[0.0, 0.0, 0.0]], "forces_invalid"),
        (1, [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]], "forces_invalid"),
        (1, [[0.0, 0.0, float("nan")]] * 3, "forces_invalid"),
    ],
)
def test_forces_that_cannot_be_used_are_named(task: int, forces: object, code: str) -> None:
    plan = planned("H2O")
    found: dict[int, object] = dict(run(plan, Morse(boxed("H2O")).forces, 3))
    del found[task]
    if forces is not None:
        found[task] = forces
    with pytest.raises(InputError, match=f"task {task}") as caught:
        assemble_hessian(plan, found)
    assert caught.value.code == code
