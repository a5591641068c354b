"""The mock engine: springs that obey physics, and failures on demand."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import numpy as np
import pytest
from numpy.typing import NDArray

from zpe_sdk.errors import ZPEError
from zpe_sdk.espresso.input import parse
from zpe_sdk.espresso.moved import moved_text
from zpe_sdk.vibrations.modes import normal_modes
from zpe_sdk.wire import JobPayload, RelaxationState, Task, TaskReport
from zpe_sdk.worker.engines import StepTaken
from zpe_sdk.worker.engines.mock import MockEngine
from zpe_sdk.worker.engines.mock_relaxation import Bonds
from zpe_sdk.worker.settings import WorkerSettings

WATER = """&CONTROL
  calculation = 'scf' {control}
/
&SYSTEM
  ibrav = 1, A = 8.0, nat = 3, ntyp = 2, ecutwfc = 30.0
/
&ELECTRONS
/
ATOMIC_SPECIES
O 15.999 O.pbe-kjpaw.UPF
H 1.008 H.pbe-kjpaw.UPF
ATOMIC_POSITIONS angstrom
O 0.0 0.0 0.119
H 0.0 0.763 -0.477
H 0.0 -0.763 -0.477
K_POINTS gamma
"""
DELTA = 1e-3  # central differences of springs are symmetric up to its square


def engine(tmp_path: Path, **options: object) -> MockEngine:
    return MockEngine(WorkerSettings.model_validate({"work_dir": tmp_path, "worker_mode": "mock", **options}))


def payload(control: str = "") -> JobPayload:
    return JobPayload(
        content=WATER.format(control=control),
        mobile_indices=[0, 1, 2],
        delta=DELTA,
        low_cut_cm=50,
        temperature=300,
    )


def forces(mock: MockEngine, task: Task) -> NDArray[np.float64]:
    return np.array(mock.run(payload(), task, job_id="job", stop=Event()).forces_ev_ang)


def hessian(mock: MockEngine) -> NDArray[np.float64]:
    """Central differences over all nine coordinates, without any symmetry."""
    rows = []
    for atom in range(3):
        for axis in range(3):
            step = np.eye(3)[axis] * DELTA
            plus, minus = (
                forces(mock, Task(index=1, atom=atom, displacement=tuple(sign * step))) for sign in (1, -1)
            )
            rows.append((minus - plus).ravel() / (2 * DELTA))
    return np.array(rows)


def test_an_input_stands_at_the_minimum_and_is_pushed_back_to_it(tmp_path: Path) -> None:
    mock = engine(tmp_path)
    rest = mock.run(payload(), Task(index=0), job_id="job", stop=Event())
    np.testing.assert_array_equal(rest.forces_ev_ang, np.zeros((3, 3)))
    moved = mock.run(payload(), Task(index=1, atom=1, displacement=(0, DELTA, 0)), job_id="job", stop=Event())
    assert moved.energy_ev > rest.energy_ev
    assert moved.forces_ev_ang[1][1] < 0
    np.testing.assert_allclose(np.sum(moved.forces_ev_ang, axis=0), 0, atol=1e-9)  # Newton's third law


def test_forces_are_the_gradient_of_the_energy(tmp_path: Path) -> None:
    mock, h = engine(tmp_path), 1e-4

    def energy(y: float) -> float:
        task = Task(index=1, atom=1, displacement=(0, y, 0))
        return mock.run(payload(), task, job_id="job", stop=Event()).energy_ev

    force = forces(mock, Task(index=1, atom=1, displacement=(0, 0.05, 0)))[1, 1]
    assert force == pytest.approx(-(energy(0.05 + h) - energy(0.05 - h)) / (2 * h), rel=1e-4)


def test_water_on_springs_has_three_vibrations_and_a_symmetric_hessian(tmp_path: Path) -> None:
    found = hessian(engine(tmp_path))
    np.testing.assert_allclose(found, found.T, atol=1e-4)  # eV/Å², of 60
    masses = np.array([15.999, 1.008, 1.008])
    frequencies = np.sort(normal_modes(found, masses).frequencies_cm)
    # Translations and rotations cost nothing; stretches and the bend are as stiff as water's are.
    assert np.abs(frequencies[:6]).max() < 20
    assert 1000 < frequencies[6] < 2000
    assert 3000 < frequencies[7] < frequencies[8] < 4500


def test_the_same_input_gives_the_same_numbers_everywhere(tmp_path: Path) -> None:
    task = Task(index=1, atom=0, displacement=(DELTA, 0, 0))
    one, other = (
        engine(tmp_path / name).run(payload(), task, job_id=name, stop=Event()) for name in ("a", "b")
    )
    assert one.forces_ev_ang == other.forces_ev_ang
    assert one.energy_ev == other.energy_ev
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize(
    ("title", "outcomes"),
    [
        ("mock: fail=scf_not_converged task=2 times=2", ["scf_not_converged", "scf_not_converged", None]),
        ("mock: fail=pseudopotential_missing", ["pseudopotential_missing", None]),
        ("mock: fail=bad_input times=always", ["bad_input"] * 3),
        ("mock: fail=pw_crashed task=1", [None]),
        ("mock: fail=no_such_failure", ["bad_input"]),
        ("water", [None]),
    ],
)
def test_failures_happen_as_scripted_across_restarts(
    title: str, outcomes: list[str | None], tmp_path: Path
) -> None:
    for outcome in outcomes:
        mock = engine(tmp_path)  # a new process each time
        scripted = payload(f", title = '{title}'")
        if outcome is None:
            mock.run(scripted, Task(index=2), job_id="job", stop=Event())
        else:
            with pytest.raises(ZPEError) as caught:
                mock.run(scripted, Task(index=2), job_id="job", stop=Event())
            assert caught.value.code == outcome


def test_a_stopped_run_says_so_and_leaves_no_line_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "mock.log"
    mock = engine(tmp_path, mock_scf_seconds=3600, mock_log=log)
    stop = Event()
    stop.set()
    with pytest.raises(ZPEError) as caught:
        mock.run(payload(), Task(index=0), job_id="job", stop=stop)
    assert caught.value.code == "stopped"
    assert not log.exists()


def relax(
    mock: MockEngine, state: RelaxationState | None = None, *, control: str = ""
) -> tuple[TaskReport, list[StepTaken]]:
    taken: list[StepTaken] = []
    report = mock.relax(
        payload(control),
        state or RelaxationState(steps=50),
        job_id="job",
        stop=Event(),
        on_step=taken.append,
    )
    return report, taken


def test_a_relaxation_ends_at_the_lengths_of_covalent_bonds_and_stays_there(tmp_path: Path) -> None:
    mock = engine(tmp_path)
    report, taken = relax(mock)
    assert report.relaxation is not None
    assert report.relaxation.converged
    forces = [one.step.max_force_ev_ang for one in taken]
    assert 3 < len(forces) < 20
    assert forces == sorted(forces, reverse=True)
    o, h, _ = np.array(report.relaxation.positions)
    assert np.linalg.norm(o - h) == pytest.approx(0.66 + 0.31, abs=1e-3)  # Å, O and H
    relaxed = payload().model_copy(
        update={"content": moved_text(parse(payload().content), np.array(report.relaxation.positions))}
    )
    again: list[StepTaken] = []
    mock.relax(relaxed, RelaxationState(steps=50), job_id="job", stop=Event(), on_step=again.append)
    assert len(again) == 1


def test_whoever_goes_on_with_a_relaxation_takes_the_same_steps(tmp_path: Path) -> None:
    _, alone = relax(engine(tmp_path / "one"))
    report, first = relax(engine(tmp_path / "two"), RelaxationState(steps=3))
    assert report.relaxation is not None
    assert report.relaxation.reason == "steps"
    state = RelaxationState(done=3, positions=first[-1].next_positions, steps=47)
    _, second = relax(engine(tmp_path / "three"), state)
    steps = [[one.step.index, one.step.positions, one.step.energy_ev] for one in [*first, *second]]
    assert steps == [[one.step.index, one.step.positions, one.step.energy_ev] for one in alone]


def test_relaxed_bonds_pull_along_the_gradient_of_their_energy(tmp_path: Path) -> None:
    bonds, h = Bonds(parse(payload().content)), 1e-5
    start = parse(payload().content).positions
    _, forces = bonds.forces(start)
    for atom, axis in ((1, 1), (2, 2)):
        step = np.zeros((3, 3))
        step[atom, axis] = h
        slope = (bonds.forces(start + step)[0] - bonds.forces(start - step)[0]) / (2 * h)
        assert forces[atom, axis] == pytest.approx(-slope, abs=1e-4)


def test_a_relaxation_fails_as_scripted(tmp_path: Path) -> None:
    mock = engine(tmp_path)
    script = ", title = 'mock: fail=pw_crashed task=0'"
    with pytest.raises(ZPEError) as caught:
        relax(mock, control=script)
    assert caught.value.code == "pw_crashed"
    report, _ = relax(mock, control=script)
    assert report.relaxation is not None
    assert report.relaxation.converged
