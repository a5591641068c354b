"""What runs in the processes of an executor: plain functions, which take and return JSON.

Each process builds its engine once and keeps it. Its folder is its alone, so that processes on one machine,
or on one file system, never touch each other's SCFs; densities are shared within a process.
"""

from __future__ import annotations

import json
import os
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Lock, Thread

from structlog.contextvars import bound_contextvars

from zpe_sdk.errors import ComputeError, ZPEError
from zpe_sdk.wire import JobPayload, Task
from zpe_sdk.worker.engines import Engine, local_engine
from zpe_sdk.worker.files import free_folder
from zpe_sdk.worker.settings import WorkerSettings, settings_from

# Jobs whose densities a process keeps: nobody can tell all of an executor's processes that a job is over.
KEPT_JOBS = 2
POLL_SECONDS = 0.2
# All that an engine needs to know. No token, nor anything else of the control plane, goes to an executor.
OF_ENGINES = frozenset(
    {
        *("worker_mode", "pseudo_dir", "allow_input_pseudo_dir", "pw_path", "pw_command"),
        *("tags", "accepts", "use_mpi", "mpi_cmd", "np_core", "environ_path", "mock_scf_seconds", "mock_log"),
    }
)

_lock = Lock()
_places: dict[tuple[str, int | None], Place] = {}
_held = ExitStack()  # the folders, until the process ends


def told(settings: WorkerSettings, **other: object) -> str:
    """Return as JSON what the processes are told of a worker's settings: what is set, and no defaults.

    A setting that is not set here is looked for in the environment of the process there.
    """
    facts = {name: getattr(settings, name) for name in OF_ENGINES & settings.model_fields_set} | other
    absolute = {name: str(value.absolute()) for name, value in facts.items() if isinstance(value, Path)}
    return json.dumps(facts | absolute, sort_keys=True)


def describe(told: str, *, cores: int | None) -> str:
    """Return the capabilities of this process, as JSON; see :func:`run`."""
    return _place(told, cores).engine.capabilities().model_dump_json()


def run(
    told: str,
    payload: str,
    task: str,
    job_id: str,
    *,
    cores: int | None,
    unwanted: Callable[[], bool],
) -> str:
    """Compute a task in this process, and return its report as JSON.

    Parameters
    ----------
    told
        Settings of the engine, from :func:`told`.
    payload, task, job_id
        See :meth:`zpe_sdk.worker.engines.Engine.run`; the first two as JSON.
    cores
        How many of the machine's cores are for this process; None: all.
    unwanted
        Asked again and again; once it says yes, the SCF is ended.

    Raises
    ------
    ZPEError
        As the engine does; ``worker_error`` for all else, since other errors may not survive the journey.
    """
    job, of_job = JobPayload.model_validate_json(payload), Task.from_json(json.loads(task))
    try:
        place = _place(told, cores)
        with (
            bound_contextvars(job_id=job_id, task=of_job.index),
            place.job(job_id),
            _stop_when(unwanted) as stop,
        ):
            return place.engine.run(job, of_job, job_id=job_id, stop=stop).model_dump_json()
    except ZPEError:
        raise
    except Exception as error:
        named = ComputeError(f"{type(error).__name__}: {error}", code="worker_error")
        named.add_note("In the executor's process:\n" + "".join(traceback.format_exception(error)))
        raise named from None


def run_alone(told: str, payload: str, task: str, job_id: str, *, stop_file: str) -> str:
    """Compute a task on one core, unless a file appears; see :func:`run`."""
    return run(told, payload, task, job_id, cores=1, unwanted=Path(stop_file).exists)


def describe_alone(told: str) -> str:
    """Return the capabilities of this process on one core; see :func:`describe`."""
    return describe(told, cores=1)


class Place:
    """The engine of this process, and the jobs it has worked on lately."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._jobs: Counter[str] = Counter()  # SCFs that run, by job; the latest job is the last
        self._lock = Lock()

    @contextmanager
    def job(self, job_id: str) -> Iterator[None]:
        """Keep a job's densities for the ``with`` block, and for as long as it is one of the latest."""
        with self._lock:
            self._jobs[job_id] = self._jobs.pop(job_id, 0) + 1
            for old in list(self._jobs)[:-KEPT_JOBS]:
                if not self._jobs[old]:
                    del self._jobs[old]
                    self.engine.forget(old)
        try:
            yield
        finally:
            with self._lock:
                self._jobs[job_id] -= 1


def _place(told: str, cores: int | None) -> Place:
    with _lock:
        if (told, cores) not in _places:
            options = json.loads(told)
            # A machine that has scratch space of its own says so itself.
            work_dir = Path(os.environ.get("ZPE_WORK_DIR") or options["work_dir"]).expanduser().absolute()
            folder = _held.enter_context(free_folder(work_dir, "executor"))
            settings = settings_from(options | {"work_dir": folder})
            _places[told, cores] = Place(local_engine(settings, cores=cores))
        return _places[told, cores]


@contextmanager
def _stop_when(unwanted: Callable[[], bool]) -> Iterator[Event]:
    stop, over = Event(), Event()

    def watch() -> None:
        while not over.wait(POLL_SECONDS):
            if unwanted():
                stop.set()
                return

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield stop
    finally:
        over.set()
        watcher.join()
