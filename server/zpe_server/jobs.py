"""Jobs: submission, status, cancellation, and the dead-letter queue."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from dataclasses import asdict, replace
from typing import Any

import anyio.to_thread

from zpe_sdk.errors import ConfigError, InputError
from zpe_sdk.espresso.input import parse
from zpe_sdk.espresso.versions import VersionNeed
from zpe_sdk.result.assemble_partial import partial_spectrum
from zpe_sdk.vibrations.plan import Plan
from zpe_sdk.wire import (
    Fingerprint,
    JobDetail,
    JobOrder,
    JobPayload,
    JobRequest,
    JobState,
    JobStatus,
    PartialReply,
    Requirements,
    Task,
    TaskReport,
    TaskRun,
    TaskStatus,
)
from zpe_server.events import Events
from zpe_server.flags import Switches
from zpe_server.planning import plan_job
from zpe_server.records import history_event, job_status
from zpe_server.results import Result, ResultStore
from zpe_server.search import SEARCHED, Search
from zpe_server.settings import Settings
from zpe_server.store import Store, items, key
from zpe_server.tokens import Principal
from zpe_server.waiting import why_waiting
from zpe_server.workers import ALIVE_SECONDS, Workers


class Jobs:
    """The jobs of all owners; what a principal may see is decided here."""

    def __init__(
        self,
        store: Store,
        events: Events,
        results: ResultStore,
        workers: Workers,
        flags: Switches,
        settings: Settings,
    ) -> None:
        self._store = store
        self._events = events
        self._results = results
        self._workers = workers
        self._flags = flags
        self._settings = settings
        self._search = Search(store)

    async def submit(
        self, who: Principal, request: JobRequest, *, idempotency_key: str, request_id: str
    ) -> tuple[str, bool, list[str]]:
        """Plan a job and queue it; return its id, whether only its result has to be made, and warnings.

        Raises
        ------
        InputError
            The input cannot be carried out; ``idempotency_conflict``: the key came with another request.
        ConfigError
            ``submission_disabled``.
        """
        # Thousands of displacements and a large structure take a moment: never on the event loop.
        planned = await anyio.to_thread.run_sync(plan_job, request, self._settings)
        fields = {
            "needs": json.dumps(
                {
                    "engine": planned.payload.engine,
                    "environ": planned.payload.use_environ and request.environ is None,
                    "environ_input": request.environ is not None,
                    **({"environ_sha256": planned.environ_sha256} if planned.environ_sha256 else {}),
                    "pseudopotentials": planned.pseudopotentials,
                    "versions": [asdict(need) for need in planned.versions],
                    **request.requires.model_dump(exclude_defaults=True),
                }
            ),
            "formula": planned.formula,
            "nat": planned.nat,
            "physics": planned.physics,
            "symmetry": int(request.symmetry),
            "allow_state_changes": int(request.allow_state_changes),
            "request_id": request_id,
        }
        if request.verify:
            fields["verify"] = request.verify
        if request.name:
            fields["name"] = request.name
        reply = await self._store.transition(
            "submit",
            planned.payload.model_dump_json(),
            json.dumps(planned.plan.to_json()),
            json.dumps([task.to_json() for task in planned.tasks]),
            job=uuid.uuid4().hex,
            owner=who.subject,
            priority=request.priority,
            total=len(planned.tasks),
            full=planned.plan.full_count,
            idempotency_key=hashlib.sha256(idempotency_key.encode()).hexdigest() if idempotency_key else "",
            digest=hashlib.sha256(request.model_dump_json().encode()).hexdigest(),
            idempotency_ms=self._settings.idempotency_ttl_seconds * 1000,
            fields=fields,
            scf_keys=planned.scf_keys,
            copies=[task.copy_of for task in planned.tasks if task.copy_of is not None],
            reuse=request.calc_mode == "continue",
            alive_ms=ALIVE_SECONDS * 1000,
            keep_ms=self._settings.result_ttl_seconds * 1000,
        )
        if reply.get("conflict"):
            raise InputError(
                "this Idempotency-Key came with another request before",
                code="idempotency_conflict",
                field="Idempotency-Key",
            )
        if reply.get("disabled"):
            raise ConfigError(
                "an administrator has stopped the submission of jobs for now", code="submission_disabled"
            )
        return str(reply["job"]), bool(reply.get("complete")), planned.warnings

    async def status(self, who: Principal, job_id: str) -> JobStatus:
        """Return where a job stands.

        Raises
        ------
        InputError
            ``job_not_found``: there is none, or it is somebody else's.
        """
        [found] = await self.statuses([job_id])
        if found is None or not _may_see(who, found):
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
        records = items((await self._store.transition("statuses", jobs=job_ids))["jobs"])
        found = [job_status(record) if record else None for record in records]
        waiting = [n for n, job in enumerate(found) if job and job.status == "queued" and not job.detail]
        if waiting:
            workers = [worker for worker in await self._workers.all() if not worker.revoked]
            leasing = (await self._flags.get()).dequeue_enabled is not False
            for n in waiting:
                needs = json.loads(records[n].get("needs") or "{}")
                job = found[n]
                assert job is not None
                job.detail = why_waiting(
                    needs.get("pseudopotentials", []),
                    engine=needs.get("engine", "espresso"),
                    environ=needs.get("environ", False),
                    versions=[VersionNeed(**need) for need in needs.get("versions", [])],
                    environ_input=needs.get("environ_input", False),
                    requires=_requirements(needs),
                    workers=workers,
                    leasing=leasing,
                )
        return found

    async def find(
        self,
        who: Principal,
        *,
        status: JobState | None,
        owner: str | None,
        search: str | None,
        order: JobOrder,
        limit: int,
        offset: int,
    ) -> tuple[list[JobStatus], int]:
        """Return a page of jobs and how many there are in all."""
        whose = (owner or "*") if who.role == "admin" else who.subject
        index = key("index", whose, status or "*")
        if search is None:
            job_ids, total = await self._store.page(index, offset, limit, lowest_first=order == "oldest")
        else:
            candidates, _ = await self._store.page(index, 0, SEARCHED)
            found = await self._search.matching(candidates if order == "newest" else candidates[::-1], search)
            job_ids, total = found[offset : offset + limit], len(found)
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
            **json.loads(record["payload"]),
            symmetry=record.get("symmetry") != "0",
            allow_state_changes=record.get("allow_state_changes") == "1",
            verify=float(record.get("verify", 0)),
            priority=int(record.get("priority", 0)),
            requires=_requirements(json.loads(record.get("needs") or "{}")),
            name=status.name,
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

    async def result(self, who: Principal, job_id: str) -> Result:
        """Return the result of a finished job.

        Raises
        ------
        InputError
            ``job_not_found``; ``not_finished``.
        """
        status = await self.status(who, job_id)
        result = await self._results.get(job_id) if status.status == "finished" else None
        if result is None:
            raise InputError(
                f"the job is {status.status}, not finished" + (f": {status.detail}" if status.detail else ""),
                code="not_finished",
            )
        return _marked(result, status.detail or "") if status.taken_back else result

    async def partial(self, who: Principal, job_id: str) -> PartialReply:
        """Return the modes of those atoms of an unfinished job whose SCFs are in.

        Raises
        ------
        InputError
            ``job_not_found``; ``too_few_scfs``; ``job_over``: its SCFs are not kept any more.
        """
        status = await self.status(who, job_id)
        job, reports = await self._store.many_fields([key("job", job_id), key("job", job_id, "reports")])
        # It may have ended since it was looked at.
        if not job or job["status"] in ("finished", "cancelled"):
            over = job.get("status", status.status)
            raise InputError(
                f"the job is {over}: only an unfinished one has a partial spectrum", code="job_over"
            )
        return await anyio.to_thread.run_sync(_partial, job, reports)

    async def cancel(self, who: Principal, job_id: str) -> JobStatus:
        """Cancel a queued or running job.

        Raises
        ------
        InputError
            ``job_not_found``; ``job_over``: it has finished or failed already.
        """
        await self.status(who, job_id)
        reply = await self._store.transition(
            "cancel", job=job_id, by=who.subject, retire_ms=self._settings.result_ttl_seconds * 1000
        )
        if reply.get("error") == "over":
            raise InputError(f"the job has {reply['status']} already", code="job_over")
        return await self.status(who, job_id)

    async def requeue(self, who: Principal, job_id: str) -> tuple[JobStatus, bool]:
        """Take a job out of the dead-letter queue; say also whether only its result has to be made.

        Raises
        ------
        InputError
            ``job_not_found``; ``not_in_dlq``.
        """
        await self.status(who, job_id)
        reply = await self._store.transition("requeue", job=job_id, by=who.subject)
        if reply.get("error") == "not_in_dlq":
            raise InputError("the job is not in the dead-letter queue", code="not_in_dlq")
        return await self.status(who, job_id), bool(reply.get("complete"))


def _marked(result: Result, warning: str) -> Result:
    """Return a result that says what has to be known of it since it was stored."""
    document = json.loads(result.document)
    document["warnings"] = [warning, *document.get("warnings", [])]
    first, _, rest = result.summary.partition("\n")
    return replace(
        result, document=json.dumps(document), summary=f"{first}\n\nNOT TO BE TRUSTED: {warning}\n{rest}"
    )


def _partial(job: dict[str, str], reports: dict[str, str]) -> PartialReply:
    payload = JobPayload.model_validate_json(job["payload"])
    plan = Plan.from_json(json.loads(job["plan"]))
    return partial_spectrum(
        payload,
        parse(payload.content),
        plan,
        {
            int(task): TaskReport.model_validate_json(text)
            for task, text in reports.items()
            if int(task) < len(plan.displacements)  # the others verify some of these
        },
    )


def _requirements(needs: dict[str, Any]) -> Requirements:
    return Requirements(**{name: needs[name] for name in Requirements.model_fields if name in needs})


def _may_see(who: Principal, job: JobStatus) -> bool:
    return who.role == "admin" or job.owner == who.subject
