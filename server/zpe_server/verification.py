"""A share of a job's SCFs computed twice, by different workers, and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from zpe_sdk.errors import ComputeError
from zpe_sdk.wire import Task, TaskReport

# Two SCFs of the same structure that start from different densities agree within the convergence threshold,
# far below these (docs/engine.md); other files, another program or a faulty machine show up far above.
FORCE_EV_ANG = 1e-3
ENERGY_EV_PER_ATOM = 1e-4


@dataclass(frozen=True)
class Verified:
    """How well two workers agree.

    Attributes
    ----------
    count
        How many SCFs were computed twice.
    force_ev_ang
        Largest difference of a component of a force in eV/Å.
    energy_ev
        Largest difference of an energy in eV.
    """

    count: int
    force_ev_ang: float
    energy_ev: float


class DisagreementError(ComputeError):
    """Two workers have different results of the same SCF; ``tasks`` are all in which they do."""

    def __init__(self, message: str, tasks: list[int]) -> None:
        super().__init__(message, code="workers_disagree")
        self.tasks = tasks


def copies_of(tasks: Sequence[Task], share: float) -> list[Task]:
    """Return the tasks that compute a share of ``tasks`` once more: evenly spread, at least one if any."""
    count = max(1, round(share * len(tasks))) if share > 0 else 0
    chosen = [tasks[(2 * n + 1) * len(tasks) // (2 * count)] for n in range(count)]
    return [replace(task, index=len(tasks) + n, copy_of=task.index) for n, task in enumerate(chosen)]


def compare(
    tasks: Sequence[Task], reports: Mapping[int, TaskReport], workers: Mapping[int, str]
) -> Verified | None:
    """Compare the SCFs that were computed twice; None if there are none.

    Parameters
    ----------
    tasks
        All tasks of the job.
    reports, workers
        The outcome of each task, and the name of its worker, by task index.

    Raises
    ------
    DisagreementError
        ``workers_disagree``, naming the workers and the difference.
    """
    pairs = [(task.copy_of, task.index) for task in tasks if task.copy_of is not None]
    if not pairs:
        return None
    found = [_difference(reports[one], reports[two]) for one, two in pairs]
    wrong = [
        (pair, force, energy)
        for pair, (force, energy) in zip(pairs, found, strict=True)
        if force > FORCE_EV_ANG or energy > ENERGY_EV_PER_ATOM * len(reports[pair[0]].forces_ev_ang)
    ]
    if wrong:
        (one, two), force, energy = max(wrong, key=lambda item: item[1])
        raise DisagreementError(
            f"the workers {workers[one]} and {workers[two]} disagree on SCF {one}: by {force:.2g} eV/Å in a "
            f"force and {energy:.2g} eV in the energy, where {FORCE_EV_ANG:g} eV/Å and "
            f"{ENERGY_EV_PER_ATOM:g} eV per atom are allowed ({len(wrong)} of {len(pairs)} SCFs that were "
            "computed twice); find out which worker is wrong and revoke it with its results, then requeue "
            "the job: it computes these SCFs anew",
            [task for pair, _, _ in wrong for task in pair],
        )
    return Verified(len(pairs), max(force for force, _ in found), max(energy for _, energy in found))


def _difference(one: TaskReport, two: TaskReport) -> tuple[float, float]:
    """Return the largest difference of a force component (eV/Å), and that of the energies (eV)."""
    forces = np.array(one.forces_ev_ang) - np.array(two.forces_ev_ang)
    return float(np.abs(forces).max()), abs(one.energy_ev - two.energy_ev)
