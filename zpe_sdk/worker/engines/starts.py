"""Where the SCFs of a job start from: densities and wave functions of those that are done."""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Condition, Event

import numpy as np
import structlog

from zpe_sdk.errors import ComputeError
from zpe_sdk.espresso import atomic_density, density, wavefunctions
from zpe_sdk.espresso.fingerprint import find_pseudopotential
from zpe_sdk.espresso.gamma import is_gamma
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.mesh import Point, operations
from zpe_sdk.espresso.output import gap_of
from zpe_sdk.espresso.plane_waves import readable
from zpe_sdk.espresso.recipe import Near, Recipe, recipe
from zpe_sdk.wire import Task

# Of a job's displaced structures. A density takes 3 MB for a molecule and some 100 MB for a large slab, wave
# functions up to some GB; what comes when there is no room is not kept.
KEPT_BYTES = 4 << 30
# Wave functions are kept where they take no more than this share of what is free on the disk.
SHARE_OF_DISK = 0.1
log = structlog.get_logger(__name__)

EQUILIBRIUM = "equilibrium.save"
# Of the last step of a relaxation, whose symmetry is that of the equilibrium: it starts from there.
RELAXED = "relaxed.save"


class Running:
    """The SCFs that run side by side, so that one can wait for the density of another where that pays.

    A displaced SCF that starts from the equilibrium and its opposite takes half the time of one that
    starts from anywhere else. So it pays to wait for these two, if less than that is left of them.
    """

    def __init__(self) -> None:
        self._here: dict[Path, int] = {}  # equilibria that run or are about to
        self._began: dict[Path, float] = {}
        self._seconds: dict[Path, float] = {}  # of each job's latest SCF: what to expect of the others
        self._alone: set[Path] = set()  # jobs whose equilibrium is being made up for
        self._changed = Condition()

    @contextmanager
    def here(self, job: Path, task: Task) -> Iterator[None]:
        """Note that a task of a job is in work here for the length of the ``with`` block."""
        place = _save_folder(job, task)
        with self._changed:
            self._here[place] = self._here.get(place, 0) + 1
        try:
            yield
        finally:
            with self._changed:
                self._here[place] -= 1
                self._changed.notify_all()

    @contextmanager
    def scf(self, job: Path, task: Task) -> Iterator[None]:
        """Note that a task's SCF runs for the length of the ``with`` block."""
        folder, began = _save_folder(job, task), time.monotonic()
        with self._changed:
            self._began[folder] = began
        try:
            yield
        finally:
            with self._changed:
                self._began.pop(folder, None)  # the same task may run twice, under two leases
                self._seconds[job] = time.monotonic() - began
                self._changed.notify_all()

    @contextmanager
    def alone(self, job: Path, stop: Event) -> Iterator[None]:
        """Let one task of a job at a time into the ``with`` block.

        Raises
        ------
        ComputeError
            ``stopped``: ``stop`` was set before its turn came.
        """
        with self._changed:
            while job in self._alone:
                if stop.is_set():
                    raise ComputeError("the run was stopped on request", code="stopped")
                self._changed.wait(timeout=0.1)
            self._alone.add(job)
        try:
            yield
        finally:
            with self._changed:
                self._alone.remove(job)
                self._changed.notify_all()

    def await_sources(self, job: Path, task: Task, stop: Event, *, equilibrium: bool = False) -> None:
        """Wait for the equilibrium and the opposite of a displacement, if both are done or nearly so.

        With ``equilibrium``, wait for that in any case, if it is in work here.
        """
        with self._changed:
            while not stop.is_set() and (
                (equilibrium and task.atom is not None and self._here.get(job / EQUILIBRIUM))
                or self.is_worth_waiting(job, task)
            ):
                self._changed.wait(timeout=0.1)  # for the sake of ``stop``

    def is_worth_waiting(self, job: Path, task: Task, beside: Collection[Task] = ()) -> bool:
        """Tell whether the equilibrium and the opposite of a displacement are nearly done, but not yet.

        They are not before they have left the slots of those that run ``beside``.
        """
        if task.atom is None or task.start:
            return False
        held = {_save_folder(job, other) for other in beside}
        sources = (job / EQUILIBRIUM, _save_folder(job, task, -1))
        with self._changed:
            if not all(source.is_dir() or source in self._began for source in sources):
                return False
            if any(source.is_dir() and source in held for source in sources):
                return True
            running = [self._began[source] for source in sources if source in self._began]
            if not running:
                return False
            expected = self._seconds.get(job, float("inf"))
            return time.monotonic() - max(running) >= expected / 2

    def forget(self, job: Path) -> None:
        """Drop what is known of a job."""
        with self._changed:
            self._seconds.pop(job, None)


def settings(job: Path, pw_input: PwInput) -> Recipe:
    """Return the settings of a job's SCFs, by its input and by what its equilibrium showed."""
    return recipe(pw_input, gap_of(job / EQUILIBRIUM))


