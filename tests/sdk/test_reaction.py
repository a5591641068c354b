"""Free energies of reactions: against experiment, closed formulas and what thermodynamics demands."""

from __future__ import annotations

from math import exp, log, pi, sqrt
from typing import Any

import matplotlib
import numpy as np
import pytest
from scipy import constants

import zpe_sdk
from tests.structures import make, payload
from tests.vibrations.test_result import PRINT, Job, pw_text
from zpe_sdk import EnergyResult, InputError, ZPEResult
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.result.differences import differences
from zpe_sdk.result.free_energy import Reaction
from zpe_sdk.result.models import Harmonic, Hindered, IdealGas, QuasiHarmonic
from zpe_sdk.vibrations.oscillators import vibrational_entropy
from zpe_sdk.wire import EnergyDocument, TaskReport

KT = constants.k * 298.15 / constants.e
SPECIES = "Al 26.98 Al.UPF\nH 1.008 H.UPF"
ADSORPTION = {"H*": 1, "*": -1, "H2": -0.5}


def vibrating(text: str, *, error: float | None = None, **update: Any) -> ZPEResult:
    document = Job(text).result()
    document.checks["zpe_error_ev"] = error
    return ZPEResult(document.model_copy(update=update))


def energy(text: str, energy_ev: float) -> EnergyResult:
    pw_input = PwInput.parse(text)
    report = TaskReport(
        task=0,
        energy_ev=energy_ev,
        forces_ev_ang=[(0, 0, 0)] * len(pw_input.symbols),
        fingerprint=PRINT,
        scf_seconds=1,
    )
    document = make(payload("energy", text), pw_input, report, workers={0: "ada"})
    assert isinstance(document, EnergyDocument)
    return EnergyResult(document)


@pytest.fixture(scope="module")
def gas() -> ZPEResult:
    """Hydrogen at its bond length in experiment, 0.7414 Å."""
    return vibrating(pw_text("H 0 0 0\nH 0 0 0.7414"), error=3e-4, energy_ev=-31.7)


@pytest.fixture(scope="module")
def species(gas: ZPEResult) -> dict[str, Any]:
    return {
        "*": energy(pw_text("Al 0 0 0 0 0 0", "Al 26.98 Al.UPF"), -100.0),
        "H*": vibrating(pw_text("Al 0 0 0 0 0 0\nH 0 0 1.6", SPECIES), error=4e-4, energy_ev=-116.2),
        "H2": gas,
    }


@pytest.fixture(scope="module")
def adsorption(species: dict[str, Any]) -> Reaction:
    return zpe_sdk.reaction(ADSORPTION, species)


def test_hydrogen_and_deuterium_exchange_as_they_do_in_experiment(gas: ZPEResult) -> None:
    # The springs' stretch has to be hydrogen's own, 4401 cm⁻¹ (Huber and Herzberg 1979).
    scale = (4401.2 / gas.frequencies_cm[-1]) ** 2
    hessian = (gas.hessian * scale).tolist()
    stretch = ZPEResult(gas.document.model_copy(update={"hessian": hessian})).with_cutoff(50)
    species = {
        "H2": stretch,
        "D2": stretch.with_masses({"H": "D"}),
        "HD": stretch.with_masses({0: "D"}),
    }
    exchange = zpe_sdk.reaction({"HD": 2, "H2": -1, "D2": -1}, species)
    # The equilibrium constant at 298 K is 3.26: Urey and Rittenberg, J. Chem. Phys. 1, 137 (1933).
    assert exp(-exchange.at(298.15).dg / KT) == pytest.approx(3.26, rel=0.04)
    assert exchange.at(298.15).de == 0
    # No more molecules than before: the pressure changes nothing.
    assert exchange.at(298.15, 1e3).dg == pytest.approx(exchange.at(298.15, 1e5).dg, abs=1e-12)
    # At high temperature only the count of ways is left: 4.
    assert exp(-exchange.at(5000).dg / (KT * 5000 / 298.15)) == pytest.approx(4, rel=0.05)


