"""Normal modes and thermochemistry against closed formulas and ASE's thermochemistry."""

from __future__ import annotations

import numpy as np
import pytest
from ase.thermochemistry import HarmonicThermo
from ase.units import invcm
from scipy import constants

from zpe_sdk.errors import InputError
from zpe_sdk.vibrations.modes import normal_modes
from zpe_sdk.vibrations.oscillators import vibrational_entropy, zero_point_energy


def spring(k: float) -> np.ndarray:
    """Hessian in eV/Å² of two atoms on the x axis, joined by a spring k."""
    hessian = np.zeros((6, 6))
    hessian[0, 0] = hessian[3, 3] = k
    hessian[0, 3] = hessian[3, 0] = -k
    return hessian


@pytest.mark.parametrize(("first", "second"), [(1.008, 1.008), (1.008, 2.014), (12.011, 15.999)])
def test_a_diatomic_vibrates_with_the_root_of_k_over_its_reduced_mass(first: float, second: float) -> None:
    modes = normal_modes(spring(35.9), np.array([first, second]))
    reduced = first * second / (first + second) * constants.atomic_mass
    omega = np.sqrt(35.9 * constants.e * 1e20 / reduced)
    assert modes.frequencies_cm[-1] == pytest.approx(omega / (2 * np.pi * constants.c * 100), rel=1e-6)
    np.testing.assert_allclose(modes.frequencies_cm[:5], 0, atol=1e-3)
    # The lighter atom moves further, by the ratio of the masses, in the other direction.
    motion = modes.displacements[-1]
    assert motion[0, 0] / motion[1, 0] == pytest.approx(-second / first)
    assert np.linalg.norm(motion) == pytest.approx(1)


def test_an_unstable_direction_stays_imaginary() -> None:
    modes = normal_modes(spring(-1.0), np.array([1.0, 1.0]))
    stable = normal_modes(spring(1.0), np.array([1.0, 1.0]))
    assert modes.frequencies_cm[0] == pytest.approx(-stable.frequencies_cm[-1])


def test_zero_point_energy_and_entropy_agree_with_ase() -> None:
    frequencies = np.array([60.0, 400.0, 1595.0, 3657.0, 3756.0])
    ase = HarmonicThermo(frequencies * invcm)
    assert zero_point_energy(frequencies) == pytest.approx(ase.get_ZPE_correction(), rel=1e-9)
    entropy = ase.get_entropy(298.15, verbose=False) * constants.e * constants.N_A
    assert vibrational_entropy(frequencies, 298.15) == pytest.approx(entropy, rel=1e-6)


def test_entropy_has_its_classical_and_its_quantum_limit() -> None:
    assert vibrational_entropy(np.array([1e6]), 10.0) == 0
    x = 0.01 * 100 * constants.h * constants.c / (constants.k * 298.15)
    assert vibrational_entropy(np.array([0.01]), 298.15) == pytest.approx(
        constants.R * (1 - np.log(x)), rel=1e-6
    )


def test_imaginary_modes_are_not_counted_by_accident() -> None:
    with pytest.raises(InputError, match="imaginary"):
        zero_point_energy(np.array([-50.0, 1600.0]))


def test_masses_must_fit_the_hessian() -> None:
    with pytest.raises(InputError) as caught:
        normal_modes(spring(1.0), np.array([1.0]))
    assert caught.value.field == "masses"
