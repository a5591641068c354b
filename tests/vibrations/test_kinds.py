"""Which modes are motions of the whole, of molecules whose modes are known."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from zpe_sdk.vibrations.kinds import mode_kinds
from zpe_sdk.vibrations.modes import normal_modes

MASSES = np.array([1.008, 12.011, 12.011, 1.008])


def internal(places: np.ndarray) -> np.ndarray:
    """Return the bond lengths of a chain, in Å, and how far each inner atom is from being in line."""
    bonds = np.diff(places.reshape(-1, 3), axis=0)
    lengths = np.linalg.norm(bonds, axis=1)
    along = bonds / lengths[:, None]
    return np.concatenate([lengths, np.diff(along, axis=0).ravel()])


def chain(places: np.ndarray, stiffness: np.ndarray) -> np.ndarray:
    """Return the Hessian in eV/Å² of a chain that resists stretching and bending."""
    step = 1e-5 * np.eye(places.size)
    slopes = [(internal(places.ravel() + d) - internal(places.ravel() - d)) / 2e-5 for d in step]
    return np.array(slopes) * stiffness @ np.array(slopes).T


@pytest.mark.parametrize("off", [0.0, 0.005, 0.01, 0.02])
def test_acetylene_that_is_a_little_off_the_line_keeps_its_seven_vibrations(off: float) -> None:
    places = np.array([[off, 0, -1.6645], [0, 0, -0.6015], [0, 0, 0.6015], [off, 0, 1.6645]]) + 7
    modes = normal_modes(chain(places, np.array([36, 98, 36, *[3] * 6])), MASSES)
    kinds = mode_kinds(modes.eigenvectors, MASSES, places, 14 * np.eye(3))
    assert Counter(kinds) == {"translation": 3, "rotation": 2, "vibration": 7}
    found = modes.frequencies_cm[np.array(kinds) == "vibration"]
    assert found.min() > 500


def test_a_molecule_that_is_bent_has_three_rotations_and_an_atom_none() -> None:
    places = np.array([[0.3, 0, -1.6645], [0, 0, -0.6015], [0, 0, 0.6015], [-0.3, 0.1, 1.6645]]) + 7
    modes = normal_modes(chain(places, np.array([36, 98, 36, *[3] * 6])), MASSES)
    kinds = mode_kinds(modes.eigenvectors, MASSES, places, 14 * np.eye(3))
    assert kinds.count("rotation") == 3
    free = normal_modes(np.zeros((3, 3)), MASSES[:1])
    assert mode_kinds(free.eigenvectors, MASSES[:1], places[:1], 14 * np.eye(3)) == ["translation"] * 3