def test_the_entropy_that_a_gas_loses_is_that_of_the_tables(adsorption: Reaction) -> None:
    species_entropy = adsorption._models["H*"].heat(adsorption._results["H*"], 298.15, 1e5).entropy_ev_k
    lost = adsorption.at(298.15, 1e5).minus_tds + 298.15 * species_entropy
    # NIST-JANAF: 130.680 J/(mol K) at 1 bar.
    assert 2 * lost / 298.15 * constants.e * constants.N_A == pytest.approx(130.68, abs=0.6)


def test_the_parts_add_up_to_the_whole(adsorption: Reaction, species: dict[str, Any]) -> None:
    g = adsorption.at(400, 1e4)
    assert g.de == pytest.approx(-116.2 + 100.0 + 31.7 / 2)
    assert g.dzpe == pytest.approx(species["H*"].zpe_ev - species["H2"].thermo(model="ideal_gas").zpe_ev / 2)
    assert g.dg == pytest.approx(g.dh + g.minus_tds)
    hydrogen = species["H2"].thermo(400, 1e4, "ideal_gas")
    adsorbed = species["H*"].thermo(400)
    gibbs = adsorbed.energy_ev + adsorbed.free_energy_ev + 100 - (-31.7 + hydrogen.free_energy_ev) / 2
    assert g.dg == pytest.approx(gibbs, abs=1e-9)
    assert g.error == pytest.approx(sqrt(4e-4**2 + (3e-4 / 2) ** 2))
    assert "ΔG = " in repr(g)
    assert str(adsorption) == "* + 0.5 H2 → H*"


def test_a_gas_that_is_consumed_is_worth_kt_ln_p(adsorption: Reaction) -> None:
    low, high = adsorption.at(298.15, 1e3), adsorption.at(298.15, 1e5)
    assert low.dg - high.dg == pytest.approx(KT * log(100) / 2, rel=1e-6)
    assert adsorption.at(298.15, {"H2": 1e3}).dg == pytest.approx(low.dg)
    with pytest.raises(InputError) as caught:
        adsorption.at(298.15, {"O2": 1e3})
    assert caught.value.code == "bad_pressure"


def test_the_hydrogen_electrode_is_hydrogen_at_no_potential_and_moves_with_it(
    adsorption: Reaction, species: dict[str, Any]
) -> None:
    volmer = zpe_sdk.reaction({"H*": 1, "*": -1, "H+": -1, "e-": -1}, species)
    here = volmer.at(298.15)
    assert here.dg == pytest.approx(adsorption.at(298.15, 1e5).dg, abs=1e-9)
    assert volmer.at(298.15, potential=-0.3).dg == pytest.approx(here.dg - 0.3)
    # 59 mV for each step of pH, and hydrogen above the electrode is no part of it.
    assert volmer.at(298.15, ph=7).dg - here.dg == pytest.approx(7 * 0.05916, abs=1e-4)
    assert volmer.at(298.15, 10.0).dg == pytest.approx(here.dg)
    heyrovsky = zpe_sdk.reaction({"H2": 1, "*": 1, "H*": -1, "H+": -1, "e-": -1}, species)
    whole = volmer.at(298.15, potential=0.1).dg + heyrovsky.at(298.15, potential=0.1).dg
    assert whole == pytest.approx(0.2)
    assert "0.1 V" in volmer.plot(potential=0.1).get_title()


@pytest.mark.parametrize(
    ("coefficients", "told"),
    [
        ({"H*": 1, "*": -1, "H2": -1}, "-1 H"),
        ({"H*": 1, "*": -1, "H2": -0.5, "e-": 1}, "as many H"),
        ({"H*": 1, "*": -1, "CO": -1}, "no result of CO"),
    ],
)
def test_a_reaction_that_does_not_add_up_is_refused(
    species: dict[str, Any], coefficients: dict[str, float], told: str
) -> None:
    with pytest.raises(InputError, match=told) as caught:
        zpe_sdk.reaction(coefficients, species)
    assert caught.value.code == "bad_reaction"


def test_what_differs_in_the_physics_is_told(species: dict[str, Any]) -> None:
    softer = pw_text("Al 0 0 0 0 0 0", "Al 26.98 Al.UPF").replace("ecutwfc = 30", "ecutwfc = 25")
    mixed = {**species, "*": energy(softer, -100.0)}
    with pytest.raises(InputError, match=r"ecutwfc: 25\.0 \(\*\), 30\.0 \(H\*\)") as caught:
        zpe_sdk.reaction(ADSORPTION, mixed)
    assert caught.value.code == "not_comparable"
    allowed = zpe_sdk.reaction(ADSORPTION, mixed, allow_differences=True)
    assert any("ecutwfc" in warning for warning in allowed.warnings)


