"""The worker's loop: lease tasks, compute them side by side, report each, renew the leases meanwhile.

The workload decides what comes next. Threads: one per slot computes; one asks for work; one delivers
messages; one sends heartbeats, so that a worker whose slots are all busy does not look dead. The main thread
waits for the end.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from functools import partial
from threading import Condition, Event, Thread

import structlog
from structlog.contextvars import bound_contextvars

from zpe_sdk.errors import AuthError, ZPEError
from zpe_sdk.traces import Traces, now
from zpe_sdk.wire import Capabilities, HeartbeatRequest, LeaseReply
from zpe_sdk.worker.actions import Action, Forget, Note, Send, Stop, Strike
from zpe_sdk.worker.compute import compute
from zpe_sdk.worker.control import Control, Token
from zpe_sdk.worker.delivery import Delivery
from zpe_sdk.worker.engines import Engine, StepTaken
from zpe_sdk.worker.held import Ask, Run
from zpe_sdk.worker.journal import Journal
from zpe_sdk.worker.messages import Answer, OutboxMessage, handed_back
from zpe_sdk.worker.outbox import Outbox
from zpe_sdk.worker.polling import SHORT_POLL_SECONDS, Polling
from zpe_sdk.worker.settings import WorkerSettings
from zpe_sdk.worker.sight import Sight
from zpe_sdk.worker.spans import note_step, note_task
from zpe_sdk.worker.status import note_contact
from zpe_sdk.worker.workload import CLOSING_SECONDS, Workload

# Cancellations travel with heartbeats.
MIN_HEARTBEAT_SECONDS = 0.2  # whatever time to live a control plane names
MAX_HEARTBEAT_SECONDS = 10.0
DEFAULT_TTL_SECONDS = 600.0
GOODBYE_SECONDS = 2.0
TRACES_SECONDS = 1.0

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
        self._drain = settings.drain
        self._folder = settings.work_dir
        self._engine = engine
        self._slots = capabilities.slots
        self._control = control
        self._credentials = credentials
        self._outbox = Outbox(settings.work_dir / "outbox")
        self._traces = Traces("zpe-worker", settings.worker_name)
        self._delivery = Delivery(control, self._outbox, self._answered, self._traces)
        self._polling = Polling(
            control, engine, self._outbox, stopping, self._wanted, self._offered, drain=settings.drain
        )
        self._journal = Journal(settings.work_dir / "leases")
        self._stopping = stopping
        # Held while the workload is told something and what it wants is done.
        self._changed = Condition()
        self._workload = Workload(
            self._slots,
            has_others=control.has_others,
            now=time.monotonic(),
            max_seconds=settings.seconds_left(),
        )
        self._stops: dict[Run, Event] = {}
        self._sight = Sight()
        with self._changed:
            self._do(self._workload.adopt(self._journal.entries()))
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
        poller = self._thread(self._polling.run)
        slots = [self._thread(self._slot) for _ in range(self._slots)]
        delivery = self._thread(self._delivery.run)
        beat = self._thread(self._beat)
        while not self._stopping.wait(0.2):
            if self._workload.time_is_up(time.monotonic()):
                log.info("the wall time is over; running SCFs are stopped")
                break
            if self._workload.ended and not any(slot.is_alive() for slot in slots):
                break
        self._close(poller, slots, delivery, beat)
        if self._error:
            raise self._error

    def _close(self, poller: Thread, slots: list[Thread], delivery: Thread, beat: Thread) -> None:
        deadline = time.monotonic() + CLOSING_SECONDS
        self._stopping.set()
        self._beat_now.set()
        with self._changed:
            at_work = bool(self._workload.leases)
            self._do(self._workload.stop())
        for slot in slots:
            slot.join(deadline - time.monotonic())
        if at_work:
            poller.join(SHORT_POLL_SECONDS + 1)
        # Before it asks for the last time: from here on, a poll that is still under way is given nothing.
        self._say_goodbye(beat)
        if lease := self._polling.settle():
            self._delivery.send(handed_back(lease))
        with self._changed:
            self._do(self._workload.hand_back())
        self._delivery.close(1.0 if self._control.away else max(1.0, deadline - time.monotonic()))
        delivery.join(CLOSING_SECONDS)
        self._traces.close(TRACES_SECONDS)
        if len(self._outbox):
            log.warning(
                "some results are not delivered yet; the next start sends them", count=len(self._outbox)
            )

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

    def _do(self, actions: Iterable[Action]) -> None:
        """Do what the workload wants done, and have all threads look again what is there for them."""
        for action in actions:
            match action:
                case Send(message, hurry):
                    self._delivery.send(message, hurry=hurry)
                case Note(entry):
                    self._journal.note(entry)
                case Strike(lease_id):
                    self._journal.strike(lease_id)
                case Stop(run):
                    self._stops[run].set()
                case Forget(job_id):
                    self._engine.forget(job_id)
        self._changed.notify_all()

    def _wanted(self) -> Ask | None:
        """Return what to ask for, once it is something; None at the end.

        Messages go first: a lease may have expired while the control plane was away, and would bring home
        again what is finished.
        """
        with self._changed:
            while not self._stopping.is_set():
                ask = self._workload.wanted(time.monotonic())
                if self._workload.ended:
                    self._changed.notify_all()
                    break
                if ask and not len(self._outbox):
                    return ask
                if ask:
                    self._delivery.hurry()
                self._changed.wait()
        return None

    def _offered(self, ask: Ask, lease: LeaseReply | None) -> None:
        slots = self._engine.slots_for(lease.payload) if lease else (1, 1)
        with self._changed:
            if lease and self._stopping.is_set():
                self._delivery.send(handed_back(lease))
            elif lease:
                undelivered = self._outbox.all()
                with bound_contextvars(job_id=lease.job_id, request_id=lease.request_id):
                    self._do(self._workload.take(lease, ask, slots=slots, undelivered=undelivered))
                if self._ttl != lease.lease_ttl_seconds:
                    self._ttl = lease.lease_ttl_seconds
                    self._beat_now.set()
            else:
                self._workload.found_nothing(ask, drain=self._drain)
                self._changed.notify_all()
                if self._drain and not self._workload.ended:
                    self._changed.wait(1.0)

    def _slot(self) -> None:
        while begun := self._next():
            run, stop = begun
            lease, task = run.lease.reply, run.task
            started, began = time.monotonic(), now()
            with bound_contextvars(job_id=lease.job_id, request_id=lease.request_id, task=task.index):
                outcome = compute(
                    self._engine,
                    lease,
                    task,
                    stop=stop,
                    slots=run.slots,
                    on_step=partial(self._stepped, run),
                    on_iteration=self._sight.begins(run),
                )
            self._sight.ends(run)
            note_task(self._traces, run, began, outcome)
            with self._changed:
                del self._stops[run]
                self._do(self._workload.finish(run, outcome, time.monotonic() - started))

    def _stepped(self, run: Run, taken: StepTaken) -> None:
        note_step(self._traces, run, taken)
        with self._changed:
            self._do(self._workload.stepped(run, taken))

    def _next(self) -> tuple[Run, Event] | None:
        with self._changed:
            while not self._stopping.is_set():
                if begun := self._workload.begin(time.monotonic(), self._engine.ready):
                    run, actions = begun
                    self._stops[run] = Event()
                    self._do(actions)
                    return run, self._stops[run]
                if self._workload.ended:
                    self._changed.notify_all()
                    return None
                self._changed.wait()
        return None

    def _beat(self) -> None:
        """Renew the leases and the token, and hear what became of them."""
        while not self._stopping.is_set():
            self._beat_now.clear()
            with self._changed:
                leases = list(self._workload.leases)
                running = self._sight.by_lease()
            try:
                self._credentials.rotate_if_due()
                request = HeartbeatRequest(
                    lease_ids=leases, running=running, memory_free_gb=self._engine.memory_free_gb()
                )
                reply = self._control.heartbeat(request, seconds=self._beat_seconds)
                self._ttl = reply.lease_ttl_seconds
                note_contact(self._folder)
                with self._changed:
                    self._do(self._workload.renewed(reply))
                self._delivery.offer_again()
            except AuthError:
                raise
            except ZPEError as error:  # the next beat will tell
                if error.side not in ("config", "store"):  # the outage is already logged
                    log.warning("the heartbeat was refused", reason=str(error))
            self._beat_now.wait(self._beat_seconds)  # of the time to live that the reply has brought

    def _say_goodbye(self, beat: Thread) -> None:
        """Tell that nobody is to wait for this worker; unheard, it counts as there for a minute."""
        if self._control.away or self._error:
            return
        beat.join(GOODBYE_SECONDS)  # no sign of life may come after it
        with contextlib.suppress(ZPEError):
            self._control.heartbeat(HeartbeatRequest(ending=True), seconds=GOODBYE_SECONDS)

    @property
    def _beat_seconds(self) -> float:
        return max(MIN_HEARTBEAT_SECONDS, min(self._ttl / 3, MAX_HEARTBEAT_SECONDS))

    def _answered(self, message: OutboxMessage, answer: Answer) -> None:
        """Act on an answer to a message."""
        with self._changed:
            self._do(self._workload.answered(message, answer))
