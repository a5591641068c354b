"""The worker's loop: lease tasks, compute them side by side, report each, renew the leases meanwhile.

Threads: one per slot computes; one asks for work; one carries letters; one sends heartbeats, so that a
worker whose slots are all busy does not look dead. The main thread waits for the end.
"""

from __future__ import annotations

import contextlib
import math
import time
import uuid
from collections import deque
from collections.abc import Callable
from functools import partial
from threading import Condition, Event, Thread

import structlog
from structlog.contextvars import bound_contextvars

from zpe_sdk.errors import AuthError, ConfigError, ZPEError
from zpe_sdk.wire import (
    OVER,
    Capabilities,
    HeartbeatRequest,
    JobState,
    LeaseReply,
    LeaseRequest,
)
from zpe_sdk.worker.compute import compute
from zpe_sdk.worker.control import Control, LeaseState, Token
from zpe_sdk.worker.courier import Courier
from zpe_sdk.worker.engines import Engine
from zpe_sdk.worker.outbox import Letter, Outbox
from zpe_sdk.worker.pace import CLOSING_SECONDS, Pace
from zpe_sdk.worker.settings import WorkerSettings
from zpe_sdk.worker.shares import Logbook, Run, Share

POLL_SECONDS = 25.0
# While there is work on hand. A worker that stops waits for its last poll before it hands leases back,
# or that poll would bring them home again.
SHORT_POLL_SECONDS = 2.0
# Cancellations travel with heartbeats.
MAX_HEARTBEAT_SECONDS = 10.0
DEFAULT_TTL_SECONDS = 600.0
KEPT_JOBS = 4

log = structlog.get_logger(__name__)


