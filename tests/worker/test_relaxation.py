"""Relaxations with the real pw.x: where they end, and how another engine goes on when one has died."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.optimize import BFGS

from tests.processes import running_in
from tests.programs import PW_PATH, SECOND, needs_second
from zpe_sdk.errors import ComputeError, ZPEError
from zpe_sdk.espresso.input import parse
from zpe_sdk.espresso.moved import moved_text
from zpe_sdk.wire import JobPayload, RelaxationState, RelaxOptions, Task, TaskReport
from zpe_sdk.worker.engines import StepTaken
from zpe_sdk.worker.engines.espresso import EspressoEngine
from zpe_sdk.worker.settings import WorkerSettings

PSEUDO_DIR = Path("/usr/share/espresso/pseudo")
WATER = """&CONTROL
/
&SYSTEM
  ibrav = 1, A = 6.0, nat = 3, ntyp = 2, ecutwfc = 25.0, ecutrho = 150.0
/
&ELECTRONS
  {electrons}
/
ATOMIC_SPECIES
O 15.999 O.pbe-kjpaw.UPF
H 1.008 H.pbe-kjpaw.UPF
ATOMIC_POSITIONS angstrom
O 0.0 0.0 0.0 0 0 0
H 0.0 0.85 0.60
H 0.0 -0.85 0.60
K_POINTS gamma
"""
# Three layers: the lowest fixed, the middle one free along z alone, the uppermost too far out.
SLAB = """&CONTROL
  calculation = 'relax'
/
&SYSTEM
  ibrav = 0, nat = 3, ntyp = 1, ecutwfc = 12.0, occupations = 'smearing', smearing = 'mv', degauss = 0.03
/
&ELECTRONS
/
&IONS
  trust_radius_ini = 0.1
/
ATOMIC_SPECIES
Al 26.98 Al.pz-vbc.UPF
CELL_PARAMETERS angstrom
2.82 0.0 0.0
1.41 2.4422 0.0
0.0 0.0 13.0
ATOMIC_POSITIONS angstrom
Al 0.0 0.0 0.0 0 0 0
Al 1.41 0.8141 2.30 0 0 1
Al 2.82 1.6281 4.85
K_POINTS automatic
3 3 1 0 0 0
"""
# Two atoms that only their spins keep: cheap, and magnetic.
TRIPLET = """&CONTROL
/
&SYSTEM
  ibrav = 1, A = 6.0, nat = 2, ntyp = 1, ecutwfc = 25.0, ecutrho = 150.0
  nspin = 2, occupations = 'smearing', degauss = 0.01, tot_magnetization = 2.0
/
&ELECTRONS
/
ATOMIC_SPECIES
O 15.999 O.pbe-kjpaw.UPF
ATOMIC_POSITIONS angstrom
O 0.0 0.0 0.0 0 0 0
O 0.0 0.0 1.30
K_POINTS gamma
"""
HYDROGEN = """&CONTROL
/
&SYSTEM
  ibrav = 1, A = 4.0, nat = 2, ntyp = 1, ecutwfc = 12.0, ecutrho = 60.0
/
&ELECTRONS
  {electrons}
/
ATOMIC_SPECIES
H 1.008 H.pbe-kjpaw.UPF
ATOMIC_POSITIONS angstrom
H 0.0 0.0 0.0 0 0 0
H 0.0 0.0 0.85
K_POINTS gamma
"""
FMAX = 0.02

pytestmark = pytest.mark.qe


def engine(folder: Path, pw_path: str = PW_PATH) -> EspressoEngine:
    settings = {"work_dir": folder, "pseudo_dir": PSEUDO_DIR, "pw_path": pw_path}
    return EspressoEngine(WorkerSettings.model_validate(settings))


def payload(content: str, fmax: float = FMAX) -> JobPayload:
    return JobPayload(
        content=content,
        kind="relax",
        stage="relax",
        relax=RelaxOptions(fmax=fmax),
        mobile_indices=[],
        delta=0.01,
        low_cut_cm=50,
        temperature=300,
    )


def water(electrons: str = "") -> str:
    return WATER.format(electrons=electrons)


def relax(
    pw: EspressoEngine, content: str, state: RelaxationState | None = None, **options: Any
) -> tuple[TaskReport, list[StepTaken]]:
    taken: list[StepTaken] = []
    report = pw.relax(
        payload(content),
        state or RelaxationState(steps=40),
        job_id="job",
        **{"stop": Event(), "on_step": taken.append, **options},
    )
    return report, taken


def state_after(taken: list[StepTaken], *, steps: int = 40) -> RelaxationState:
    last = taken[-1]
    return RelaxationState(
        done=last.step.index + 1, positions=last.next_positions, history=last.history, steps=steps
    )


def bonds(positions: Any) -> tuple[float, float, float]:
    """Both O-H distances (Å) and the angle (degrees) of water."""
    atoms = Atoms("OH2", positions)
    return atoms.get_distance(0, 1), atoms.get_distance(0, 2), atoms.get_angle(1, 0, 2)


class OneByOne(Calculator):
    """ASE's own way: each structure an SCF of ours."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, pw: EspressoEngine, content: str) -> None:
        super().__init__()
        self.pw, self.input = pw, parse(content)

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        content = moved_text(self.input, self.atoms.positions)
        report = self.pw.run(payload(content), Task(index=0), job_id="ase", stop=Event())
        self.results = {"energy": report.energy_ev, "forces": np.array(report.forces_ev_ang)}


