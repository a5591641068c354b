"""An engine whose SCFs run on the workers of a Dask cluster."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from threading import Lock
from urllib.parse import urlsplit

import structlog
from distributed import Client, Worker, get_worker
from distributed.scheduler import KilledWorker

from zpe_sdk.errors import ComputeError, ConfigError, ZPEError
from zpe_sdk.wire import Capabilities
from zpe_sdk.worker.engines import remote
from zpe_sdk.worker.engines.cores import available_cores
from zpe_sdk.worker.engines.executor import Pending, RemoteEngine, executor_lost
from zpe_sdk.worker.settings import WorkerSettings

SCHEMES = {"dask": "tcp", "dask+tls": "tls"}
PORT = 8786
CONNECT_SECONDS = 10
# After so long the Dask workers are asked again, so that those who come and go are noticed.
FRESH_SECONDS = 10.0
MAX_SLOTS = 4096

log = structlog.get_logger(__name__)


class DaskEngine(RemoteEngine):
    """Gives each SCF to a Dask scheduler, which has one of its workers run it.

    Where a Dask worker dies, Dask gives its SCFs to others. An SCF that is not wanted any more is ended where
    it runs; so is one of a ``zpe`` worker that has died, for Dask takes it back then.

    Parameters
    ----------
    settings
        The worker's settings; ``executor`` is ``dask://scheduler:8786``, or ``dask+tls://…`` for a scheduler
        that speaks TLS, with the certificates that Dask's own configuration names.

    Raises
    ------
    ConfigError
        ``bad_setting``: not a valid scheduler address.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        super().__init__(settings)
        self._address = scheduler_address(settings.executor or "")
        self._slots = settings.slots
        work_dir = settings.work_dir.expanduser().absolute()
        # The slots of the settings are those of the whole cluster.
        self._told = remote.told(settings, work_dir=work_dir, slots="auto")
        self._client: Client | None = None
        self._connecting, self._asking = Lock(), Lock()
        self._known: Capabilities | None = None
        self._known_until = 0.0

    def capabilities(self) -> Capabilities:
        """Ask all Dask workers, a few seconds ago or now: what all of them can run.

        Raises
        ------
        ConfigError
            ``executor_unreachable``; ``executor_empty``: no Dask worker is there; ``executor_mixed``: their
            pw.x differ; or whatever one of them lacks.
        """
        with self._asking:
            if self._known is None or time.monotonic() > self._known_until:
                self._known = self._ask()
                self._known_until = time.monotonic() + FRESH_SECONDS
            return self._known

    def _ask(self) -> Capabilities:
        client = self._connected()
        try:
            answers = client.run(describe_there, self._told, on_error="return")
        except Exception as error:
            raise self._unreachable(error) from error
        found: dict[str, Capabilities] = {}
        for address, answer in answers.items():
            if isinstance(answer, ZPEError):
                raise ConfigError(
                    f"Dask worker {address}: {answer.message}", code=answer.code, field=answer.field
                )
            if isinstance(answer, OSError):
                log.warning("a Dask worker does not answer", address=address, reason=str(answer))
            elif isinstance(answer, Exception):
                raise self._named(answer)
            else:
                found[address] = Capabilities.model_validate_json(answer)
        combined = _of_all(found)
        if self._slots != "auto":
            combined = combined.model_copy(update={"slots": self._slots})
        before = self._known
        if before is None or before.slots != combined.slots:
            log.info("Dask workers", address=self._address, workers=len(found), slots=combined.slots)
        return combined

    def _submit(self, payload: str, task: str, job_id: str) -> Pending:
        try:
            client = self._connected()
        except ConfigError as error:  # nothing that other jobs, or this one later, would suffer from
            raise executor_lost(error.message) from error
        # A key of its own: Dask would answer the next attempt with what it remembers of this one.
        pending: Pending = client.submit(run_there, self._told, payload, task, job_id, pure=False)
        return pending

    def _stop(self, pending: Pending) -> None:
        with suppress(Exception):  # a scheduler that is gone has nothing to cancel
            pending.cancel()

    def _named(self, error: BaseException) -> ZPEError:
        if isinstance(error, KilledWorker):
            return ComputeError(
                f"{error.allowed_failures + 1} Dask workers died one after the other in this SCF",
                code="worker_died",
            )
        named = super()._named(error)
        if named.code == "executor_lost":
            self._known = None  # no new work before the scheduler has answered
        return named

    def _connected(self) -> Client:
        with self._connecting:
            if self._client is None or self._client.status not in ("running", "connecting"):
                try:
                    self._client = Client(  # type: ignore[no-untyped-call]
                        self._address, timeout=CONNECT_SECONDS, set_as_default=False
                    )
                except Exception as error:
                    raise self._unreachable(error) from error
            if self._client.status != "running":
                raise self._unreachable("the connection is lost")
            return self._client

    def _unreachable(self, why: Exception | str) -> ConfigError:
        return ConfigError(
            f"there is no Dask scheduler at {self._address}, or it does not answer: {why}",
            code="executor_unreachable",
            field="ZPE_EXECUTOR",
        )