def told(**texts: str) -> list[str]:
    return differences({name: energy(text, -1.0).document for name, text in texts.items()})


def test_only_physics_has_to_agree() -> None:
    slab = pw_text("Al 0 0 0", "Al 26.98 Al.UPF", box=4.0, kpoints="automatic\n 8 8 8 0 0 0")
    smeared = ", occupations = 'smearing', smearing = 'cold', degauss = 0.01"
    wide = pw_text("Al 0 0 0", "Al 26.98 Al.UPF", box=8.0, system=", nspin = 2, tot_charge = 1")
    assert told(slab=slab.replace("= 30", f"= 30{smeared}"), atom=wide) == []
    for change, what in [
        (", vdw_corr = 'dft-d3'", ["vdw_corr"]),
        (", vdw_corr = 'none', nosym = .true.", []),
        (", input_dft = 'pbesol'", ["input_dft"]),
        (", lda_plus_u = .true., Hubbard_U(1) = 2.0", ["lda_plus_u", "hubbard_u of Al"]),
    ]:
        found = told(slab=slab, other=slab.replace("= 30", f"= 30{change}"))
        assert [sentence.partition(":")[0] for sentence in found] == what
    other_file = slab.replace("Al.UPF", "Al.pbesol.UPF")
    assert "pseudopotential of Al" in told(slab=slab, other=other_file)[0]
    hot = slab.replace("= 30", f"= 30{smeared}").replace("0.01", "0.02")
    assert "smearing" in told(slab=slab.replace("= 30", f"= 30{smeared}"), other=hot)[0]


def test_k_points_are_compared_by_their_density_along_what_repeats() -> None:
    two = "\n".join(f"Al {x} {y} {z}" for x in (0, 2.8) for y in (0, 2.8) for z in (0, 2.8))
    small = pw_text("Al 0 0 0", "Al 26.98 Al.UPF", box=2.8, kpoints="automatic\n 8 8 8 0 0 0")
    same = pw_text(two, "Al 26.98 Al.UPF", box=5.6, kpoints="automatic\n 4 4 4 0 0 0")
    coarse = pw_text(two, "Al 26.98 Al.UPF", box=5.6, kpoints="automatic\n 2 2 2 0 0 0")
    assert told(small=small, same=same) == []
    assert "distance of k-points" in told(small=small, coarse=coarse)[0]


def test_vibrations_that_do_not_cancel_are_warned_of(species: dict[str, Any]) -> None:
    loose = vibrating(pw_text("Al 0 0 0\nH 0 0 1.6", SPECIES), energy_ev=-116.2)
    mixed = zpe_sdk.reaction(ADSORPTION, {**species, "H*": loose}, models={"H*": Harmonic()})
    assert any("vibrations of Al do not cancel" in warning for warning in mixed.warnings)
    assert mixed.at().error is None
    assert not any("cancel" in told for told in zpe_sdk.reaction(ADSORPTION, species).warnings)


def test_models_are_chosen_and_can_be_said(species: dict[str, Any]) -> None:
    chosen = zpe_sdk.reaction(ADSORPTION, species)
    same = zpe_sdk.reaction(
        ADSORPTION, species, models={"H*": "harmonic", "*": "electronic", "H2": IdealGas(symmetry_number=2)}
    )
    assert same.at(500).dg == chosen.at(500).dg
    raised = zpe_sdk.reaction(ADSORPTION, species, models={"H*": QuasiHarmonic(3000)})
    cm = np.maximum(species["H*"].frequencies_cm[species["H*"].frequencies_cm > 0], 3000)
    entropy = vibrational_entropy(cm, 500) / (constants.e * constants.N_A)
    gas = IdealGas().heat(species["H2"], 500, 1e5).entropy_ev_k
    assert raised.at(500).minus_tds == pytest.approx(-500 * (entropy - gas / 2), abs=1e-9)
    for wrong, code in [({"H*": "rigid"}, "bad_model"), ({"*": "harmonic"}, "bad_model")]:
        with pytest.raises(InputError) as caught:
            zpe_sdk.reaction(ADSORPTION, species, models=wrong).at()  # type: ignore[arg-type]
        assert caught.value.code == code


