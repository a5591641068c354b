"""Engines compute the forces of one task: ``espresso`` with pw.x, ``mock`` with springs.

``executor`` and ``dask`` give tasks to other processes, in which ``remote`` runs one of these two.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from threading import Event
from typing import Protocol

from zpe_sdk.espresso.iterations import Iteration
from zpe_sdk.extras import needed_for
from zpe_sdk.wire import (
    Capabilities,
    Fingerprint,
    IonicStep,
    JobPayload,
    RelaxationState,
    StepRequest,
    Task,
    TaskReport,
    Vector,
)
from zpe_sdk.worker.settings import WorkerSettings


@dataclass(frozen=True)
class StepTaken:
    """An ionic step that is done, and how to go on from there: what a StepRequest says of it.

    ``next_positions`` (Å) and ``history`` are null where the relaxation ends.
    """

    step: IonicStep
    next_positions: list[Vector] | None
    history: str | None
    fingerprint: Fingerprint

    def request(self, lease_id: str) -> StepRequest:
        """Return what tells the control plane of it, under a lease."""
        return StepRequest(
            lease_id=lease_id,
            task=0,
            step=self.step,
            next_positions=self.next_positions,
            history=self.history,
            fingerprint=self.fingerprint,
        )


OnStep = Callable[[StepTaken], None]
OnIteration = Callable[[Iteration], None]


class Engine(Protocol):
    """Computes energy and forces of tasks, several at once, each from a thread of its own."""

    @property
    def name(self) -> str:
        """``"espresso"`` or ``"mock"``."""

    def capabilities(self) -> Capabilities:
        """Say what this machine can run.

        Raises
        ------
        ConfigError
            The machine is not set up for this engine.
        """

    def slots_for(self, payload: JobPayload) -> tuple[int, int]:
        """Return how many slots an SCF of a job takes, and with how many it is still faster."""

    def memory_free_gb(self) -> float | None:
        """Return the memory that is free where its SCFs run, in GB (10⁹ bytes); None if that is not known."""

    def ready(self, task: Task, *, job_id: str, running: Collection[Task]) -> bool:
        """Tell whether to begin a task now, while others of its job are ``running``.

        False: one that runs and is nearly done will give it a better start. Ask again when an SCF ends.
        """

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
        """Compute one task.

        Parameters
        ----------
        payload, task, job_id
            What to compute. Tasks of one job may start from one another's densities.
        stop
            When it is set, the run ends at once.
        slots
            How many slots it may use; None: the least.
        on_iteration
            Called at the end of each iteration of the SCF, by engines that can tell.

        Raises
        ------
        ZPEError
            The task failed; with code ``stopped`` if ``stop`` was set.
        """

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
        """Relax the structure of a job, from where ``state`` says.

        Parameters
        ----------
        payload, job_id
            The job. What it computes later may start from the last density.
        state
            How far the relaxation is.
        stop
            When it is set, the run ends at once.
        on_step
            Called with each step as soon as it is done, in order, from this thread: it should not take long.
            An exception of its ends the run.
        slots
            How many slots it may use; None: as many as make it faster.
        on_iteration
            As for :meth:`run`.

        Returns
        -------
        TaskReport
            Of task 0, with the energy and the forces of the last structure, and with ``relaxation``.

        Raises
        ------
        ZPEError
            As :meth:`run`; the steps so far have been told.
        """

    def forget(self, job_id: str) -> None:
        """Remove all that was kept for the other tasks of a job."""


def make_engine(settings: WorkerSettings) -> Engine:
    """Return the engine that the settings ask for: on this machine, or on ``settings.executor``.

    Raises
    ------
    ConfigError
        ``extra_missing``, ``bad_setting``: ``ZPE_EXECUTOR`` cannot be used.
    """
    if settings.executor is None:
        return local_engine(settings)
    with needed_for("ZPE_EXECUTOR", "Dask", "dask", "dask", "distributed"):
        from zpe_sdk.worker.engines.dask import DaskEngine

    return DaskEngine(settings)


def local_engine(settings: WorkerSettings, *, cores: int | None = None) -> Engine:
    """Return the engine of ``settings.worker_mode``, for this process.

    Parameters
    ----------
    settings
        Settings of the engine.
    cores
        How many of the machine's cores are for this process; default: all.
    """
    if settings.worker_mode == "mock":
        from zpe_sdk.worker.engines.mock import MockEngine

        return MockEngine(settings, cores=cores)
    from zpe_sdk.worker.engines.espresso import EspressoEngine

    return EspressoEngine(settings, cores=cores)