def test_water_relaxes_to_where_ase_relaxes_it(tmp_path: Path) -> None:
    pw = engine(tmp_path)
    report, taken = relax(pw, water())
    assert report.relaxation is not None
    assert report.relaxation.converged
    assert report.task == 0
    steps = [one.step for one in taken]
    assert [step.index for step in steps] == list(range(len(steps)))
    assert steps[0].positions == [(0, 0, 0), (0, 0.85, 0.6), (0, -0.85, 0.6)]
    for one, following in zip(taken, steps[1:], strict=False):
        assert one.next_positions == following.positions
    assert taken[-1].next_positions is None
    assert steps[-1].max_force_ev_ang < FMAX < steps[0].max_force_ev_ang
    assert (steps[-1].energy_ev, steps[-1].positions) == (report.energy_ev, report.relaxation.positions)
    assert report.energy_ev < steps[0].energy_ev
    # The input fixes O, whose force pw.x tells all the same, and symmetry keeps both bonds alike.
    assert steps[-1].positions[0] == (0, 0, 0)
    first, second, angle = bonds(steps[-1].positions)
    assert first == pytest.approx(second, abs=1e-5)
    atoms = Atoms("OH2", steps[0].positions, calculator=OneByOne(pw, water()))
    from ase.constraints import FixAtoms

    atoms.set_constraint(FixAtoms([0]))
    BFGS(atoms, logfile=None).run(fmax=FMAX / 4)
    theirs = bonds(atoms.positions)
    assert first == pytest.approx(theirs[0], abs=2e-3)
    assert angle == pytest.approx(theirs[2], abs=0.5)


@pytest.mark.parametrize("pw_path", [PW_PATH, pytest.param(str(SECOND), marks=needs_second)])
def test_a_relaxation_killed_twice_takes_the_path_of_one_left_alone(tmp_path: Path, pw_path: str) -> None:
    alone = [one.step for one in relax(engine(tmp_path / "alone", pw_path), water())[1]]
    steps: list[StepTaken] = []
    for life, kills_at in enumerate([0, 2]):
        folder = (tmp_path / f"life{life}").resolve()
        run_folder = folder / "jobs" / "job" / "relaxation"

        def note(taken: StepTaken, *, last: int = kills_at, where: Path = run_folder) -> None:
            steps.append(taken)
            if taken.step.index == last:
                for process in running_in(where):
                    # pw.x, or the script that stands for it; the keeper lives, and tells of its death
                    if b"keeper.py" not in Path(f"/proc/{process}/cmdline").read_bytes():
                        os.kill(process, signal.SIGKILL)

        with pytest.raises(ComputeError) as caught:
            relax(
                engine(folder, pw_path),
                water(),
                state_after(steps) if steps else None,
                on_step=note,
            )
        assert caught.value.code == "pw_killed"
        assert steps[-1].step.index == kills_at
    report, rest = relax(engine(tmp_path / "last", pw_path), water(), state_after(steps))
    together = [one.step for one in [*steps, *rest]]
    assert report.relaxation is not None
    assert report.relaxation.converged
    assert [step.index for step in together] == list(range(len(alone)))
    for ours, undisturbed in zip(together, alone, strict=True):
        np.testing.assert_allclose(ours.positions, undisturbed.positions, atol=1e-3)
        assert ours.energy_ev == pytest.approx(undisturbed.energy_ev, abs=1e-4)


@needs_second
def test_another_version_goes_on_without_the_history_that_it_cannot_read(tmp_path: Path) -> None:
    _, first = relax(engine(tmp_path / "one"), water(), RelaxationState(steps=2))
    report, _ = relax(engine(tmp_path / "two", str(SECOND)), water(), state_after(first))
    assert report.relaxation is not None
    assert report.relaxation.converged


