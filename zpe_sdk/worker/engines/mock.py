"""An engine without quantum mechanics: atoms on springs, for teaching, demonstrations and tests.

Forces depend on the input alone: the same input gives the same numbers on every machine. The input's
structure is the minimum, each pair of neighbours is joined by a spring, and the stiffness follows from
the distance alone, so the crystal's symmetry holds exactly. Where a structure is to be relaxed, its bonds are
springs that want to be as long as the covalent radii say (:mod:`zpe_sdk.worker.engines.mock_relaxation`).

**Scripted failures.** An input whose title reads ::

    title = 'mock: fail=scf_not_converged task=2 times=1'

fails at task 2 the first time this worker runs it, and goes well after that. Without ``task`` every task
fails; ``times=always`` never goes well. ``fail`` takes any code of the list in ``FAILURES``, or
``electronic_state_differs``: the task goes well, but its energy is that of another state, 0.1 eV above.
Failures are counted in files below ``WORK_DIR/mock``, so that a restarted worker goes on counting.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection
from pathlib import Path
from threading import Event, Lock

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from ase.neighborlist import primitive_neighbor_list
from ase.units import Bohr, Rydberg
from numpy.typing import NDArray

from zpe_sdk.errors import ComputeError, ConfigError, InputError, ZPEError
from zpe_sdk.espresso import physics
from zpe_sdk.espresso.input import PwInput, parse
from zpe_sdk.espresso.relaxation import check_relaxation, force_threshold
from zpe_sdk.version import __version__
from zpe_sdk.wire import (
    Capabilities,
    Fingerprint,
    IonicStep,
    JobPayload,
    RelaxationEnd,
    RelaxationState,
    RelaxOptions,
    Task,
    TaskReport,
)
from zpe_sdk.worker.engines import OnIteration, OnStep, StepTaken
from zpe_sdk.worker.engines.cores import available_cores, available_memory_gb, memory_free_gb
from zpe_sdk.worker.engines.mock_relaxation import Bonds
from zpe_sdk.worker.engines.relaxing import max_force, rows
from zpe_sdk.worker.settings import WorkerSettings

# k(x) = STIFFNESS x^-DECAY (1 - (x/REACH)²)², x: distance in units of the covalent one.
# H2 comes out near 4450 cm⁻¹, H2O near 3800, 4100 and 1200 cm⁻¹.
STIFFNESS = 54.0  # eV/Å²
DECAY = 1.5
REACH = 5.0
ON_SITE = 0.5  # eV/Å², to its place, for every atom where some atoms are held fixed
RYDBERG_EV = 13.6
RYDBERG_PER_BOHR = Rydberg / Bohr  # eV/Å

OTHER_STATE = "electronic_state_differs"
EXCITATION_EV = 0.1

FAILURES: dict[str, type[ZPEError]] = {
    "scf_not_converged": ComputeError,
    "pw_crashed": ComputeError,
    "pw_killed": ComputeError,
    "out_of_memory": ComputeError,
    "pseudopotential_missing": ConfigError,
    "environ_missing": ConfigError,
    "bad_input": InputError,
}


class MockEngine:
    """Springs in place of pw.x.

    Parameters
    ----------
    settings
        ``mock_scf_seconds``: how long an SCF takes; ``mock_log``: a file that gets the line
        ``job task process-id start`` for each one computed (start: seconds since 1970).
    cores
        How many of the machine's cores are for this process; default: all.
    """

    name = "mock"

    def __init__(self, settings: WorkerSettings, *, cores: int | None = None) -> None:
        self._settings = settings
        self._cores = cores or len(available_cores())
        self._slots = self._cores if settings.slots == "auto" else settings.slots
        self._counting = Lock()

    def capabilities(self) -> Capabilities:
        """Springs need no pseudopotentials: any job will do."""
        return Capabilities(
            engine=self.name,
            engine_version="1",
            zpe_version=__version__,
            environ=True,
            environ_input=True,
            relaxes=True,
            slots=self._slots,
            cores=self._cores,
            memory_gb=available_memory_gb(),
            accepts=self._settings.accepts,
            tags=self._settings.tags,
        )

    def slots_for(self, payload: JobPayload) -> tuple[int, int]:
        """One; see :class:`zpe_sdk.worker.engines.Engine`."""
        return 1, 1

    def memory_free_gb(self) -> float | None:
        """Return the memory that is free; see :class:`zpe_sdk.worker.engines.Engine`."""
        return memory_free_gb()

    def ready(self, task: Task, *, job_id: str, running: Collection[Task]) -> bool:
        """Wait for nothing; see :class:`zpe_sdk.worker.engines.Engine`."""
        return True

    def run(
        self,
        payload: JobPayload,
        task: Task,
        *,
        job_id: str,
        stop: Event,
        slots: int | None = None,
        on_iteration: OnIteration | None = None,
    ) -> TaskReport:
        """Compute one task; see :class:`zpe_sdk.worker.engines.Engine`."""
        started, begun = time.monotonic(), time.time()
        pw_input = parse(payload.content)
        if stop.wait(self._settings.mock_scf_seconds):
            raise ComputeError("the run was stopped on request", code="stopped")
        excited = self._fail_as_scripted(pw_input, task, job_id)
        displacements = np.zeros_like(pw_input.positions)
        if task.atom is not None and task.displacement is not None:
            displacements[task.atom] = task.displacement
        energy, forces = Springs(
            pw_input.symbols, pw_input.positions, pw_input.cell, held=bool(pw_input.fixed_indices)
        ).forces(displacements)
        report = TaskReport(
            task=task.index,
            energy_ev=energy + excited,
            forces_ev_ang=[(float(x), float(y), float(z)) for x, y, z in forces],
            fingerprint=Fingerprint(
                engine=self.name, engine_version="1", physics=physics.physics_hash(pw_input)
            ),
            scf_seconds=time.monotonic() - started,
            scf_iterations=1,
        )
        if self._settings.mock_log:
            _append(self._settings.mock_log, f"{job_id} {task.index} {os.getpid()} {begun:.6f}\n")
        return report

    def relax(
        self,
        payload: JobPayload,
        state: RelaxationState,
        *,
        job_id: str,
        stop: Event,
        on_step: OnStep,
        slots: int | None = None,
        on_iteration: OnIteration | None = None,
    ) -> TaskReport:
        """Relax the bonds; each step takes ``mock_scf_seconds``. See :class:`zpe_sdk.worker.engines.Engine`.

        Scripted failures are those of task 0, and come before the first step.
        """
        pw_input = parse(payload.content)
        check_relaxation(pw_input)
        self._fail_as_scripted(pw_input, Task(index=0), job_id)
        bonds = Bonds(pw_input)
        fingerprint = Fingerprint(
            engine=self.name, engine_version="1", physics=physics.physics_hash(pw_input)
        )
        threshold = force_threshold(pw_input, payload.relax or RelaxOptions()) * RYDBERG_PER_BOHR
        positions = pw_input.positions if state.positions is None else np.array(state.positions)
        for index in range(state.done, state.done + state.steps):
            started, begun = time.monotonic(), time.time()
            if stop.wait(self._settings.mock_scf_seconds):
                raise ComputeError("the run was stopped on request", code="stopped")
            energy, forces = bonds.forces(positions)
            over = np.abs(forces[bonds.free]).max() < threshold
            following = None if over else bonds.step(positions)
            step = IonicStep(
                index=index,
                positions=rows(positions),
                energy_ev=energy,
                forces_ev_ang=rows(forces),
                max_force_ev_ang=max_force(forces, bonds.free),
                scf_seconds=time.monotonic() - started,
                scf_iterations=1,
            )
            if self._settings.mock_log:
                _append(self._settings.mock_log, f"{job_id} step{index} {os.getpid()} {begun:.6f}\n")
            on_step(StepTaken(step, None if following is None else rows(following), None, fingerprint))
            if following is None or index == state.done + state.steps - 1:
                break
            positions = following
        return TaskReport(
            task=0,
            energy_ev=energy,
            forces_ev_ang=rows(forces),
            fingerprint=fingerprint,
            scf_seconds=step.scf_seconds,
            scf_iterations=1,
            relaxation=RelaxationEnd(
                positions=rows(positions),
                reason="converged" if over else "steps",
                detail=None if over else f"not there after {index + 1} steps",
            ),
        )

    def forget(self, job_id: str) -> None:
        """Keep nothing, forget nothing."""

    def _fail_as_scripted(self, pw_input: PwInput, task: Task, job_id: str) -> float:
        """Fail if the title says so; return by how many eV the task is to miss the ground state."""
        title = str(pw_input.namelists.get("control", {}).get("title", ""))
        found = re.match(r"mock:\s*fail=(\w+)(?:\s+task=(\d+))?(?:\s+times=(\d+|always))?\s*$", title)
        if found is None or (found[2] is not None and int(found[2]) != task.index):
            return 0.0
        code, times = found[1], found[3] or "1"
        kind = FAILURES.get(code)
        if kind is None and code != OTHER_STATE:
            raise InputError(f"the mock engine knows no failure {code!r}", code="bad_input", field="title")
        with self._counting:
            count = self._settings.work_dir / "mock" / f"{job_id}-{task.index}"
            so_far = count.stat().st_size if count.exists() else 0
            if times != "always" and so_far >= int(times):
                return 0.0
            count.parent.mkdir(parents=True, exist_ok=True)
            _append(count, ".")
        if kind is None:
            return EXCITATION_EV
        raise kind(f"scripted failure {so_far + 1} of {times} (mock engine)", code=code)


class Springs:
    """Harmonic springs between the atoms of a periodic structure, at rest as it stands.

    Parameters
    ----------
    symbols
        Chemical symbols.
    positions
        Positions at rest in Å, shape (nat, 3).
    cell
        Lattice vectors in Å, shape (3, 3), one per row.
    held
        Tie every atom to its place as well.
    """

    def __init__(
        self,
        symbols: list[str] | tuple[str, ...],
        positions: NDArray[np.float64],
        cell: NDArray[np.float64],
        *,
        held: bool,
    ) -> None:
        numbers = np.array([atomic_numbers[symbol] for symbol in symbols])
        radii = covalent_radii[numbers]
        self._rest_energy = -RYDBERG_EV * float(numbers.sum())
        self._on_site = ON_SITE if held else 0.0
        # Every image within reach counts, each with its own distance: ties cannot break the symmetry.
        self._i, self._j, self._rest = primitive_neighbor_list(
            "ijD", (True, True, True), cell, positions, REACH * radii
        )
        self._lengths = np.linalg.norm(self._rest, axis=1)
        x = self._lengths / (radii[self._i] + radii[self._j])
        self._stiffness = STIFFNESS * x**-DECAY * np.clip(1 - (x / REACH) ** 2, 0, None) ** 2

    def forces(self, displacements: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return the energy in eV and the forces in eV/Å, shape (nat, 3), of displaced atoms (Å)."""
        vectors = self._rest + displacements[self._j] - displacements[self._i]
        lengths = np.linalg.norm(vectors, axis=1)
        stretch = lengths - self._lengths
        # Each pair is listed from both of its ends: half the energy, and the force on one end, each.
        energy = self._rest_energy + 0.25 * float(np.sum(self._stiffness * stretch**2))
        energy += 0.5 * self._on_site * float(np.sum(displacements**2))
        forces = -self._on_site * displacements
        np.add.at(forces, self._i, (self._stiffness * stretch / lengths)[:, None] * vectors)
        # Rounded: the last bits depend on the machine's arithmetic.
        return round(energy, 10), np.round(forces, 10) + 0.0


def _append(path: Path, line: str) -> None:
    """Append in one write, which the kernel keeps apart from other processes' writes."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)
