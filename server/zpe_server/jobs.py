"""Jobs: where they stand, how they look from inside, and what their owners decide."""

from __future__ import annotations

import json
import time
from dataclasses import replace

from zpe_sdk.errors import AuthError, InputError
from zpe_sdk.wire import (
    CancelledReply,
    Fingerprint,
    JobDetail,
    JobOrder,
    JobState,
    JobStatus,
    LabelChanges,
    Task,
    TaskRun,
    TaskStatus,
)
from zpe_server.events import Events
from zpe_server.flags import Switches
from zpe_server.records import history_event, job_status, label_fields, request_of
from zpe_server.researchers import Researchers
from zpe_server.search import Search, Wanted
from zpe_server.settings import Settings
from zpe_server.store import Store, key
from zpe_server.tokens import Principal
from zpe_server.transitions.base import items
from zpe_server.transitions.jobs import Cancel, ReadStatuses, Relabel, Requeue
from zpe_server.waiting import wants, why_waiting
from zpe_server.workers import Workers

LIVING: frozenset[JobState] = frozenset({"queued", "started"})
CANCELLED_AT_ONCE = 10_000


class Jobs:
    """The jobs of all owners; what a principal may see is decided here."""

    def __init__(
        self,
        store: Store,
        events: Events,
        workers: Workers,
        flags: Switches,
        researchers: Researchers,
        settings: Settings,
    ) -> None:
        self._store = store
        self._events = events
        self._workers = workers
        self._flags = flags
        self._researchers = researchers
        self._settings = settings
        self._search = Search(store)

    async def status(self, who: Principal, job_id: str) -> JobStatus:
        """Return where a job stands.

        Raises
        ------
        InputError
            ``job_not_found``: there is none, or it is somebody's who does not show it.
        """
        [found] = await self.statuses([job_id])
        if found is None or not await self._researchers.shows_jobs(found.owner or "", who):
            raise InputError("there is no such job", code="job_not_found", field="job_id")
        return found

    async def wait(self, who: Principal, job_id: str, *, after: int, seconds: float) -> JobStatus:
        """Return where a job stands as soon as its version is past ``after``, or after ``seconds``."""
        deadline = time.monotonic() + seconds
        with self._events.job(job_id) as waiter:
            while True:
                status = await self.status(who, job_id)
                remaining = deadline - time.monotonic()
                if status.version > after or remaining <= 0 or self._events.closing:
                    return status
                await waiter.wait(remaining)

    async def statuses(self, job_ids: list[str]) -> list[JobStatus | None]:
        """Return where several jobs stand, and of those that wait, for what."""
        records = items((await self._store.transition(ReadStatuses(jobs=job_ids)))["jobs"])
        found = [job_status(record) if record else None for record in records]
        waiting = [n for n, job in enumerate(found) if job and job.status == "queued" and not job.detail]
        if waiting:
            workers, groups = await self._workers.all(), await self._researchers.groups()
            leasing = (await self._flags.get()).dequeue_enabled is not False
            for n in waiting:
                needs = json.loads(records[n].get("needs") or "{}")
                job = found[n]
                assert job is not None
                job.detail = why_waiting(
                    owner=records[n]["owner"],
                    only=json.loads(records[n].get("only") or "null"),
                    groups=groups,
                    workers=workers,
                    leasing=leasing,
                    **wants(needs),
                )
        return found

    async def find(
        self, who: Principal, wanted: Wanted, *, owner: str | None, order: JobOrder, limit: int, offset: int
    ) -> tuple[list[JobStatus], int]:
        """Return a page of jobs and how many there are in all."""
        whose = owner or who.sees or "*"
        if owner and not await self._researchers.shows_jobs(owner, who):
            return [], 0
        job_ids, total = await self._search.page(whose, wanted, order=order, limit=limit, offset=offset)
        return [job for job in await self.statuses(job_ids) if job is not None], total

    async def detail(self, who: Principal, job_id: str) -> JobDetail:
        """Return a job from inside: request, tasks, history, pinned physics."""
        status = await self.status(who, job_id)
        record, runs, held, attempts = await self._store.many_fields(
            [key("job", job_id), *(key("job", job_id, part) for part in ("runs", "held", "attempts"))]
        )
        history = await self._store.texts(key("job", job_id, "history"), 200)
        pinned = record.get("fingerprint")
        holders = await self._holders(held)
        tasks = []
        for task in (Task.from_json(task) for task in json.loads(record["tasks"])):
            index = str(task.index)
            run = TaskRun.model_validate_json(runs[index]) if index in runs else None
            done = run is not None or status.status == "finished"
            tasks.append(
                TaskStatus(
                    **task.to_json(),
                    state="done" if done else "held" if index in held else "open",
                    worker=run.worker if run else holders.get(index),
                    scf_seconds=run.scf_seconds if run else None,
                    attempts=sum(int(n) for name, n in attempts.items() if name.partition(":")[0] == index),
                )
            )
        return JobDetail(
            **dict(request_of(record)),
            job=status,
            tasks=tasks,
            history=[history_event(text) for text in history],
            fingerprint=Fingerprint.model_validate_json(pinned) if pinned else None,
        )

    async def _holders(self, held: dict[str, str]) -> dict[str, str]:
        """Return the name of the worker that holds each held task."""
        leases = sorted(set(held.values()))
        records = await self._store.many_fields([key("lease", lease) for lease in leases])
        workers = await self._store.many_fields([key("worker", r.get("worker", "")) for r in records])
        names = {lease: w.get("name", "") for lease, w in zip(leases, workers, strict=True)}
        return {task: names[lease] for task, lease in held.items()}

    async def _own(self, who: Principal, job_id: str) -> None:
        job = await self.status(who, job_id)
        if who.decides_for not in ("", job.owner):
            raise AuthError(f"only {job.owner} and administrators decide about this job", code="forbidden")

    async def relabel(self, who: Principal, job_id: str, changes: LabelChanges) -> JobStatus:
        """Change the labels of a job.

        Raises
        ------
        InputError
            ``job_not_found``.
        AuthError
            ``forbidden``: it is somebody else's, who only shows it.
        """
        await self._own(who, job_id)
        retire_ms = self._settings.result_ttl_seconds * 1000
        await self._store.transition(Relabel(job=job_id, labels=label_fields(changes), retire_ms=retire_ms))
        return await self.status(who, job_id)

    async def cancel(self, who: Principal, job_id: str) -> JobStatus:
        """Cancel a queued or running job.

        Raises
        ------
        InputError
            ``job_not_found``; ``job_over``: it has finished or failed already.
        AuthError
            ``forbidden``: it is somebody else's, who only shows it.
        """
        await self._own(who, job_id)
        reply = await self._store.transition(
            Cancel(job=job_id, by=who.subject, retire_ms=self._settings.result_ttl_seconds * 1000)
        )
        if reply.get("error") == "over":
            raise InputError(f"the job has {reply['status']} already", code="job_over")
        return await self.status(who, job_id)

    async def cancel_selected(
        self, who: Principal, wanted: Wanted, *, owner: str | None, dry_run: bool
    ) -> CancelledReply:
        """Cancel the queued and running jobs among those that are meant; with ``dry_run``, name them.

        Raises
        ------
        InputError
            ``bad_selection``: nothing was said of which.
        AuthError
            ``forbidden``: they are somebody else's.
        """
        if wanted == Wanted() and owner is None:
            raise InputError(
                "say which jobs: by state, project, tag, time, text or owner", code="bad_selection"
            )
        if owner and who.decides_for not in ("", owner):
            raise AuthError(f"only {owner} and administrators decide about these jobs", code="forbidden")
        living = (wanted.states or LIVING) & LIVING
        if not living:
            return CancelledReply(jobs=[], total=0)
        whose = owner or who.decides_for or "*"
        found, total = await self._search.page(
            whose, replace(wanted, states=living), order="newest", limit=CANCELLED_AT_ONCE, offset=0
        )
        if dry_run:
            return CancelledReply(jobs=found, total=total)
        retire_ms = self._settings.result_ttl_seconds * 1000
        cancelled = []
        for job_id in found:
            reply = await self._store.transition(Cancel(job=job_id, by=who.subject, retire_ms=retire_ms))
            if "error" not in reply:  # else it has ended meanwhile
                cancelled.append(job_id)
        return CancelledReply(jobs=cancelled, total=total)

    async def requeue(self, who: Principal, job_id: str) -> tuple[JobStatus, bool]:
        """Take a job out of the dead-letter queue; say also whether only its result has to be made.

        Raises
        ------
        InputError
            ``job_not_found``; ``not_in_dlq``.
        AuthError
            ``forbidden``: it is somebody else's, who only shows it.
        """
        await self._own(who, job_id)
        reply = await self._store.transition(Requeue(job=job_id, by=who.subject))
        if reply.get("error") == "not_in_dlq":
            raise InputError("the job is not in the dead-letter queue", code="not_in_dlq")
        return await self.status(who, job_id), bool(reply.get("complete"))
