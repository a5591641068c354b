"""Energies and relaxed structures: their documents, and what people and programs read of them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from ase.io import read

from tests.structures import TEXT as IRON
from tests.structures import energy_document, make, payload, relaxation_document, report, step
from tests.vibrations.test_result import Job, pw_text
from zpe_sdk.errors import ComputeError, InputError
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.render import render_input
from zpe_sdk.result.kinds import read_result
from zpe_sdk.result.result import ZPEResult
from zpe_sdk.result.structure import EnergyResult, RelaxationResult
from zpe_sdk.result.structure_text import structure_csv, structure_summary
from zpe_sdk.wire import RelaxationRecord


def test_an_energy_has_the_forces_and_what_was_asked_for() -> None:
    d = energy_document()
    assert d.kind == "energy"
    assert d.energy_ev == pytest.approx(-99.91)
    assert (d.ecutwfc, d.ecutrho, d.kpts) == (30, 240, (2, 2, 1))
    assert d.pw_input == IRON
    assert d.elapsed_seconds == 12.5
    assert [(run.worker, run.scf_seconds) for run in d.tasks] == [("ada", 1.5)]


def test_a_force_that_the_flags_take_away_is_not_the_largest() -> None:
    d = energy_document()
    # Along x the hydrogen feels 0.5 eV/Å and is held, as the iron is altogether.
    assert d.free == [(False, False, False), (False, False, False), (False, True, True)]
    assert d.max_force_ev_ang == pytest.approx(0.6)


def test_the_input_of_a_relaxation_has_the_relaxed_positions() -> None:
    d = relaxation_document()
    again = PwInput.parse(d.pw_input)
    np.testing.assert_allclose(again.positions, d.positions, atol=1e-12)
    np.testing.assert_array_equal(again.free, d.free)
    assert d.pw_input.splitlines()[:16] == IRON.splitlines()[:16]
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


def test_the_atoms_of_a_relaxation_are_held_and_magnetised_as_in_the_input() -> None:
    atoms = RelaxationResult(relaxation_document()).atoms
    np.testing.assert_allclose(atoms.positions[2], (1.2, 0, 1.201))
    np.testing.assert_allclose(atoms.get_initial_magnetic_moments(), (2.3, -2.3, 0))
    assert atoms.get_potential_energy() == pytest.approx(-99.999999)
    # ASE's forces are those of what is free to move.
    np.testing.assert_allclose(atoms.get_forces(), [(0, 0, 0), (0, 0, 0), (0, 0, -0.002)], atol=1e-12)


def test_the_atoms_of_a_result_written_as_an_input_give_the_same_physics() -> None:
    document = relaxation_document()
    text = render_input(
        RelaxationResult(document).atoms,
        pseudopotentials={"Fe": "Fe.UPF", "H": "H.UPF"},
        ecutwfc=30,
        ecutrho=240,
        kpts=(2, 2, 1),
        input_data={"nspin": 2, "occupations": "fixed"},
    )
    mine, theirs = PwInput.parse(text), PwInput.parse(document.pw_input)
    np.testing.assert_allclose(mine.positions, theirs.positions, atol=1e-9)
    np.testing.assert_array_equal(mine.free, theirs.free)
    moments = mine.namelists["system"]["starting_magnetization"]
    share = dict(zip((s.label for s in mine.species), moments, strict=False))
    assert [share[label] for label in mine.labels] == pytest.approx([0.23, -0.23, 0])


def test_the_way_of_a_relaxation_can_be_written_and_read_by_ase(tmp_path: Path) -> None:
    result = RelaxationResult(relaxation_document())
    assert (result.reason, result.converged) == ("converged", True)
    np.testing.assert_allclose(result.energies, [-99.91, -99.99, -99.999999])
    np.testing.assert_allclose(result.max_forces, [0.6, 0.2, 0.002])
    for name in ("way.extxyz", "way.traj"):
        result.write(tmp_path / name)
        frames = read(tmp_path / name, index=":")
        assert [frame.positions[2, 2] for frame in frames] == pytest.approx([1.5, 1.3, 1.201])
        assert [frame.get_potential_energy() for frame in frames] == pytest.approx(result.energies)
        np.testing.assert_allclose(frames[0].get_forces(apply_constraint=False)[2], (0.5, 0, -0.6))
    with pytest.raises(InputError) as caught:
        result.write(tmp_path / "nowhere" / "way.traj")
    assert caught.value.code == "file_unwritable"


def test_the_plot_shows_both_energy_and_force() -> None:
    matplotlib.use("Agg")
    axes = RelaxationResult(relaxation_document(engine="mock")).plot()
    assert axes.get_title().startswith("MOCK HFe2")
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [89.999, 9.999, 0], atol=1e-6)
    [forces] = [other for other in axes.figure.axes if other is not axes]
    np.testing.assert_allclose(forces.lines[0].get_ydata(), [0.6, 0.2, 0.002])


def test_each_kind_is_read_as_what_it_is() -> None:
    for document, kind in [(energy_document(), EnergyResult), (relaxation_document(), RelaxationResult)]:
        result = read_result(document.model_dump(mode="json"))
        assert type(result) is kind
        assert kind.from_json(result.to_json()).document == document
    assert "-99.999999 eV, 3 steps, largest force 0.0020 eV/Å, converged" in repr(result)
    with pytest.raises(ComputeError, match="'optimise'"):
        read_result({"kind": "optimise"})
    with pytest.raises(InputError) as caught:
        EnergyResult.from_json(relaxation_document().model_dump_json())
    assert (caught.value.code, caught.value.field) == ("result_incomplete", "text")


def test_frequencies_after_a_relaxation_tell_of_it() -> None:
    document = Job(pw_text("H 0 0 0\nH 0 0 0.74")).result()
    assert ZPEResult(document).relaxation is None
    steps = [
        step(n).model_copy(update={"positions": [(0, 0, 0), (0, 0, z)], "forces_ev_ang": [(0, 0, 0)] * 2})
        for n, z in enumerate((0.9, 0.74))
    ]
    after = document.model_copy(update={"relaxation": RelaxationRecord(steps=steps, reason="converged")})
    result = read_result(after.model_dump(mode="json"))
    assert isinstance(result, ZPEResult)
    assert result.relaxation is not None
    np.testing.assert_allclose(result.relaxation.energies, [-99.91, -99.99])
    assert [atoms.get_distance(0, 1) for atoms in result.relaxation.trajectory] == pytest.approx([0.9, 0.74])
    assert "relaxed first: 2 steps, 80.0 meV down, to a largest force of 0.2000 eV/Å" in result.summary()


def test_an_energy_tells_its_dipole_where_it_is_known() -> None:
    assert EnergyResult(energy_document()).dipole is None
    told = report(step(0)).model_copy(update={"dipole_e_ang": (0.0, 0.3, -0.4)})
    document = make(payload("energy"), PwInput.parse(IRON), told, None, workers={0: "ada"})
    np.testing.assert_allclose(EnergyResult(document).dipole, [0.0, 0.3, -0.4])
    # 0.5 e Å.
    assert "2.4016 D" in structure_summary(document)