def scheduler_address(url: str) -> str:
    """Return the address of a Dask scheduler as Dask writes it.

    Raises
    ------
    ConfigError
        ``bad_setting``: it is not ``dask://host:port``.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or PORT
    except ValueError:
        parts, host, port = urlsplit(""), None, PORT
    rest = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    if parts.scheme not in SCHEMES or not host or rest:
        raise ConfigError(
            f"ZPE_EXECUTOR must be dask://host:port or dask+tls://host:port; it is {url!r}",
            code="bad_setting",
            field="ZPE_EXECUTOR",
        )
    return f"{SCHEMES[parts.scheme]}://{f'[{host}]' if ':' in host else host}:{port}"


def run_there(told: str, payload: str, task: str, job_id: str) -> str:
    """Compute a task on a Dask worker, for as long as Dask wants it; see :func:`remote.run`."""
    worker = get_worker()
    key = worker.get_current_task()

    def unwanted() -> bool:
        # Dask does not end what runs: it notes that nobody wants it any more, and waits.
        state = worker.state.tasks.get(key)
        return state is None or state.state == "cancelled"

    return remote.run(told, payload, task, job_id, cores=_cores_of(worker), unwanted=unwanted)


async def describe_there(told: str, dask_worker: Worker) -> str:
    """Return the capabilities of a Dask worker, without waiting for a free thread of it."""
    return await asyncio.to_thread(remote.describe, told, cores=_cores_of(dask_worker))


def _cores_of(worker: Worker) -> int | None:
    """Return how many cores are for a Dask worker's process: as many as it has threads; None for all."""
    threads = worker.state.nthreads
    return None if threads >= len(available_cores()) else threads


def _of_all(found: dict[str, Capabilities]) -> Capabilities:
    """Return what each of several machines can run."""
    if not found:
        raise ConfigError(
            "no Dask worker has joined the scheduler; start some, or wait for the batch system to",
            code="executor_empty",
            field="ZPE_EXECUTOR",
        )
    versions = {answer.engine_version: address for address, answer in found.items()}
    if len(versions) > 1:
        # A job whose forces come from both would never be complete.
        each = ", ".join(f"{version} at {address}" for version, address in versions.items())
        raise ConfigError(
            f"the Dask workers run different versions of pw.x: {each}",
            code="executor_mixed",
            field="ZPE_EXECUTOR",
        )
    lists = [answer.pseudopotentials for answer in found.values()]
    listed = [set(files) for files in lists if files is not None]
    one = next(iter(found.values()))
    # What a job requires of a machine, whichever of them gets its SCF must have.
    cores = [answer.cores for answer in found.values() if answer.cores is not None]
    memory = [answer.memory_gb for answer in found.values() if answer.memory_gb is not None]
    return one.model_copy(
        update={
            "pseudopotentials": sorted(set.intersection(*listed)) if listed else None,
            "environ": all(answer.environ for answer in found.values()),
            "environ_input": all(answer.environ_input for answer in found.values()),
            # One that has other files than the rest computes other forces: then nothing is promised.
            "files_sha256": one.files_sha256 if len({a.files_sha256 for a in found.values()}) == 1 else None,
            "cores": min(cores, default=None),
            "memory_gb": min(memory, default=None),
            "tags": sorted(set.intersection(*(set(answer.tags) for answer in found.values()))),
            "relaxes": False,
            "slots": min(sum(answer.slots for answer in found.values()), MAX_SLOTS),
        }
    )
