"""Energies and relaxed structures: their documents, and what people and programs read of them."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from tests.structures import TEXT as IRON
from tests.structures import energy_document, make, payload, relaxation_document, report, step
from zpe_sdk.errors import InputError
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.result.structure_text import structure_csv, structure_summary


def test_an_energy_has_the_forces_and_what_was_asked_for() -> None:
    d = energy_document()
    assert d.kind == "energy"
    assert d.energy_ev == pytest.approx(-99.91)
    assert (d.ecutwfc, d.ecutrho, d.kpts) == (30, 240, (2, 2, 1))
    assert d.qe_input == IRON
    assert d.elapsed_seconds == 12.5
    assert [(run.worker, run.scf_seconds) for run in d.tasks] == [("ada", 1.5)]


def test_a_force_that_the_flags_take_away_is_not_the_largest() -> None:
    d = energy_document()
    # Along x the hydrogen feels 0.5 eV/Å and is held, as the iron is altogether.
    assert d.free == [(False, False, False), (False, False, False), (False, True, True)]
    assert d.max_force_ev_ang == pytest.approx(0.6)


def test_the_input_of_a_relaxation_has_the_relaxed_positions() -> None:
    d = relaxation_document()
    again = PwInput.parse(d.qe_input)
    np.testing.assert_allclose(again.positions, d.positions, atol=1e-12)
    np.testing.assert_array_equal(again.free, d.free)
    assert d.qe_input.splitlines()[:16] == IRON.splitlines()[:16]
    assert [(run.task, run.worker) for run in d.tasks] == [(0, "ada"), (1, "ada"), (2, "bob")]
    assert d.warnings == []


def test_a_relaxation_that_did_not_get_there_says_so() -> None:
    d = relaxation_document(reason="steps")
    assert any("forces are still too large" in warning for warning in d.warnings)
    assert "forces are still too large" in structure_summary(d)


def test_a_relaxation_lacks_nothing() -> None:
    steps = [step(n) for n in range(3)]
    pw_input, end = PwInput.parse(IRON), report(steps[-1], reason="converged")
    for bad, what in [(steps[1:], end), ([], end), (steps, report(steps[-1]))]:
        with pytest.raises(InputError) as caught:
            make(payload("relax"), pw_input, what, bad, workers=dict.fromkeys(range(3), "ada"))
        assert caught.value.code == "relaxation_missing"
    short = end.model_copy(update={"forces_ev_ang": end.forces_ev_ang[:2]})
    with pytest.raises(InputError) as caught:
        make(payload("relax"), pw_input, short, steps, workers=dict.fromkeys(range(3), "ada"))
    assert caught.value.code == "forces_missing"


def test_the_summary_tells_energy_steps_structure_and_workers() -> None:
    text = structure_summary(relaxation_document())
    assert text.startswith("# Relaxation summary: HFe2, 1 of 3 atoms free to move\n")
    for told in ("-99.999999 eV", "0.002000 eV/Å", "3 steps", "1.20100000   0 1 1", "ada: 2 SCFs, 3.0 s"):
        assert told in text
    assert structure_summary(energy_document()).startswith("# Energy summary: HFe2")


def test_the_table_has_a_line_for_each_step() -> None:
    rows = list(csv.DictReader(io.StringIO(structure_csv(relaxation_document()))))
    assert [float(row["max_force_eV_per_A"]) for row in rows] == pytest.approx([0.6, 0.2, 0.002])
    assert [row["step"] for row in rows] == ["0", "1", "2"]
    [row] = csv.DictReader(io.StringIO(structure_csv(energy_document())))
    assert float(row["energy_eV"]) == pytest.approx(-99.91)


def test_springs_are_told_in_summary_and_every_row() -> None:
    for document in (energy_document(engine="mock"), relaxation_document(engine="mock")):
        assert "MOCK" in structure_summary(document).splitlines()[0]
        assert all(line.endswith(",MOCK") for line in structure_csv(document).splitlines()[1:])
