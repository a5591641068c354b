"""Springs in place of pw.x, in the control plane itself: for teaching, tests and the first look."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import traceback
import uuid
from collections.abc import Awaitable, Callable
from threading import Event
from typing import TypeVar

import anyio.from_thread
import anyio.to_thread
import structlog

from zpe_sdk.errors import ComputeError, InputError, StoreError, ZPEError
from zpe_sdk.wire import (
    FailedRequest,
    LeaseReply,
    LeaseRequest,
    StepReply,
    StepRequest,
    Task,
    TaskReport,
    TaskReportRequest,
)
from zpe_sdk.worker.engines import StepTaken
from zpe_sdk.worker.engines.mock import MockEngine
from zpe_sdk.worker.settings import WorkerSettings
from zpe_server.plane import Plane
from zpe_server.tokens import Principal
from zpe_server.transitions.workers import Introduce

log = structlog.get_logger(__name__)
Answer = TypeVar("Answer")

_MAX_TASKS = 64
_WAIT_SECONDS = 30
_PAUSE_SECONDS = 1.0


class Mock:
    """A worker inside the control plane: it takes leases as any other does, without the way over HTTP."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._who = Principal("worker", f"mock-{socket.gethostname()}-{os.getpid()}", "mock")
        self._engine = MockEngine(WorkerSettings(work_dir=plane.settings.data_dir / "mock"))
        self._instance = ""
        self._stop = Event()

    async def run(self) -> None:
        """Compute jobs until cancelled, or until the control plane closes."""
        # Begun anew after a fault, it must neither be stopped nor keep the leases of before alive.
        self._instance = uuid.uuid4().hex
        self._stop = Event()
        try:
            while not self._plane.events.closing:
                await self._work()
        finally:
            self._stop.set()

    async def _work(self) -> None:
        """Be listed among the workers, and do what there is to do."""
        await self._surely(
            lambda: self._plane.store.transition(Introduce(worker=self._who.subject, name=self._who.name))
        )
        # With a key, a lease whose reply was lost is found again.
        request = LeaseRequest(
            max_tasks=_MAX_TASKS,
            wait_seconds=_WAIT_SECONDS,
            capabilities=self._engine.capabilities(),
            lease_key=uuid.uuid4().hex,
        )

        async def never() -> bool:
            return False

        lease = await self._surely(
            lambda: self._plane.leases.lease(self._who, request, instance=self._instance, disconnected=never)
        )
        if lease is None:
            return
        with structlog.contextvars.bound_contextvars(job_id=lease.job_id, request_id=lease.request_id):
            try:
                for task in lease.tasks:
                    if not await self._compute(lease, task):
                        break
            except InputError as error:
                log.warning("the job is gone", reason=str(error))

    async def _compute(self, lease: LeaseReply, task: Task) -> bool:
        """Compute and report one task; return whether to go on with the lease."""
        try:
            report = await anyio.to_thread.run_sync(
                lambda: (
                    self._relax(lease)
                    if lease.relaxation
                    else self._engine.run(lease.payload, task, job_id=lease.job_id, stop=self._stop)
                )
            )
        except ZPEError as error:
            failure = FailedRequest(
                lease_id=lease.lease_id,
                error_code=error.code,
                error_message=error.message,
                traceback=traceback.format_exc(),
                tasks=[task.index],
                side=error.side,
            )
            reply = await self._surely(
                lambda: self._plane.reports.fail(self._who, lease.job_id, failure, instance=self._instance)
            )
            return reply.requeued
        request = TaskReportRequest(lease_id=lease.lease_id, reports=[report])
        told, complete = await self._surely(
            lambda: self._plane.reports.report(self._who, lease.job_id, request, instance=self._instance)
        )
        if complete:
            with contextlib.suppress(StoreError):  # the sweeper tries again
                await self._plane.completion.complete(lease.job_id)
        return told.lease_held

    def _relax(self, lease: LeaseReply) -> TaskReport:
        """Relax a structure, in a thread; each step is stored before the next one is begun."""
        assert lease.relaxation is not None

        def on_step(taken: StepTaken) -> None:
            request = taken.request(lease.lease_id)
            told = anyio.from_thread.run(self._surely, lambda: self._step(lease.job_id, request))
            if not told.lease_held:
                raise ComputeError("others have the relaxation now", code="stopped")

        return self._engine.relax(
            lease.payload, lease.relaxation, job_id=lease.job_id, stop=self._stop, on_step=on_step
        )

    async def _step(self, job_id: str, request: StepRequest) -> StepReply:
        return await self._plane.reports.step(self._who, job_id, request, instance=self._instance)

    async def _surely(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        """Make a call, again and again while the store is away: a lease given up here would be held on."""
        while True:
            try:
                return await call()
            except StoreError as error:  # said by others
                log.debug("the store is away", reason=str(error))
                await asyncio.sleep(_PAUSE_SECONDS)