def test_layers_and_components_that_are_fixed_stay_and_a_metal_keeps_its_symmetry(tmp_path: Path) -> None:
    report, taken = relax(engine(tmp_path), SLAB)
    assert report.relaxation is not None
    assert report.relaxation.converged
    before, after = np.array(taken[0].step.positions), np.array(report.relaxation.positions)
    np.testing.assert_allclose(after[0], before[0], atol=1e-9)
    np.testing.assert_allclose(after[:, :2], before[:, :2], atol=1e-4)
    assert after[2, 2] < 4.75  # it was too far out
    assert abs(after[1, 2] - before[1, 2]) > 1e-3
    free = np.array(report.forces_ev_ang)[[1, 2], 2]
    assert np.abs(free).max() < FMAX


def test_a_magnetic_molecule_keeps_its_moments_from_step_to_step(tmp_path: Path) -> None:
    report, taken = relax(engine(tmp_path), TRIPLET)
    assert report.relaxation is not None
    assert report.relaxation.converged
    assert [one.step.total_magnetization for one in taken] == pytest.approx([2.0] * len(taken), abs=0.01)
    # PBE: 1.22 Å (experiment 1.208 Å, Huber and Herzberg 1979); these cutoffs are low.
    assert report.relaxation.positions[1][2] == pytest.approx(1.22, abs=0.03)


def test_too_few_steps_end_with_the_last_structure_and_more_may_follow(tmp_path: Path) -> None:
    pw = engine(tmp_path)
    report, taken = relax(pw, water(), RelaxationState(steps=2))
    assert report.relaxation is not None
    assert (report.relaxation.reason, len(taken)) == ("steps", 2)
    assert report.relaxation.positions == taken[-1].step.positions
    report, more = relax(pw, water(), state_after(taken))
    assert report.relaxation is not None
    assert report.relaxation.converged
    assert more[0].step.index == 2


def test_an_scf_that_does_not_converge_is_tried_once_more_gently_and_then_named(tmp_path: Path) -> None:
    # So few iterations that the first structure fails; the second try may take 200.
    report, _ = relax(engine(tmp_path / "mended"), water("electron_maxstep = 5"))
    assert report.relaxation is not None
    assert report.relaxation.converged
    with pytest.raises(ZPEError) as caught:
        relax(engine(tmp_path / "hopeless"), HYDROGEN.format(electrons="conv_thr = 1e-40"))
    assert caught.value.code == "scf_not_converged"


def test_an_atom_that_flies_off_is_named(tmp_path: Path) -> None:
    # Two protons and a fifth of an electron: they repel each other.
    bare = "tot_charge = 1.8, occupations = 'smearing', degauss = 0.02"
    content = HYDROGEN.format(electrons="").replace("ecutrho = 60.0", f"ecutrho = 60.0, {bare}")
    content = content.replace("A = 4.0", "A = 7.0")
    report, taken = relax(engine(tmp_path), content)
    assert report.relaxation is not None
    assert report.relaxation.reason == "atom_lost"
    assert "atom 1 (H)" in (report.relaxation.detail or "")
    assert report.relaxation.positions == taken[-1].step.positions
    assert taken[-1].next_positions is None


def test_a_stop_ends_it_at_once_and_the_steps_so_far_are_told(tmp_path: Path) -> None:
    stop, taken = Event(), []

    def note(step: StepTaken) -> None:
        taken.append(step)
        stop.set()

    with pytest.raises(ComputeError) as caught:
        relax(engine(tmp_path), water(), on_step=note, stop=stop)
    assert caught.value.code == "stopped"
    assert len(taken) == 1
    assert not list(tmp_path.glob("jobs/job/*"))


def test_the_equilibrium_starts_from_the_density_of_the_last_step(tmp_path: Path) -> None:
    pw = engine(tmp_path / "same")
    report, _ = relax(pw, water())
    assert report.relaxation is not None
    relaxed = payload(moved_text(parse(water()), np.array(report.relaxation.positions)))
    warm = pw.run(relaxed, Task(index=0), job_id="job", stop=Event())
    cold = engine(tmp_path / "other").run(relaxed, Task(index=0), job_id="job", stop=Event())
    assert warm.scf_iterations is not None
    assert cold.scf_iterations is not None
    assert warm.scf_iterations < cold.scf_iterations
    np.testing.assert_allclose(warm.forces_ev_ang, cold.forces_ev_ang, atol=3e-5)
    # What the relaxation said of its end is what an SCF of its own says.
    np.testing.assert_allclose(report.forces_ev_ang, cold.forces_ev_ang, atol=1e-3)
    assert report.energy_ev == pytest.approx(cold.energy_ev, abs=1e-6)
    assert [path.name for path in (tmp_path / "same" / "jobs" / "job").iterdir()] == ["equilibrium.save"]
