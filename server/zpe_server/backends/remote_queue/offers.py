"""All that the control plane says to RQ: jobs offered to its workers, and those that have failed."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import redis
from rq import Queue
from rq.exceptions import DeserializationError, NoSuchJobError
from rq.job import Job, JobStatus
from rq.results import Result

# The name says the protocol: one lease on one job. Workers of services that hand out whole jobs listen to
# ``zpe``, and fail for good what they cannot run. It changes with what an execution is given.
QUEUE = "zpe-2"
PREFIX = "zpe-"
# By name: the control plane need not import what only workers run.
RUN = "zpe_server.backends.remote_queue.work.run"
AGAIN = "zpe_server.backends.remote_queue.work.again"
# In each traceback of what was begun at all.
_WORK = "remote_queue/work.py"
# So long RQ remembers an execution that is over. One that found nothing to do is not offered again before:
# its job waits for another worker, and would go round in circles.
RESULT_SECONDS = 10
FOR_EVER = -1

# ``taken`` is between the queue and the start of an execution: for moments, unless its worker is dead.
State = Literal["queued", "taken", "started", "finished", "failed", "canceled"]


@dataclass(frozen=True)
class Offer:
    """One of our jobs as RQ has it.

    Attributes
    ----------
    lease_id
        The lease that its execution takes: an offer is good for one.
    again
        Whether to execute it means to take the job out of the dead-letter queue.
    stopped
        Whether somebody stopped it by RQ's means.
    failure
        What RQ says of an execution that failed.
    """

    lease_id: str
    again: bool
    stopped: bool
    failure: str

    @property
    def is_foreign(self) -> bool:
        """Whether a worker took it that cannot have begun it, for want of zpe or of this version of it."""
        return self.failure.startswith("Traceback") and _WORK not in self.failure


class Offers:
    """The RQ queue ``zpe-2``. Each of our jobs is there at most once, as ``zpe-<job id>``.

    All methods block, and raise :class:`redis.RedisError` if Redis is away.

    Parameters
    ----------
    url
        Where Redis is.
    rules
        What an RQ worker has to know of the control plane's settings.
    """

    def __init__(self, url: str, rules: Mapping[str, Any]) -> None:
        # Without decode_responses: RQ reads bytes.
        self._redis = redis.Redis.from_url(url)
        self._queue = Queue(QUEUE, connection=self._redis)
        self._rules = dict(rules)

    def all(self) -> dict[str, State]:
        """Return the state of each of our jobs that RQ knows. What RQ has lost a worker of is ``failed``."""
        queue = self._queue
        found: dict[str, State] = {}
        # In the order in which a job moves on, so that one that moves meanwhile is seen at least once.
        names: list[tuple[State, list[str]]] = [
            ("queued", queue.get_job_ids()),
            ("taken", queue.intermediate_queue.get_job_ids()),
            ("started", queue.started_job_registry.get_job_ids()),
            ("finished", queue.finished_job_registry.get_job_ids()),
            ("failed", queue.failed_job_registry.get_job_ids()),
            ("canceled", queue.canceled_job_registry.get_job_ids()),
        ]
        for state, ids in names:
            for name in ids:
                if name.startswith(PREFIX):
                    # RQ 2.0 lists what has started with the id of its execution behind.
                    found[name.removeprefix(PREFIX).partition(":")[0]] = state
        return found

    def get(self, job_id: str) -> Offer | None:
        """Return what RQ has of a job."""
        job = self._fetch(job_id)
        if job is None:
            return None
        try:
            lease_id = job.args[1]
        except (DeserializationError, LookupError):  # none of ours
            return None
        result = job.latest_result()
        return Offer(
            lease_id=lease_id,
            again=job.func_name == AGAIN,
            stopped=job.get_status(refresh=False) == JobStatus.STOPPED,
            failure=(result.exc_string if result else "") or "",
        )

    def put(self, job_id: str, before: str | None) -> None:
        """Offer a job, in place of what RQ has of it; in front of another one, else behind all."""
        self.withdraw(job_id)
        name = PREFIX + job_id
        with self._redis.pipeline() as pipeline:
            self._queue.enqueue(
                RUN,
                args=self._arguments(job_id),
                job_id=name,
                description=f"SCFs of job {job_id}",
                job_timeout=FOR_EVER,  # leases decide
                result_ttl=RESULT_SECONDS,
                pipeline=pipeline,
            )
            if before:
                pipeline.lrem(self._queue.key, -1, name)
                pipeline.linsert(self._queue.key, "BEFORE", PREFIX + before, name)
            place = pipeline.execute()[-1]
        if before and place == -1:  # that one has just been taken: this one is the next
            self._queue.push_job_id(name, at_front=True)

    def bury(self, job_id: str, failure: str) -> None:
        """Enter a job among RQ's failed ones, in place of what RQ has of it; ``rq requeue`` takes it out."""
        self.withdraw(job_id)
        job = Job.create(
            AGAIN,
            args=self._arguments(job_id),
            id=PREFIX + job_id,
            description=f"SCFs of job {job_id}, again",
            connection=self._redis,
            origin=QUEUE,
            timeout=FOR_EVER,
            result_ttl=RESULT_SECONDS,
            failure_ttl=FOR_EVER,
            status=JobStatus.FAILED,
        )
        with self._redis.pipeline() as pipeline:
            self._queue.failed_job_registry.add(job, ttl=FOR_EVER, exc_string=failure, pipeline=pipeline)
            Result.create_failure(job, FOR_EVER, exc_string=failure, pipeline=pipeline)
            pipeline.execute()

    def withdraw(self, job_id: str) -> None:
        """Remove a job from RQ, and all that RQ remembers of its executions."""
        name = PREFIX + job_id
        # RQ leaves it there until it has seen it twice, ten minutes apart.
        self._queue.intermediate_queue.remove(name)
        started = self._queue.started_job_registry.key
        entries: Any = self._redis.zrange(started, 0, -1)
        for entry in entries:
            if entry.decode().partition(":")[0] == name:
                self._redis.zrem(started, entry)
        if job := self._fetch(job_id):
            # RQ cannot delete a job with an execution that has expired, as a dead worker's does.
            self._redis.delete(job.execution_registry.key)
            job.delete()
            return
        # The registries outlive what they list.
        for registry in (
            self._queue.finished_job_registry,
            self._queue.failed_job_registry,
            self._queue.canceled_job_registry,
        ):
            registry.remove(name)
        self._queue.remove(name)

    def close(self) -> None:
        """Close all connections."""
        self._redis.close()

    def _fetch(self, job_id: str) -> Job | None:
        try:
            return Job.fetch(PREFIX + job_id, connection=self._redis)
        except NoSuchJobError:
            return None

    def _arguments(self, job_id: str) -> tuple[str, str, dict[str, Any]]:
        return job_id, uuid.uuid4().hex, self._rules