def test_high_barriers_make_oscillators_of_what_slides_and_turns() -> None:
    bound = vibrating(pw_text("Al 0 0 0 0 0 0\nH 0 0 1.9\nH 0 0.74 1.9", SPECIES))
    atoms = bound.atoms[[1, 2]]
    mass, inertia = atoms.get_masses().sum(), atoms.get_moments_of_inertia()[2]
    sites, barrier, minima = 1.5e15, 8.0, 6
    heat = Hindered(barrier, barrier, sites, minima).heat(bound, 298.15, 1e5)
    # At the bottom of W/2 (1 − cos) (Hill's potential): ν = (W/2ma²)^½ and n/2π (W/2I)^½.
    joule, area = barrier * constants.e, 1e-4 / sites
    slide = sqrt(joule / (2 * mass * constants.atomic_mass * area))
    turn = minima / (2 * pi) * sqrt(joule / (2 * inertia * constants.atomic_mass * 1e-20))
    to_cm = 1 / (100 * constants.c)
    rest = np.sort(np.abs(bound.frequencies_cm))[3:]
    cm = np.array([slide * to_cm, slide * to_cm, turn * to_cm, *rest])
    standard = exp(1 / 3) * (1e5 / (constants.k * 298.15)) ** (2 / 3)
    entropy = vibrational_entropy(cm, 298.15) / (constants.e * constants.N_A)
    entropy += constants.k / constants.e * (1 - log(standard * area))
    assert heat.entropy_ev_k == pytest.approx(entropy, rel=0.01)
    quanta = constants.h * constants.c * 100 * cm / constants.e
    assert heat.zpe_ev == pytest.approx(quanta.sum() / 2, rel=1e-6)
    with pytest.raises(InputError, match="two atoms"):
        Hindered(0.1, 0.1, 1e15, 3).heat(vibrating(pw_text("Al 0 0 0 0 0 0\nH 0 0 1.6", SPECIES)), 300, 1e5)
    with pytest.raises(InputError) as caught:
        Hindered(-0.1, 0.1, 1e15, 3).heat(bound, 300, 1e5)
    assert caught.value.code == "bad_model"


def test_the_table_has_a_row_for_each_temperature_and_pressure(adsorption: Reaction) -> None:
    table = adsorption.table([200, 300], [1e3, 1e5])
    assert table[["temperature_k", "pressure_pa"]].values.tolist() == [
        [200, 1e3],
        [200, 1e5],
        [300, 1e3],
        [300, 1e5],
    ]
    assert table["dg_ev"].iloc[3] == pytest.approx(adsorption.at(300, 1e5).dg)
    named = adsorption.table(300, {"H2": 1e3})
    assert named["pressure_H2_pa"].iloc[0] == 1e3


def test_steps_are_drawn_one_upon_the_other(adsorption: Reaction, species: dict[str, Any]) -> None:
    matplotlib.use("Agg")
    back = zpe_sdk.reaction({"H*": -1, "*": 1, "H2": 0.5}, species)
    axes = zpe_sdk.step_diagram([adsorption, back], 300)
    levels = axes.collections[1].get_segments()
    heights = [segment[0][1] for segment in levels]
    assert heights == pytest.approx([0, adsorption.at(300).dg, 0])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["* + 0.5 H2", "H*", "* + 0.5 H2"]
    with pytest.raises(InputError):
        zpe_sdk.step_diagram([])


def test_springs_are_told(species: dict[str, Any]) -> None:
    mock = PRINT.model_copy(update={"engine": "mock"})
    springs = {
        name: type(result)(result.document.model_copy(update={"fingerprint": mock}))
        for name, result in species.items()
    }
    assert "MOCK" in repr(zpe_sdk.reaction(ADSORPTION, springs))
    assert "MOCK" in zpe_sdk.reaction(ADSORPTION, springs).plot().get_title()
    assert "MOCK" not in repr(zpe_sdk.reaction(ADSORPTION, species))
    with pytest.raises(InputError, match="program"):
        zpe_sdk.reaction(ADSORPTION, {**springs, "H2": species["H2"]})
