"""SCFs of another electronic state are found by their energy and magnetisation; one surface passes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from zpe_sdk.vibrations.plan import Plan, plan_displacements
from zpe_sdk.vibrations.states import Moments, state_changes

BOX = 8.0 * np.eye(3)
LENGTH, DEPTH, STEEPNESS = 0.74, 4.75, 1.94  # Å, eV, 1/Å: the Morse potential of H2


def morse(positions: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    bond = positions[1] - positions[0]
    length = float(np.linalg.norm(bond))
    decay = np.exp(-STEEPNESS * (length - LENGTH))
    pull = -2 * DEPTH * STEEPNESS * (1 - decay) * decay * bond / length
    return DEPTH * (1 - decay) ** 2, np.array([-pull, pull])


class Scfs:
    """Energies and forces of a diatomic molecule, analytic, with a bond stretched by ``strain`` Å."""

    def __init__(self, delta: float = 0.01, strain: float = 0.0) -> None:
        positions = np.array([[4, 4, 4], [4, 4, 4 + LENGTH + strain]])
        self.plan: Plan = plan_displacements(positions, BOX, ["H", "H"], [0, 1], delta=delta, symmetry=False)
        self.energies: dict[int, float] = {}
        self.forces: dict[int, NDArray[np.float64]] = {}
        for d in self.plan.displacements:
            moved = positions.copy()
            if d.atom is not None:
                moved[d.atom] += np.array(d.displacement)
            self.energies[d.index], self.forces[d.index] = morse(moved)
        self.moments = {d.index: Moments(2.0, 2.2) for d in self.plan.displacements}

    def changed(self) -> list[int]:
        found = state_changes(self.plan, self.energies, self.forces, self.moments)
        return [change.task for change in found]


@pytest.mark.parametrize("strain", [0.0, 0.1, -0.05])
@pytest.mark.parametrize("delta", [0.003, 0.01, 0.05])
def test_one_energy_surface_passes_at_any_bond_length_and_displacement(delta: float, strain: float) -> None:
    assert Scfs(delta, strain).changed() == []


@pytest.mark.parametrize("shift", [0.003, -0.003, 1.0])
def test_an_energy_off_the_surface_is_found_and_told_with_both_energies(shift: float) -> None:
    scfs = Scfs()
    expected = scfs.energies[3]
    scfs.energies[3] += shift
    [change] = state_changes(scfs.plan, scfs.energies, scfs.forces, scfs.moments)
    assert change.task == 3
    assert change.expected_ev == pytest.approx(expected, abs=1e-4)
    assert f"{change.energy_ev:.6f} eV" in change.sentence
    assert f"{change.expected_ev:.6f} eV" in change.sentence
    assert ("above" if shift > 0 else "below") in change.sentence


def test_forces_that_are_not_the_slope_of_the_energy_are_found() -> None:
    scfs = Scfs()
    scfs.forces[2] = scfs.forces[2] + [[0.5, 0.5, 0.5], [-0.5, -0.5, -0.5]]
    assert scfs.changed() == [2]


@pytest.mark.parametrize(
    ("moments", "differs"),
    [
        (Moments(2.0, 2.24), False),
        (Moments(-2.0, 2.2), False),  # all spins turned around: the same state
        (Moments(0.0, 0.0), True),
        (Moments(0.0, 2.2), True),
        (Moments(2.0, 3.9), True),
    ],
)
def test_another_magnetisation_is_another_state_whatever_the_energy(moments: Moments, differs: bool) -> None:
    scfs = Scfs()
    scfs.moments[4] = moments
    assert scfs.changed() == ([4] if differs else [])


def test_scfs_without_spin_are_judged_by_their_energies_alone() -> None:
    scfs = Scfs()
    scfs.moments = {}
    assert scfs.changed() == []
