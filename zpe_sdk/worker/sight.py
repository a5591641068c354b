"""How far the SCFs are that run here, for the control plane, the log, and whoever waits."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

import structlog

from zpe_sdk.espresso.iterations import Iteration
from zpe_sdk.wire import RunningScf
from zpe_sdk.worker.held import Run

log = structlog.get_logger(__name__)


@dataclass
class _Course:
    began: float = field(default_factory=time.monotonic)
    iteration: Iteration | None = None
    logged: Iteration | None = None


class Sight:
    """Keeps the latest iteration of each run. Engines call from threads of their own."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._courses: dict[Run, _Course] = {}

    def begins(self, run: Run) -> Callable[[Iteration], None]:
        """Note that a run begins, and return what is to be called with each of its iterations."""
        course = _Course()
        with self._lock:
            self._courses[run] = course

        def iterated(iteration: Iteration) -> None:
            course.iteration = iteration

        return iterated

    def ends(self, run: Run) -> None:
        """Note that a run is over."""
        with self._lock:
            del self._courses[run]

    def by_lease(self) -> dict[str, list[RunningScf]]:
        """Return how far the runs under each lease are, and log what is new."""
        with self._lock:
            courses = list(self._courses.items())
        told: defaultdict[str, list[RunningScf]] = defaultdict(list)
        for run, course in courses:
            now = course.iteration
            scf = RunningScf(task=run.task.index, seconds=round(time.monotonic() - course.began, 1))
            if now is not None:
                scf.iteration, scf.accuracy_ry = now.number, now.accuracy_ry
                if now != course.logged:
                    _log(run, now)
                    course.logged = now
            told[run.lease.lease_id].append(scf)
        return dict(told)


def _log(run: Run, now: Iteration) -> None:
    log.info(
        f"iteration {now.number}",
        job_id=run.lease.job_id,
        task=run.task.index,
        accuracy_ry=now.accuracy_ry,
    )
