"""A result in Python: what follows from its Hessian, against closed formulas and ASE."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import constants

from zpe_sdk import ComputeError, InputError, ZPEResult
from zpe_sdk.vibrations.modes import (
    heat_capacity,
    internal_energy,
    normal_modes,
    vibrational_entropy,
    zero_point_energy,
)
from zpe_sdk.wire import Fingerprint, ZPEResultDocument

K, H_MASS, D_MASS = 35.0, 1.008, 2.0141  # eV/Å², u


def wavenumber(k: float, reduced_mass: float) -> float:
    """Of a harmonic oscillator, in cm⁻¹."""
    omega = np.sqrt(k * constants.e * 1e20 / (reduced_mass * constants.atomic_mass))
    return float(omega / (2 * np.pi * constants.c * 100))


@pytest.fixture
def h2() -> ZPEResult:
    """H2 on a spring along z, weakly held in x: at x = 0 the first atom is pushed away from its place."""
    hessian = np.zeros((6, 6))
    hessian[2, 2] = hessian[5, 5] = K
    hessian[2, 5] = hessian[5, 2] = -K
    hessian[0, 0] = -0.5
    masses = np.array([H_MASS, H_MASS])
    modes = normal_modes(hessian, masses)
    real = modes.frequencies_cm[modes.frequencies_cm > 50]
    return ZPEResult(
        ZPEResultDocument(
            freqs_cm=modes.frequencies_cm.tolist(),
            zpe_ev=zero_point_energy(real),
            s_vib_jmol_k=vibrational_entropy(real, 298.15),
            u_vib_ev=internal_energy(real, 298.15),
            f_vib_ev=0.0,
            cv_jmol_k=heat_capacity(real, 298.15),
            mobile_indices=[1, 2],
            fixed_indices=[0],
            kpts=(1, 1, 1),
            delta=0.01,
            low_cut_cm=50,
            temperature=298.15,
            use_environ=False,
            qe_input="",
            pseudo_dir="",
            calc_start_time="2026-01-01T00:00:00+00:00",
            calc_end_time="2026-01-01T00:00:10+00:00",
            elapsed_seconds=10,
            cache_checked=0,
            cache_deleted=0,
            symbols=["Cu", "H", "H"],
            positions=[(0, 0, 0), (0, 0, 1.7), (0, 0, 2.45)],
            cell=[(8, 0, 0), (0, 8, 0), (0, 0, 8)],
            masses=masses.tolist(),
            hessian=hessian.tolist(),
            modes=modes.displacements.tolist(),
            mode_kinds=["vibration"] * 6,
            imaginary_modes=[0],
            energy_ev=-31.7,
            max_force_ev_ang=0.001,
            checks={"scf_done": 13, "scf_full": 13, "hessian_asymmetry_ev_ang2": 0.0},
            symmetry={"order": 1, "displaced_atoms": [1, 2]},
            fingerprint=Fingerprint(engine="mock", engine_version="1", physics="0" * 64),
            tasks=[],
        )
    )


def test_arrays_have_the_shapes_and_units_they_say(h2: ZPEResult) -> None:
    assert h2.frequencies_cm.shape == (6,)
    assert h2.hessian.shape == (6, 6)
    assert h2.modes.shape == (6, 2, 3)
    assert h2.frequencies_cm[-1] == pytest.approx(wavenumber(K, H_MASS / 2), rel=1e-6)
    quantum = constants.h * constants.c * 100 * h2.frequencies_cm[-1] / constants.e
    assert h2.energies_ev[-1] == pytest.approx(quantum, rel=1e-6)
    assert h2.zpe_ev == pytest.approx(quantum / 2, rel=1e-6)


def test_an_imaginary_mode_stays_one(h2: ZPEResult) -> None:
    assert h2.frequencies_cm[0] == pytest.approx(-wavenumber(0.5, H_MASS), rel=1e-6)
    assert "1 imaginary" in repr(h2)


def test_deuterium_divides_the_frequency_by_the_root_of_the_mass_ratio(h2: ZPEResult) -> None:
    d2 = h2.reevaluated(masses={"H": D_MASS})
    assert h2.frequencies_cm[-1] / d2.frequencies_cm[-1] == pytest.approx(np.sqrt(D_MASS / H_MASS), rel=1e-9)
    assert h2.zpe_ev / d2.zpe_ev == pytest.approx(np.sqrt(D_MASS / H_MASS), rel=1e-9)
    np.testing.assert_array_equal(d2.hessian, h2.hessian)
    hd = h2.reevaluated(masses=[H_MASS, D_MASS])
    reduced = H_MASS * D_MASS / (H_MASS + D_MASS)
    assert hd.frequencies_cm[-1] == pytest.approx(wavenumber(K, reduced), rel=1e-6)
    assert h2.document.masses == [H_MASS, H_MASS]


def test_a_higher_cutoff_leaves_modes_out(h2: ZPEResult) -> None:
    assert h2.reevaluated(low_cut_cm=5000).zpe_ev == 0
    assert h2.reevaluated(low_cut_cm=50).zpe_ev == pytest.approx(h2.zpe_ev)


def test_free_energy_at_another_temperature(h2: ZPEResult) -> None:
    hot = h2.reevaluated(temperature=3000.0).document
    quantum = constants.h * constants.c * 100 * h2.frequencies_cm[-1] / constants.e
    kt = constants.k * 3000.0 / constants.e
    # F = hν/2 + kT ln(1 - exp(-hν/kT)) of a harmonic oscillator
    assert hot.f_vib_ev == pytest.approx(quantum / 2 + kt * np.log(1 - np.exp(-quantum / kt)), abs=1e-6)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"masses": {"D": 2.0}}, "bad_masses"),
        ({"masses": [1.0]}, "bad_masses"),
        ({"masses": {"H": -1.0}}, "bad_masses"),
        ({"low_cut_cm": -1.0}, "bad_cutoff"),
        ({"low_cut_cm": float("nan")}, "bad_cutoff"),
        ({"temperature": 0.0}, "bad_temperature"),
    ],
)
def test_a_reevaluation_that_makes_no_sense_is_refused(
    h2: ZPEResult, change: dict[str, float], code: str
) -> None:
    with pytest.raises(InputError) as caught:
        h2.reevaluated(**change)  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.field) == (code, next(iter(change)))


def test_ase_gets_the_same_frequencies(h2: ZPEResult) -> None:
    d2 = h2.reevaluated(masses={"H": D_MASS})
    for result in (h2, d2):
        data = result.to_ase()
        theirs = data.get_frequencies()
        assert theirs[-1].real == pytest.approx(result.frequencies_cm[-1], rel=1e-6)
        assert theirs[0].imag == pytest.approx(-result.frequencies_cm[0], rel=1e-6)
        assert data.get_atoms().get_masses()[1:].tolist() == result.document.masses


def test_json_there_and_back(h2: ZPEResult) -> None:
    again = ZPEResult.from_json(h2.to_json())
    assert again.document == h2.document
    assert json.loads(h2.to_json())["zpe_ev"] == h2.zpe_ev


def test_what_is_no_result_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        ZPEResult.from_json("{")
    assert caught.value.code == "bad_json"
    for text in ('{"zpe_ev": 0.27, "freqs_cm": [4401.2]}', "[]"):
        with pytest.raises(ComputeError) as lacking:
            ZPEResult.from_json(text)
        assert lacking.value.code == "result_incomplete"


def test_a_notebook_shows_the_summary_escaped(h2: ZPEResult) -> None:
    h2.document.fingerprint.engine = "<script>"
    assert "<script>" not in h2._repr_html_()
    assert "ZPE" in h2._repr_html_()
