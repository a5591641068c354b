"""The machine's memory, and how many SCFs fit into it side by side."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, Event

import structlog

from zpe_sdk.errors import ComputeError

log = structlog.get_logger(__name__)

# What the operating system and the worker need, and what pw.x's estimate leaves out.
USABLE = 0.9
BYTES_PER_RANK = 1e8


class Memory:
    """Lets SCFs begin as long as there is memory for them.

    Parameters
    ----------
    total
        Bytes in all.
    """

    def __init__(self, total: float) -> None:
        self._total = USABLE * total
        self._needs: dict[str, float] = {}  # of one SCF of each job, in bytes
        self._running: dict[object, str] = {}
        self._changed = Condition()

    @contextmanager
    def hold(self, job_id: str, stop: Event) -> Iterator[None]:
        """Hold what an SCF of a job needs for the ``with`` block, once it is free.

        One at least may always run, and as many as like of a job of which nothing is known.

        Raises
        ------
        ComputeError
            ``stopped``: ``stop`` was set before.
        """
        turn = object()
        with self._changed:
            while self._running and not self._fits(job_id):
                if stop.is_set():
                    raise ComputeError("the run was stopped on request", code="stopped")
                self._changed.wait(0.2)
            self._running[turn] = job_id
        try:
            yield
        finally:
            with self._changed:
                del self._running[turn]
                self._changed.notify_all()

    def side_by_side(self, job_id: str) -> float:
        """Return how many SCFs of a job fit; infinity, if that is not known."""
        need = self._needs.get(job_id)
        return max(1.0, self._total // need) if need else float("inf")

    def measured(self, job_id: str, estimate: float, *, ranks: int) -> None:
        """Note what an SCF of a job needs: the bytes that pw.x says it allocates, and the program itself."""
        need = estimate + ranks * BYTES_PER_RANK
        with self._changed:
            self._needs[job_id] = max(self._needs.get(job_id, 0.0), need)
            self._changed.notify_all()

    def was_too_little(self, job_id: str) -> bool:
        """Note that an SCF ran out of memory, so that one less runs beside it; False if it ran alone.

        Call it while the SCF still holds its share.
        """
        with self._changed:
            others = len(self._running) - 1
            if others < 1:
                return False
            self._needs[job_id] = max(self._needs.get(job_id, 0.0), self._total / others)
        log.warning("memory was exhausted: fewer SCFs run side by side", scfs_side_by_side=others)
        return True

    def forget(self, job_id: str) -> None:
        """Drop what is known of a job."""
        with self._changed:
            self._needs.pop(job_id, None)

    def _fits(self, job_id: str) -> bool:
        need = self._needs.get(job_id, 0.0)
        used = sum(self._needs.get(other, 0.0) for other in self._running.values())
        return not need or used + need <= self._total
