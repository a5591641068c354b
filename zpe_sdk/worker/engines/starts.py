"""Where the SCFs of a job start from: densities of those that are done, kept in the job's folder."""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Event

from zpe_sdk.espresso import density
from zpe_sdk.wire import Task

# Of a job's displaced structures. A density takes 3 MB for a molecule and some 100 MB for a large slab; what
# comes when there is no room is not kept.
KEPT_BYTES = 1 << 30
EQUILIBRIUM = "equilibrium.save"
# Of the last step of a relaxation, whose symmetry is that of the equilibrium: it starts from there.
RELAXED = "relaxed.save"


@dataclass(frozen=True)
class Start:
    """A density to start from, and what pw.x should make of it.

    Attributes
    ----------
    diago_thr_init
        How far the first diagonalisation goes. pw.x's own 1e-5 would spoil a good density, which costs an
        iteration or two.
    """

    diago_thr_init: float

    @property
    def electrons(self) -> dict[str, object]:
        """Keys of ``&ELECTRONS``."""
        return {"startingpot": "file", "diago_thr_init": self.diago_thr_init}


NEAR = Start(1e-7)
EXTRAPOLATED = Start(1e-9)


class Running:
    """The SCFs that run side by side, so that one can wait for the density of another where that pays.

    A displaced SCF that starts from the equilibrium and its opposite takes half the time of one that
    starts from anywhere else. So it pays to wait for these two, if less than that is left of them.
    """

    def __init__(self) -> None:
        self._began: dict[Path, float] = {}
        self._seconds: dict[Path, float] = {}  # of each job's latest SCF: what to expect of the others
        self._changed = Condition()

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

    def await_opposite(self, job: Path, task: Task, stop: Event) -> None:
        """Wait for the equilibrium and the opposite of a displacement, if both are done or nearly so."""
        with self._changed:
            while self.is_worth_waiting(job, task) and not stop.is_set():
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


def prepare(job: Path, task: Task, save: Path) -> Start | None:
    """Make the folder ``save`` that a task's SCF starts from.

    The best there is: the equilibrium's density and the one of the opposite displacement, extrapolated;
    the equilibrium's; that of any other displacement. None: nothing is there. The equilibrium itself, which
    must not inherit a lower symmetry, starts from a relaxation alone.

    A task that is run again, since it ended in another electronic state, says what it starts from, and the
    density of that state is dropped.
    """
    if task.atom is None:
        return NEAR if density.copy(job / RELAXED, save) else None
    centre = job / EQUILIBRIUM
    if task.start:
        shutil.rmtree(_save_folder(job, task), ignore_errors=True)
        return NEAR if task.start == "equilibrium" and density.copy(centre, save) else None
    if centre.is_dir() and density.extrapolate(centre, _save_folder(job, task, -1), save):
        return EXTRAPOLATED
    for kept in (centre, *_displaced(job)):
        if density.copy(kept, save):
            return NEAR
    return None


def keep(job: Path, task: Task, save: Path) -> None:
    """Keep the density of an SCF that is done, if it can be of use to others of its job."""
    if task.atom is None:
        density.keep(save, job / EQUILIBRIUM)
        shutil.rmtree(job / RELAXED, ignore_errors=True)  # it has served
        return
    opposite = _save_folder(job, task, -1)
    if opposite.is_dir() and (job / EQUILIBRIUM).is_dir():
        shutil.rmtree(opposite, ignore_errors=True)  # it has served
    elif sum(path.stat().st_size for path in job.glob("displaced_*.save/*")) < KEPT_BYTES:
        density.keep(save, _save_folder(job, task))


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
