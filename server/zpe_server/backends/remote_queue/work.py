"""What an RQ worker runs: one lease on one job, with the loop and the engine of every other worker."""

from __future__ import annotations

import signal
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Event
from typing import Any

import structlog
from anyio.from_thread import start_blocking_portal

from zpe_sdk.errors import ConfigError
from zpe_sdk.logging import configure_logging
from zpe_sdk.wire import FailedReply, FailedRequest, LeaseRequest
from zpe_sdk.worker.engines import make_engine
from zpe_sdk.worker.files import free_folder
from zpe_sdk.worker.loop import Worker
from zpe_sdk.worker.settings import WorkerSettings, settings_from
from zpe_server.backends.remote_queue.direct import Direct
from zpe_server.backends.remote_queue.leases import JobLeases
from zpe_server.events import Events
from zpe_server.reports import Reports
from zpe_server.settings import Settings
from zpe_server.store import Store
from zpe_server.tokens import Principal
from zpe_server.transitions.jobs import Requeue

log = structlog.get_logger(__name__)


def run(job_id: str, lease_id: str, rules: Mapping[str, Any]) -> None:
    """Compute what is due of a job, under one lease.

    An SCF that fails is told to the control plane, as any worker does: for RQ this function went well. It
    raises only if it could not do its work at all, and leaves it to the control plane to count that.

    Parameters
    ----------
    job_id, lease_id
        The job, and the id that the lease on it is to have.
    rules
        The control plane's settings of leases and retries.
    """
    _work(job_id, lease_id, rules, requeue=False)


def again(job_id: str, lease_id: str, rules: Mapping[str, Any]) -> None:
    """Take a job out of the dead-letter queue, and compute what is left of it; see :func:`run`."""
    _work(job_id, lease_id, rules, requeue=True)


def _work(job_id: str, lease_id: str, rules: Mapping[str, Any], *, requeue: bool) -> None:
    settings = settings_from({"drain": True})
    configure_logging(settings.log_level, settings.log_json)
    server = Settings(**rules)
    if server.redis_url is None:
        raise ConfigError(
            "ZPE_REDIS_URL must name the Redis of the control plane",
            code="redis_url_missing",
            field="ZPE_REDIS_URL",
        )
    stopping = Event()
    store = Store(server.redis_url.get_secret_value())
    with (
        # Its name is the worker's id, so that what is left in it by one that was killed finds its way.
        free_folder(settings.work_dir.expanduser().absolute(), "rq") as folder,
        _stopped_by_sigterm(stopping),
        start_blocking_portal() as portal,
    ):
        try:
            if requeue:
                portal.call(lambda: store.transition(Requeue(job=job_id, by="rq")))
            who = Principal("worker", folder.name, f"{settings.worker_name} {folder.name}")
            leases = JobLeases(store, Events(store), server)
            control = Direct(portal, leases, Reports(store, server), who, job_id, lease_id, stopping)
            _run(settings.model_copy(update={"work_dir": folder}), control, stopping)
        finally:
            portal.call(store.close)


def _run(settings: WorkerSettings, control: Direct, stopping: Event) -> None:
    try:
        engine = make_engine(settings)
        capabilities = engine.capabilities()
    except ConfigError as error:
        _decline(control, error)
        return
    Worker(settings, engine, capabilities, control, _NoToken(), stopping).run()


def _decline(control: Direct, error: ConfigError) -> None:
    """Say why this machine cannot compute, so that the job's status does; others may be able to."""
    log.error("this machine cannot compute", reason=str(error))
    if lease := control.lease(LeaseRequest(), lambda: False):
        failure = FailedRequest(
            lease_id=lease.lease_id,
            error_code=error.code,
            error_message=error.message,
            traceback=traceback.format_exc(),
            side=error.side,
        )
        control.about_job(lease.job_id, "failed", failure, FailedReply)


class _NoToken:
    """In place of credentials: whoever reaches Redis needs none."""

    def rotate_if_due(self) -> None:
        """Do nothing."""


@contextmanager
def _stopped_by_sigterm(stopping: Event) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
