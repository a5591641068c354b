"""Sees to it that RQ has what the state of our jobs asks for, and that what RQ reports is counted.

One pass compares the two and mends what differs. Passes follow each change of a job, and each other every
few seconds, for RQ tells nobody what it does. They may run on all replicas: a lock lets one in at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

import anyio.to_thread
import structlog
from redis.exceptions import RedisError

from zpe_sdk.errors import InputError, StoreError
from zpe_sdk.wire import FailedRequest
from zpe_server.backends.remote_queue.leases import JobLeases
from zpe_server.backends.remote_queue.offers import RESULT_SECONDS, Offer, Offers, State
from zpe_server.plane import Plane
from zpe_server.store import as_store_errors, key
from zpe_server.tokens import Principal
from zpe_server.transitions.base import items
from zpe_server.transitions.service import Rank, ReadDispatch

log = structlog.get_logger(__name__)

_IDLE_SECONDS = 2.0
_PAUSE_SECONDS = 0.05
_AWAY_SECONDS = 1.0
# A pass ends before; past this another replica takes over from one that has died in it.
_LOCK_SECONDS = 10.0
# An execution whose lease is over ends within moments, unless its worker is dead.
_ENDING_MS = 5000
# So long may a worker need from the queue to RQ's note that it has begun, and from there to its lease, unless
# it is dead. One that is only slower, as on a cold network disk, still gets its lease when it asks.
_TAKING_SECONDS = 5.0
_BEGINNING_SECONDS = 15.0
# As long as the sweeper leaves it to whoever began.
_COMPLETING_MS = 10_000
_RQ = Principal("admin", "rq", "rq")
# Whoever fails what no worker has begun.
_RQ_WORKER = Principal("worker", "rq", "RQ")
_RULES = {"lease_ttl_seconds", "retry_max", "retry_base_delay_seconds", "retry_max_delay_seconds"}


class RemoteQueue:
    """Offers jobs to ``rq worker zpe-2``."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._store = plane.store
        self._leases = JobLeases(plane.store, plane.events, plane.settings)
        assert plane.settings.redis_url is not None
        url = plane.settings.redis_url.get_secret_value()
        self._offers = Offers(url, plane.settings.model_dump(include=_RULES))
        self._news = asyncio.Event()
        # Since when a worker of RQ has had a job, and not taken the lease of that id.
        self._beginning: dict[tuple[str, str], float] = {}
        self._buried: set[str] = set()  # known to be so; saves a look at each in each pass

    async def run(self) -> None:
        """Compare and mend until cancelled."""
        listener = asyncio.create_task(self._listen())
        try:
            while True:
                self._news.clear()
                try:
                    with as_store_errors():
                        await self._compare()
                except StoreError as error:  # said by others
                    log.debug("the store is away", reason=str(error))
                    await asyncio.sleep(_AWAY_SECONDS)
                await asyncio.sleep(_PAUSE_SECONDS)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_IDLE_SECONDS):
                        await self._news.wait()
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)
            self._offers.close()

    async def _listen(self) -> None:
        while True:
            with contextlib.suppress(RedisError, OSError):
                async with self._store.redis.pubsub() as subscription:
                    await subscription.subscribe(key("events"))
                    async for _ in subscription.listen():
                        self._news.set()
            await asyncio.sleep(_AWAY_SECONDS)

    async def _compare(self) -> None:
        async with self._store.redis.lock(key("rq"), timeout=_LOCK_SECONDS):
            # Ours first: what RQ's workers take in between is then seen to be taken.
            ours = await self._store.transition(ReadDispatch())
            theirs = await anyio.to_thread.run_sync(self._offers.all)
            now, ready, dead = ours["now"], items(ours["ready"]), set(items(ours["dead"]))
            self._buried &= dead
            self._beginning = {
                (job_id, lease_id): since
                for (job_id, lease_id), since in self._beginning.items()
                if theirs.get(job_id) in ("taken", "started", "failed")
            }
            waiting = [job_id for job_id in ready if theirs.get(job_id) == "queued"]
            place = {job_id: n for n, job_id in enumerate(ready)}
            started = time.monotonic()
            for job_id in [*ready, *(dead - place.keys()), *(theirs.keys() - place.keys() - dead)]:
                if time.monotonic() - started > _LOCK_SECONDS / 2:
                    self._news.set()
                    return
                state = theirs.get(job_id)
                try:
                    if job_id in dead:
                        await self._mend_dead(job_id, state)
                    elif state == "failed":
                        await self._mend_failed(job_id)
                    elif state == "canceled":
                        await self._cancel(job_id)
                    elif job_id in place:
                        if state is None or await self._is_over(job_id, state, now):
                            later = (other for other in waiting if place[other] > place[job_id])
                            await self._offer(job_id, next(later, None))
                    elif state == "queued" or (state == "taken" and await self._is_over(job_id, state, now)):
                        await self._withdraw(job_id)
                except (StoreError, RedisError, OSError):
                    raise
                except Exception:  # RQ may trip over one job: the others go on
                    log.exception("this job and RQ could not be brought into line", job_id=job_id)
        for job_id in items(ours["assemble"]):
            await self._complete(job_id)

    # ------------------------------------------------------------------------------ what RQ is told

    async def _offer(self, job_id: str, before: str | None) -> None:
        # It may have been taken since we looked.
        if (await self._store.transition(Rank(job=job_id))).get("rank") is not None:
            await anyio.to_thread.run_sync(self._offers.put, job_id, before)
            log.info("job offered to RQ", job_id=job_id)

    async def _withdraw(self, job_id: str) -> None:
        await anyio.to_thread.run_sync(self._offers.withdraw, job_id)
        self._news.set()  # what comes in its place is for the next pass

    async def _is_over(self, job_id: str, state: State, now: float) -> bool:
        """Whether RQ's execution of a job with tasks that are due is over, and another one is wanted."""
        if state == "queued":
            return False
        offer = await self._get(job_id)
        if offer is None:
            return True
        lease = await self._store.fields(key("lease", offer.lease_id))
        if not lease:
            if state == "finished":  # it found nothing to do, and RQ will forget it soon
                return False
            since = self._beginning.setdefault((job_id, offer.lease_id), time.monotonic())
            return time.monotonic() - since > (_TAKING_SECONDS if state == "taken" else _BEGINNING_SECONDS)
        if lease["state"] == "held":
            return False
        return state == "finished" or now - float(lease["ended"]) > _ENDING_MS

    async def _mend_dead(self, job_id: str, state: State | None) -> None:
        """Have a job of the dead-letter queue among RQ's failed ones, unless it was requeued there."""
        if state == "failed" and job_id in self._buried:
            return
        offer = await self._get(job_id) if state in ("queued", "taken", "started", "failed") else None
        if offer and offer.again and state == "failed":
            self._buried.add(job_id)
        elif offer and offer.again and not offer.stopped:
            self._buried.discard(job_id)
            await self._requeue(job_id)
        elif state == "started" and offer:
            return  # its execution is about to end
        else:
            [job] = await self._plane.jobs.statuses([job_id])
            if job and job.in_dlq and job.error:
                error = job.error
                text = f"{error.message} [{error.side}/{error.code}]"
                if error.traceback:
                    text = f"{error.traceback.rstrip()}\n\n{text}"
                await anyio.to_thread.run_sync(self._offers.bury, job_id, text)
                self._buried.add(job_id)

    # ------------------------------------------------------------------------------- what RQ tells

    async def _get(self, job_id: str) -> Offer | None:
        return await anyio.to_thread.run_sync(self._offers.get, job_id)

    async def _requeue(self, job_id: str) -> None:
        with contextlib.suppress(InputError):  # somebody was faster
            await self._plane.jobs.requeue(_RQ, job_id)
            log.info("job requeued in RQ", job_id=job_id)

    async def _cancel(self, job_id: str) -> None:
        with contextlib.suppress(InputError):  # it is over
            await self._plane.jobs.cancel(_RQ, job_id)
            log.info("job cancelled in RQ", job_id=job_id)
        await self._withdraw(job_id)

    async def _mend_failed(self, job_id: str) -> None:
        """Count what RQ holds for failed: its worker has died, or could not even begin."""
        offer = await self._get(job_id)
        if offer and offer.stopped:
            await self._cancel(job_id)
            return
        if offer and offer.is_foreign:
            taken = (job_id, offer.lease_id)
            if taken not in self._beginning:
                self._beginning[taken] = time.monotonic()
                await self._decline(job_id, offer)
            # The same worker would have it again at once.
            if time.monotonic() - self._beginning[taken] < RESULT_SECONDS:
                return
        elif offer:
            await self._count(job_id, offer)
        await self._withdraw(job_id)

    async def _decline(self, job_id: str, offer: Offer) -> None:
        """Say in the job's status who took it without being able to; no attempt is counted."""
        if offer.again or not await self._leases.lease_job(
            _RQ_WORKER, job_id, offer.lease_id, None, instance=""
        ):
            return
        failure = FailedRequest(
            lease_id=offer.lease_id,
            error_code="zpe_missing",
            error_message=f"it is an RQ worker that cannot run what zpe offers: {_last_line(offer)}",
            traceback=offer.failure,
            side="config",
        )
        with contextlib.suppress(InputError):  # the job is gone
            await self._plane.reports.fail(_RQ_WORKER, job_id, failure, instance="")
            log.warning(
                "an RQ worker of another make took a job", job_id=job_id, reason=failure.error_message
            )

    async def _count(self, job_id: str, offer: Offer) -> None:
        lease = await self._store.fields(key("lease", offer.lease_id))
        if lease:
            record = await self._store.fields(key("worker", lease["worker"]))
            who = Principal("worker", lease["worker"], record.get("name", lease["worker"]))
        elif offer.again:  # it was among the failed ones until the job was requeued
            return
        else:
            who = _RQ_WORKER
            if not await self._leases.lease_job(who, job_id, offer.lease_id, None, instance=""):
                return
        failure = FailedRequest(
            lease_id=offer.lease_id,
            error_code="worker_died" if lease else "worker_error",
            error_message=f"RQ: {_last_line(offer)}",
            traceback=offer.failure,
        )
        with contextlib.suppress(InputError):  # the job is gone
            await self._plane.reports.fail(who, job_id, failure, instance="")
            log.warning("an execution failed in RQ", job_id=job_id, reason=failure.error_message)

    # ---------------------------------------------------------------------------------- completion

    async def _complete(self, job_id: str) -> None:
        """Make the result of a job, unless another replica is at it."""
        claim = key("job", job_id, "completing")
        if await self._store.redis.set(claim, "1", nx=True, px=_COMPLETING_MS):
            self._plane.completion.later(job_id)


def _last_line(offer: Offer) -> str:
    """Return what RQ says of a failure in a line."""
    lines = offer.failure.strip().splitlines() or ["no reason given"]
    return lines[-1].rstrip("; ")
