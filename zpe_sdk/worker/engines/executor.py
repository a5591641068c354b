"""Engines whose SCFs run in other processes: those of a ``concurrent.futures.Executor``."""

from __future__ import annotations

import json
import shutil
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import BrokenExecutor, Executor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Protocol

from zpe_sdk.errors import ComputeError, ConfigError, ZPEError
from zpe_sdk.wire import Capabilities, JobPayload, RelaxationState, Task, TaskReport
from zpe_sdk.worker.engines import OnIteration, OnStep, remote
from zpe_sdk.worker.settings import WorkerSettings

POLL_SECONDS = 0.1


class Pending(Protocol):
    """A future, of the standard library or of others."""

    def add_done_callback(self, fn: Callable[[object], object], /) -> None:
        """Call a function at the end."""

    def cancel(self) -> object:
        """Do not begin, if it has not begun."""

    def result(self) -> str:
        """Return what came of it."""


class RemoteEngine(ABC):
    """Gives each SCF away, and waits for what comes of it.

    Parameters
    ----------
    settings
        The worker's settings.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self.name = "mock" if settings.worker_mode == "mock" else "espresso"

    @abstractmethod
    def capabilities(self) -> Capabilities:
        """Say what can be run there; see :class:`zpe_sdk.worker.engines.Engine`."""

    def slots_for(self, payload: JobPayload) -> tuple[int, int]:
        """One; see :class:`zpe_sdk.worker.engines.Engine`."""
        return 1, 1

    def memory_free_gb(self) -> float | None:
        """Return None: it is not known of the machines there; see :class:`zpe_sdk.worker.engines.Engine`."""
        return None

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
        """Run one task; see :class:`zpe_sdk.worker.engines.Engine`.

        Raises
        ------
        ZPEError
            As raised there; ``executor_lost`` if it never will be; ``stopped`` if ``stop`` was set.
        """
        with self._named_errors():
            pending = self._submit(payload.model_dump_json(), json.dumps(task.to_json()), job_id)
            done = Event()
            pending.add_done_callback(lambda _: done.set())
            while not done.wait(POLL_SECONDS):
                if stop.is_set():
                    self._stop(pending)
                    raise ComputeError("the run was stopped on request", code="stopped")
            return TaskReport.model_validate_json(pending.result())

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
        """Refuse: the steps of a relaxation would have to come back while it runs.

        Raises
        ------
        ConfigError
            ``cannot_relax``, always.
        """
        raise ConfigError(
            "relaxations do not run on an executor; other workers take them", code="cannot_relax"
        )

    def forget(self, job_id: str) -> None:  # noqa: B027 - no-op by design
        """Leave it to the processes, each of which keeps the densities of its latest jobs only."""

    @abstractmethod
    def _submit(self, payload: str, task: str, job_id: str) -> Pending: ...

    @abstractmethod
    def _stop(self, pending: Pending) -> None:
        """See to it that an SCF does not begin, or ends, if that can be done from here."""

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Give a name to errors of the executor; those of the engine there have one."""
        try:
            yield
        except ZPEError:
            raise
        except Exception as error:
            raise self._named(error) from error

    def _named(self, error: BaseException) -> ZPEError:
        cause: BaseException | None = error
        while cause:
            if isinstance(cause, ModuleNotFoundError):
                return ConfigError(
                    f"{cause.name} is not installed where the SCFs shall run; install the same zpe there",
                    code="zpe_missing",
                    field="ZPE_EXECUTOR",
                )
            cause = cause.__cause__
        return executor_lost(f"{type(error).__name__}: {error}")


class ExecutorEngine(RemoteEngine):
    """Gives each SCF to an executor: of processes on this machine, or of any other kind.

    ``zpe`` must be installed where the executor's processes run, and pw.x and the pseudopotentials too.
    Each process works in a folder of its own, ``WORK_DIR/executor-<host>-<n>``. Nothing needs to be shared,
    but an SCF that runs already hears only through the file system of ``WORK_DIR`` that it is not wanted
    any more; where that is not shared, it goes on to its end, and the outcome is dropped.

    Parameters
    ----------
    settings
        The worker's settings. Those that concern an engine, if they are set, hold in the processes; the
        others are looked for in the environment there. No token leaves this process.
    executor
        Runs the SCFs, each on one core or as many MPI ranks as ``np_core`` says. It stays yours to shut down.
    slots
        SCFs side by side, unless ``settings.slots`` is a number: how many the executor can run at once.

    Examples
    --------
    ::

        settings = WorkerSettings(control_api_url="https://zpe.example.org")
        with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("spawn")) as executor:
            zpe_sdk.worker.command.run(settings, ExecutorEngine(settings, executor, slots=4))
    """

    def __init__(self, settings: WorkerSettings, executor: Executor, *, slots: int) -> None:
        super().__init__(settings)
        self._executor = executor
        self._slots = slots if settings.slots == "auto" else settings.slots
        work_dir = settings.work_dir.expanduser().absolute()
        self._told = remote.told(settings, work_dir=work_dir, slots=self._slots)
        self._stops = work_dir / "stops"
        shutil.rmtree(self._stops, ignore_errors=True)  # of a worker that was killed
        self._stop_files: dict[Pending, Path] = {}
        self._capabilities: Capabilities | None = None
        self._broken = False

    def capabilities(self) -> Capabilities:
        """Ask one of the processes, once.

        Raises
        ------
        ConfigError
            The machine there is not set up for the engine.
        ComputeError
            ``executor_lost``: the executor is broken for good.
        """
        if self._broken:
            raise executor_lost("the executor is broken; it takes a new one to go on")
        if self._capabilities is None:
            with self._named_errors():
                answer = self._executor.submit(remote.describe_alone, self._told).result()
            self._capabilities = Capabilities.model_validate_json(answer)
        return self._capabilities.model_copy(update={"slots": self._slots, "relaxes": False})

    def _submit(self, payload: str, task: str, job_id: str) -> Pending:
        stop_file = self._stops / uuid.uuid4().hex
        pending = self._executor.submit(
            remote.run_alone, self._told, payload, task, job_id, stop_file=str(stop_file)
        )
        self._stop_files[pending] = stop_file
        pending.add_done_callback(self._done)
        return pending

    def _stop(self, pending: Pending) -> None:
        if not pending.cancel() and (stop_file := self._stop_files.get(pending)):
            stop_file.parent.mkdir(parents=True, exist_ok=True)
            stop_file.touch()

    def _done(self, pending: Pending) -> None:
        if stop_file := self._stop_files.pop(pending, None):
            stop_file.unlink(missing_ok=True)

    def _named(self, error: BaseException) -> ZPEError:
        self._broken = self._broken or isinstance(error, BrokenExecutor)
        return super()._named(error)


def executor_lost(why: str) -> ComputeError:
    """Return the error that says that an SCF which was given away will not come back."""
    return ComputeError(f"the executor has lost the SCF: {why}", code="executor_lost")