def prepare(
    job: Path,
    task: Task,
    save: Path,
    pw_input: PwInput,
    pseudo_dir: Path,
    points: Sequence[Point] | None,
    how: Recipe,
) -> Near:
    """Make the folder ``save`` that a task's SCF starts from, and tell how near to its end that is.

    The best there is: the equilibrium and the opposite displacement, extrapolated; the equilibrium; any
    other displacement. Nothing is made if nothing is there. The equilibrium itself, which must not inherit
    a lower symmetry, starts from a relaxation alone. With the densities go wave functions, where the recipe
    wants them.

    A task that is run again, since it ended in another electronic state, says what it starts from, and what
    was kept of that state is dropped.
    """
    if task.atom is None:
        return Near.NEIGHBOUR if density.copy(job / RELAXED, save) else Near.SCRATCH
    centre = job / EQUILIBRIUM
    if task.start:
        shutil.rmtree(_save_folder(job, task), ignore_errors=True)
        if task.start != "equilibrium" or not density.copy(centre, save):
            return Near.SCRATCH
        _move_along(save, task, pw_input, pseudo_dir)
        _wave_functions(centre, save, pw_input, points, how)
        return Near.NEIGHBOUR
    opposite = _save_folder(job, task, -1)
    if centre.is_dir() and density.extrapolate(centre, opposite, save):
        _move_along(save, task, pw_input, pseudo_dir, extrapolated=True)
        _wave_functions(centre, save, pw_input, points, how, displaced=opposite)
        return Near.EXTRAPOLATED
    for kept in (centre, *_displaced(job)):
        if density.copy(kept, save):
            if kept == centre:
                _move_along(save, task, pw_input, pseudo_dir)
            _wave_functions(kept, save, pw_input, points, how)
            return Near.NEIGHBOUR
    return Near.SCRATCH


def wants_kpoints(job: Path, task: Task, pw_input: PwInput, how: Recipe) -> bool:
    """Tell whether there are wave functions to start from, and at which k-points has to be asked."""
    return (
        task.atom is not None
        and how.wave_functions
        and not is_gamma(pw_input)
        and any(job.glob("*.save/wfc*"))
    )


def _move_along(
    save: Path, task: Task, pw_input: PwInput, pseudo_dir: Path, *, extrapolated: bool = False
) -> None:
    """Move the displaced atom's own density along with it, in a density that still has it at rest."""
    if task.atom is None:
        return
    names = {species.label: species.pseudopotential for species in pw_input.species}
    file = find_pseudopotential(names[pw_input.labels[task.atom]], pseudo_dir)
    rest, vector = pw_input.positions[task.atom], np.array(task.displacement)
    places = [(1.0, rest + vector), (-1.0, rest)]
    if extrapolated:  # what the opposite had is in it with a minus sign
        places = [(1.0, rest + vector), (1.0, rest - vector), (-2.0, rest)]
    try:
        atomic_density.add(save, atomic_density.read(file), places)
    except ValueError as error:
        log.warning("the atom's own density does not move along", file=file.name, reason=str(error))


def _wave_functions(
    source: Path,
    save: Path,
    pw_input: PwInput,
    points: Sequence[Point] | None,
    how: Recipe,
    *,
    displaced: Path | None = None,
) -> None:
    if not how.wave_functions or (points is None and not is_gamma(pw_input)):
        return
    every = operations(pw_input)  # identity first, which is all that a displaced structure surely has
    known = every if source.name == EQUILIBRIUM else every[:1]
    if displaced is None or not wavefunctions.prepare(source, save, points, known, displaced=displaced):
        wavefunctions.prepare(source, save, points, known)


def keep(job: Path, task: Task, save: Path, how: Recipe) -> None:
    """Keep what an SCF that is done leaves, if it can be of use to others of its job."""
    besides = "wfc" if how.wave_functions and _has_room(save) else None
    if task.atom is None:
        if not readable(save):
            log.warning("densities are in HDF5: without h5py (pip install 'zpe[hdf5]') none is extrapolated")
        density.keep(save, job / EQUILIBRIUM, besides=besides)
        shutil.rmtree(job / RELAXED, ignore_errors=True)  # it has served
        return
    opposite = _save_folder(job, task, -1)
    if opposite.is_dir() and (job / EQUILIBRIUM).is_dir():
        shutil.rmtree(opposite, ignore_errors=True)  # it has served
    elif sum(path.stat().st_size for path in job.glob("displaced_*.save/*")) < KEPT_BYTES:
        density.keep(save, _save_folder(job, task), besides=besides)


def _has_room(save: Path) -> bool:
    """Tell whether the disk has room for wave functions beside those that the SCFs themselves write."""
    size = sum(path.stat().st_size for path in save.glob("wfc*"))
    return size <= SHARE_OF_DISK * shutil.disk_usage(save).free


def lacks_equilibrium(job: Path, task: Task) -> bool:
    """Tell whether a task has to start from the equilibrium's density, which is not there."""
    return task.start == "equilibrium" and not (job / EQUILIBRIUM).is_dir()


def _displaced(job: Path) -> Iterator[Path]:
    return job.glob("displaced_*.save")


def _save_folder(job: Path, task: Task, sign: int = 1) -> Path:
    if task.atom is None:
        return job / EQUILIBRIUM
    vector = "_".join(f"{sign * x + 0.0:.6f}" for x in task.displacement or ())
    return job / f"displaced_{task.atom}_{vector}.save"
