"""Vibrations apart from motions of the whole, of molecules whose vibrations are known."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from zpe_sdk.vibrations.kinds import counted_modes, external_motions, imaginary_modes
from zpe_sdk.vibrations.modes import Modes, normal_modes

MASSES = np.array([1.008, 12.011, 12.011, 1.008])
OFF_THE_LINE = np.array([36, 98, 36, *[3] * 6])  # eV/Å² and eV


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


def modes_of(hessian: np.ndarray, masses: np.ndarray, places: np.ndarray | None) -> Modes:
    return normal_modes(hessian, masses, external_motions(masses, places))


def vibrations_of(modes: Modes) -> np.ndarray:
    return modes.frequencies_cm[np.array(modes.kinds) == "vibration"]


@pytest.mark.parametrize("off", [0.0, 0.005, 0.01, 0.02])
def test_acetylene_that_is_a_little_off_the_line_keeps_its_seven_vibrations(off: float) -> None:
    places = np.array([[off, 0, -1.6645], [0, 0, -0.6015], [0, 0, 0.6015], [off, 0, 1.6645]]) + 7
    modes = modes_of(chain(places, OFF_THE_LINE), MASSES, places)
    assert Counter(modes.kinds) == {"translation": 3, "rotation": 2, "vibration": 7}
    assert vibrations_of(modes).min() > 500


def test_a_molecule_that_is_bent_has_three_rotations_an_atom_and_a_crystal_none() -> None:
    places = np.array([[0.3, 0, -1.6645], [0, 0, -0.6015], [0, 0, 0.6015], [-0.3, 0.1, 1.6645]]) + 7
    assert modes_of(chain(places, OFF_THE_LINE), MASSES, places).kinds.count("rotation") == 3
    assert modes_of(np.zeros((3, 3)), MASSES[:1], places[:1]).kinds == ("translation",) * 3
    crystal = modes_of(chain(places, OFF_THE_LINE), MASSES, None)
    assert Counter(crystal.kinds) == {"translation": 3, "vibration": 9}


TWISTED = np.array([[0.95, 0.2, -0.3], [0, 0, 0], [0, 0, 1.45], [0.35, 0.9, 1.75]])  # much as H2O2 is
PEROXIDE = np.array([1.008, 15.999, 15.999, 1.008])


def peroxide() -> np.ndarray:
    """Return the Hessian in eV/Å² of H2O2 on springs: three bonds, two angles, a soft torsion."""
    hessian = np.zeros((12, 12))
    for i, j, k in [(0, 1, 50.0), (1, 2, 30.0), (2, 3, 50.0), (0, 2, 4.0), (1, 3, 4.0), (0, 3, 0.2)]:
        along = (TWISTED[j] - TWISTED[i]) / np.linalg.norm(TWISTED[j] - TWISTED[i])
        row = np.zeros((4, 3))
        row[i], row[j] = -along, along
        hessian += k * np.outer(row, row)
    return hessian


def test_a_box_in_which_a_molecule_cannot_turn_does_not_touch_its_soft_vibration() -> None:
    free = modes_of(peroxide(), PEROXIDE, TWISTED)
    np.testing.assert_allclose(np.sort(np.abs(free.frequencies_cm))[:6], 0, atol=0.01)
    expected = vibrations_of(free)
    assert 100 < expected[0] < 150
    torsion = free.eigenvectors[free.frequencies_cm > 10][0].ravel()

    # Springs on the rotations, as stiff as the torsion, and one that couples the two.
    weights = np.repeat(np.sqrt(PEROXIDE), 3)
    rotations = external_motions(PEROXIDE, TWISTED)[3:]
    field = 0.04 * rotations.T @ rotations + 0.02 * (
        np.outer(torsion, rotations[0]) + np.outer(rotations[0], torsion)
    )
    held = peroxide() + weights[:, None] * field * weights
    found = modes_of(held, PEROXIDE, TWISTED)
    assert Counter(found.kinds) == {"translation": 3, "rotation": 3, "vibration": 6}
    np.testing.assert_allclose(vibrations_of(found), expected, atol=1e-6)
    rotating = found.frequencies_cm[np.array(found.kinds) == "rotation"]
    np.testing.assert_allclose(rotating, 521.47 * 0.04**0.5, rtol=1e-3)
    # Diagonalised with all the rest, neither of the two is what it is.
    mixed = normal_modes(held, PEROXIDE).frequencies_cm
    assert np.abs(mixed - expected[0]).min() > 10


def test_vibrations_lie_across_the_motions_of_the_whole_and_all_modes_are_orthonormal() -> None:
    held = peroxide() + np.diag(np.linspace(-0.1, 0.3, 12))
    found = modes_of(held, PEROXIDE, TWISTED)
    vectors = found.eigenvectors.reshape(12, 12)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(12), atol=1e-12)
    vibrating = np.array(found.kinds) == "vibration"
    np.testing.assert_allclose(
        vectors[vibrating] @ external_motions(PEROXIDE, TWISTED).T, np.zeros((6, 6)), atol=1e-12
    )


def test_only_vibrations_above_the_cut_count_and_only_vibrations_are_imaginary() -> None:
    cm = [-300.0, -100.0, 40.0, 50.0, 60.0, 250.0]
    kinds = ["rotation", "vibration", "vibration", "vibration", "vibration", "translation"]
    assert counted_modes(cm, kinds, 50.0).tolist() == [False] * 4 + [True, False]
    assert imaginary_modes(cm, kinds).tolist() == [False, True] + [False] * 4