class Worker:
    """A worker at work.

    Parameters
    ----------
    settings, engine, capabilities
        How to work, with what, and what it can run on this machine.
    control, credentials
        The control plane, and who keeps the token for it.
    stopping
        Set it to end soon: what runs is stopped, what is finished is reported, the rest is handed back.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        engine: Engine,
        capabilities: Capabilities,
        control: Control,
        credentials: Token,
        stopping: Event,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._slots = capabilities.slots
        self._slots_per_scf = 1  # of the job that came last
        self._is_all = False  # the control plane has no more work than this, or wants others to have it
        self._pace = Pace(settings.max_seconds)
        self._control = control
        self._credentials = credentials
        self._outbox = Outbox(settings.work_dir / "outbox")
        self._courier = Courier(control, self._outbox, self._heard)
        self._logbook = Logbook(settings.work_dir / "leases")
        for letter in self._logbook.testament():
            self._courier.post(letter)

        self._stopping = stopping
        self._over = False  # the wall time or the work is used up: nothing new is begun
        self._changed = Condition()
        self._shares: dict[str, Share] = {}
        self._runs: dict[tuple[str, int], Run] = {}  # by job and task
        self._jobs: dict[str, bool] = {}  # job -> whether it is over; the last one worked on is the last
        self._draining = False
        self._asking: LeaseRequest | None = None
        self._ttl = DEFAULT_TTL_SECONDS
        self._beat_now = Event()
        self._error: BaseException | None = None

    def run(self) -> None:
        """Work until told to stop, or until there is no work or no time left.

        Raises
        ------
        ZPEError
            The control plane rejects this worker, or the URL is not a control plane.
        """
        poller = self._thread(self._poll)
        slots = [self._thread(self._slot) for _ in range(self._slots)]
        courier = self._thread(self._courier.run)
        self._thread(self._beat)
        while not self._stopping.wait(0.2):
            if self._pace.time_is_up():
                log.info("the wall time is over; running SCFs are stopped")
                break
            if self._over and not any(slot.is_alive() for slot in slots):
                break
        self._close(poller, slots, courier)
        if self._error:
            raise self._error

    def _close(self, poller: Thread, slots: list[Thread], courier: Thread) -> None:
        deadline = time.monotonic() + CLOSING_SECONDS
        self._stopping.set()
        with self._changed:
            at_work = bool(self._shares)
            for run in self._runs.values():
                run.stop.set()
            self._changed.notify_all()
        for slot in slots:
            slot.join(deadline - time.monotonic())
        if at_work:
            poller.join(SHORT_POLL_SECONDS + 1)
        self._settle_poll()
        with self._changed:
            for share in self._shares.values():
                if not share.lost:
                    self._hand_back(share.lease)
                share.waiting.clear()
                share.running.clear()
                self._logbook.note(share)
            for job_id in self._jobs:
                self._engine.forget(job_id)
        self._courier.close(1.0 if self._control.away else max(1.0, deadline - time.monotonic()))
        courier.join(CLOSING_SECONDS)
        if len(self._outbox):
            log.warning(
                "some results are not delivered yet; the next start sends them", count=len(self._outbox)
            )

    def _settle_poll(self) -> None:
        """Hand back what the poll that is still under way was given, if its answer is not here yet."""
        request = self._asking
        if request is None or self._control.away:
            return
        with contextlib.suppress(ZPEError):  # the lease, if there is one, will expire
            request = request.model_copy(update={"wait_seconds": 0})
            if lease := self._control.lease(request, give_up=lambda: True):
                self._hand_back(lease)

    def _thread(self, target: Callable[[], None]) -> Thread:
        def guarded() -> None:
            try:
                target()
            except BaseException as error:
                if not isinstance(error, ZPEError):
                    log.exception("a part of the worker broke")
                self._error = self._error or error
                self._stopping.set()

        thread = Thread(target=guarded, name=target.__name__.strip("_"), daemon=True)
        thread.start()
        return thread

    # ------------------------------------------------------------------------------------ fetching

    def _poll(self) -> None:
        """Lease work whenever there is little on hand."""
        # One key until there is an answer: a lost reply must not leave a lease that nobody knows of.
        lease_key = uuid.uuid4().hex
        while wanted := self._wait_until_wanted():
            drain, idle = self._settings.drain, not self._shares
            wait = 0.0 if drain else POLL_SECONDS if idle else SHORT_POLL_SECONDS
            try:
                capabilities = self._engine.capabilities()
            except ConfigError as error:  # an unmounted file system may come back
                log.warning("this machine cannot take work at the moment", reason=str(error))
                self._stopping.wait(POLL_SECONDS)
                continue
            with self._changed:
                warm = [job for job, over in self._jobs.items() if not over]
            request = LeaseRequest(
                max_tasks=wanted,
                wait_seconds=wait,
                capabilities=capabilities,
                lease_key=lease_key,
                warm=warm[-KEPT_JOBS:],
            )
            self._asking = request
            try:
                lease = self._control.lease(request, give_up=self._has_letters)
            except ZPEError as error:
                if self._stopping.is_set():
                    return
                if self._has_letters() and error.side in ("config", "store"):
                    continue
                raise
            lease_key = uuid.uuid4().hex
            self._is_all = lease is None or not lease.more or len(lease.tasks) < wanted
            if lease:
                self._take(lease)
            self._asking = None
            if lease is None and drain and idle:
                self._end("there is no work left")
            elif lease is None and drain:
                with self._changed:
                    self._changed.wait(1.0)

    def _has_letters(self) -> bool:
        return len(self._outbox) > 0

    def _wait_until_wanted(self) -> int:
        """Return how many tasks to ask for, once it is more than none; 0 at the end.

        Letters go first: a lease may have expired while the control plane was away, and would bring home
        again what is finished.
        """
        with self._changed:
            while not self._stopping.is_set() and not self._over:
                wanted = self._pace.wanted(*self._load())
                if wanted and not self._draining and self._has_letters():
                    self._courier.hurry()
                elif wanted and not self._draining:
                    if self._pace.fits():
                        return wanted
                    self._end("no further SCF fits into the wall time")
                    break
                self._changed.wait()
        return 0

    def _load(self) -> tuple[int, int]:
        """Return how many SCFs are on hand, and how many run side by side, of the size that came last."""
        in_use = sum(run.slots for run in self._runs.values())
        waiting = sum(len(share.waiting) for share in self._shares.values())
        each = self._slots_per_scf
        return waiting + math.ceil(in_use / each), max(1, self._slots // each)

    def _end(self, why: str) -> None:
        """Begin nothing new."""
        with self._changed:
            if not self._over:
                log.info(why)
            self._over = True
            self._changed.notify_all()

    def _take(self, lease: LeaseReply) -> None:
        share = Share.of(lease)
        with self._changed, bound_contextvars(job_id=lease.job_id, request_id=lease.request_id):
            if self._stopping.is_set() or self._over:
                self._hand_back(lease)
                return
            log.info("work taken", lease_id=lease.lease_id, tasks=[task.index for task in share.waiting])
            self._adopt(share)
            self._slots_per_scf, _ = self._engine.slots_for(lease.payload)
            if self._control.has_others:
                self._hand_back_excess(share)
            self._shares[lease.lease_id] = share
            self._jobs.pop(lease.job_id, None)
            self._jobs[lease.job_id] = False
            if self._ttl != lease.lease_ttl_seconds:
                self._ttl = lease.lease_ttl_seconds
                self._beat_now.set()
            self._logbook.note(share)
            self._changed.notify_all()

    def _adopt(self, share: Share) -> None:
        """Go on with what still runs under an earlier, lost lease on the same tasks."""
        for task in list(share.waiting):
            if run := self._runs.get((share.lease.job_id, task.index)):
                share.waiting.remove(task)
                share.running.add(task.index)
                former, run.share = run.share, share
                former.running.discard(task.index)
                self._tidy(former)

    def _hand_back_excess(self, share: Share) -> None:
        """Hand back what others could run sooner, where SCFs turn out to be larger than the last ones."""
        target = self._pace.target(max(1, self._slots // self._slots_per_scf))
        excess = [task.index for task in list(share.waiting)[target:]]
        if excess:
            share.waiting = deque(list(share.waiting)[:target])
            log.info("tasks handed back that there is no room for", tasks=excess)
            lease = share.lease
            self._courier.post(Letter(job_id=lease.job_id, lease_id=lease.lease_id, returned=excess))

    def _hand_back(self, lease: LeaseReply) -> None:
        self._courier.post(Letter(job_id=lease.job_id, lease_id=lease.lease_id))

    # ----------------------------------------------------------------------------------- computing

    def _slot(self) -> None:
        while run := self._next():
            lease, task = run.share.lease, run.task
            started = time.monotonic()
            with bound_contextvars(job_id=lease.job_id, request_id=lease.request_id, task=task.index):
                letter = compute(self._engine, run)
            with self._changed:
                share = run.share
                del self._runs[lease.job_id, task.index]
                share.running.discard(task.index)
                if letter is None and not share.lost:
                    share.waiting.appendleft(task)  # the worker stops, and will hand it back
                if letter and letter.report:
                    self._pace.measured(time.monotonic() - started)
                if letter and letter.failure and letter.failure.side != "compute" and letter.failure.tasks:
                    # What waits would fail in the same way.
                    letter.failure.tasks += [other.index for other in share.waiting]
                    share.waiting.clear()
                last = share.over
            if letter:
                hurry = last or letter.report is None
                self._courier.post(letter.about(share.lease.lease_id), hurry=hurry)
            with self._changed:
                self._tidy(share)

    def _next(self) -> Run | None:
        with self._changed:
            while not self._stopping.is_set():
                if not self._pace.fits() and any(share.waiting for share in self._shares.values()):
                    self._end("no further SCF fits into the wall time")
                elif run := self._begin():
                    return run
                if self._over:
                    return None
                self._changed.wait()
        return None

    def _begin(self) -> Run | None:
        """Begin the first task whose turn it is, if there is room for it; the last ones share all slots."""
        free = self._slots - sum(run.slots for run in self._runs.values())
        on_hand = sum(len(share.waiting) + len(share.running) for share in self._shares.values())
        for share in self._shares.values():
            if not share.waiting:
                continue
            job_id = share.lease.job_id
            fewest, most = self._engine.slots_for(share.lease.payload)
            if self._runs and fewest > free:
                return None  # smaller ones must not starve it
            running = [run.task for (job, _), run in self._runs.items() if job == job_id]
            ready = partial(self._engine.ready, job_id=job_id, running=running)
            task = next(filter(ready, share.waiting), None)
            if task is None:
                continue
            fair = min(most, self._slots // on_hand) if self._is_all else fewest
            run = Run(share, task, slots=min(free, max(fewest, fair)))
            share.waiting.remove(task)
            share.running.add(task.index)
            self._runs[job_id, task.index] = run
            self._logbook.note(share)
            self._changed.notify_all()
            return run
        return None

    # -------------------------------------------------------------------------------- being told

    def _beat(self) -> None:
        """Renew the leases and the token, and hear what became of them."""
        while not self._stopping.is_set():
            self._beat_now.clear()
            with self._changed:
                leases = list(self._shares)
            try:
                self._credentials.rotate_if_due()
                reply = self._control.heartbeat(
                    HeartbeatRequest(lease_ids=leases), seconds=self._beat_seconds
                )
                self._ttl = reply.lease_ttl_seconds
                for lease_id, state in reply.leases.items():
                    if state != "held":
                        self._lose(lease_id, state)
                for lease_id, left in reply.left.items():
                    self._keep_only(lease_id, left)
                self._drain(reply.draining)
            except AuthError:
                raise
            except ZPEError as error:  # the next beat will tell
                if error.side not in ("config", "store"):  # the outage is already logged
                    log.warning("the heartbeat was refused", reason=str(error))
            self._beat_now.wait(self._beat_seconds)  # of the time to live that the reply has brought

    @property
    def _beat_seconds(self) -> float:
        return min(self._ttl / 3, MAX_HEARTBEAT_SECONDS)

    def _lose(self, lease_id: str, state: LeaseState) -> None:
        """Drop a lease that the control plane considers ended.

        What runs under one that is ``lost`` goes on: its result is welcome unless others have been given
        the task. Under one that is ``cancelled`` it is stopped.
        """
        with self._changed:
            share = self._shares.get(lease_id)
            if share is None or share.over:
                return
            if not share.lost:
                log.warning("a lease is over", job_id=share.lease.job_id, lease_id=lease_id, reason=state)
            share.lost = True
            share.waiting.clear()
            if state == "cancelled":
                for index in share.running:
                    self._runs[share.lease.job_id, index].stop.set()
            self._tidy(share)

    def _keep_only(self, lease_id: str, left: list[int]) -> None:
        """Drop waiting tasks that the control plane has offered to others: they sat here too long."""
        with self._changed:
            if share := self._shares.get(lease_id):
                share.waiting = deque(task for task in share.waiting if task.index in left)
                self._tidy(share)

    def _drain(self, draining: bool) -> None:
        with self._changed:
            if draining != self._draining:
                log.info(
                    "an administrator wants no new work here" if draining else "new work is welcome again"
                )
            self._draining = draining
            self._changed.notify_all()

    def _heard(
        self, letter: Letter, status: JobState | None, state: LeaseState, left: list[int] | None
    ) -> None:
        """Act on an answer to a letter."""
        if left is not None:
            self._keep_only(letter.lease_id, left)
        if state != "held":
            self._lose(letter.lease_id, state)
        with self._changed:
            if status in OVER and letter.job_id in self._jobs:
                self._jobs[letter.job_id] = True
                for share in list(self._shares.values()):
                    if share.lease.job_id == letter.job_id:
                        self._lose(share.lease.lease_id, "cancelled")
            self._forget()
            self._changed.notify_all()

    def _tidy(self, share: Share) -> None:
        self._logbook.note(share)
        if share.over:
            self._shares.pop(share.lease.lease_id, None)
            self._forget()
        self._changed.notify_all()

    def _forget(self) -> None:
        """Let the engine remove what it keeps for jobs that are over, or have not been here for long."""
        in_use = {share.lease.job_id for share in self._shares.values()}
        idle = [job for job in self._jobs if job not in in_use]
        for job in idle:
            if self._jobs[job] or job in idle[:-KEPT_JOBS]:
                del self._jobs[job]
                self._engine.forget(job)
