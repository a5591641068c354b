"""What a job would take, told before it is submitted: the plan, who could run it, and for how long."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np

from zpe_sdk.wire import JobPlan, JobRequest, Machine, PseudopotentialHeader, TaskRun, WorkerStatus
from zpe_server.flags import Switches
from zpe_server.owners import may_run
from zpe_server.planner import Planner
from zpe_server.researchers import Researchers
from zpe_server.settings import Settings
from zpe_server.store import Store, key
from zpe_server.submission import stage_of
from zpe_server.targets import Targets
from zpe_server.tokens import Principal
from zpe_server.transitions.base import items
from zpe_server.transitions.jobs import ReadFields
from zpe_server.waiting import can_run, wants, why_waiting
from zpe_server.workers import Workers

# Jobs whose times are looked at: the newest ones; and how many times as much or as little an SCF of them may
# take to be similar.
RECENT = 300
SIMILAR = 8.0
JOBS = 20


@dataclass(frozen=True)
class _Outlook:
    """What the input alone tells."""

    plan: JobPlan
    needs: dict[str, object]
    cost: float
    scf_keys: Sequence[str]


class Prospects:
    """Tells what there is and what a job would take; queues nothing."""

    def __init__(
        self,
        store: Store,
        planner: Planner,
        workers: Workers,
        flags: Switches,
        researchers: Researchers,
        targets: Targets,
        settings: Settings,
    ) -> None:
        self._store = store
        self._planner = planner
        self._workers = workers
        self._flags = flags
        self._researchers = researchers
        self._targets = targets
        self._settings = settings

    async def machines(self, who: Principal) -> list[Machine]:
        """Return what the compute nodes have that may run one's jobs, those first that take work."""
        groups = await self._researchers.groups()
        found = [
            _machine(worker)
            for worker in await self._workers.all()
            if not worker.revoked and may_run(worker, who.subject, None, groups)
        ]
        return sorted(found, key=lambda machine: not machine.takes_work)

    async def plan(
        self, who: Principal, request: JobRequest, disconnected: Callable[[], Awaitable[bool]]
    ) -> JobPlan:
        """Return what a job would take.

        Raises
        ------
        InputError
            The input cannot be carried out, as at a submission.
        """
        _, only = await self._targets.decide(who, request.where)
        groups = await self._researchers.groups()
        workers = await self._workers.all()
        headers: dict[str, PseudopotentialHeader] = {}
        for worker in workers:
            if worker.capabilities and may_run(worker, who.subject, None, groups):
                headers = worker.capabilities.headers | headers
        outlook = await self._planner.run(
            who.subject, disconnected, _outlook, request, self._settings, headers
        )
        plan = outlook.plan
        leasing = (await self._flags.get()).dequeue_enabled is not False
        wanted = wants(outlook.needs) | {"owner": who.subject, "groups": groups}
        wanted["only"] = json.loads(only) if only else None
        able = [worker for worker in workers if can_run(worker, leasing=leasing, **wanted)]
        if request.calc_mode == "continue":
            names = [key("scf", who.subject, scf) for scf in outlook.scf_keys if scf]
            plan.known = sum(await self._store.existing(names))
        plan.machines = len(able)
        if not able:
            plan.detail = why_waiting(workers=workers, leasing=leasing, **wanted)
        times = await self._times(plan.engine, outlook.cost)
        if len(times):
            slots = sum(worker.capabilities.slots if worker.capabilities else 1 for worker in able) or 1
            rounds = math.ceil((plan.scfs - plan.known) / slots)
            low, median, high = np.quantile(times, (0.1, 0.5, 0.9)).tolist()
            plan.scf_seconds, plan.similar = median, len(times)
            plan.seconds = (rounds * low, rounds * high)
        return plan

    async def _times(self, engine: str, cost: float) -> list[float]:
        """Return what SCFs of similar jobs have taken in s, scaled to the cost of this one."""
        job_ids: list[str] = []
        for state in ("finished", "started"):
            job_ids += (await self._store.page(key("index", "*", state), 0, RECENT))[0]
        reply = await self._store.transition(ReadFields(jobs=job_ids, fields=["cost", "needs"]))
        by_distance: list[tuple[float, float, str]] = []
        for job_id, (its, needs) in zip(job_ids, items(reply["rows"]), strict=True):
            if its and needs and json.loads(needs).get("engine") == engine:
                distance = abs(math.log(cost / float(its)))
                if distance < math.log(SIMILAR):
                    by_distance.append((distance, float(its), job_id))
        nearest = sorted(by_distance)[:JOBS]
        runs = await self._store.many_fields([key("job", job_id, "runs") for _, _, job_id in nearest])
        return [
            run.scf_seconds * cost / its
            for (_, its, _), of_job in zip(nearest, runs, strict=True)
            for run in map(TaskRun.model_validate_json, of_job.values())
            if not run.reused
        ]


def _outlook(request: JobRequest, settings: Settings, headers: dict[str, PseudopotentialHeader]) -> _Outlook:
    # They bring SciPy and ASE: a control plane that starts does not wait for them.
    from zpe_sdk.espresso.concerns import concerns
    from zpe_sdk.espresso.input import parse
    from zpe_sdk.espresso.pseudopotentials import from_headers
    from zpe_sdk.vibrations.space_group import space_group
    from zpe_server.planning import plan_job, plan_stage

    first = plan_job(request, settings)
    planned = plan_stage(request, "vibrations", settings) if request.kind == "vibrations" else first
    pw_input = parse(request.content)
    ecutwfc, ecutrho = pw_input.cutoffs
    files = {file.file: file for file in from_headers(headers)}
    mesh = pw_input.mesh
    stage = stage_of(first, request, settings)
    plan = JobPlan(
        kind=request.kind,
        engine=planned.payload.engine,
        relaxes=request.relaxation is not None,
        formula=planned.formula,
        atoms=planned.nat,
        mobile_indices=planned.payload.mobile_indices,
        scfs=0 if request.kind == "relax" else len(planned.tasks),
        full=planned.plan.full_count if planned.plan else len(planned.tasks),
        space_group=space_group(pw_input.positions, pw_input.cell, pw_input.labels),
        operations=planned.plan.order if planned.plan else None,
        ecutwfc=ecutwfc,
        ecutrho=ecutrho,
        kpts=mesh,
        pseudopotentials=planned.pseudopotentials,
        warnings=[*first.warnings, *concerns(pw_input, files)],
    )
    return _Outlook(plan, json.loads(str(stage.fields["needs"])), planned.cost, planned.scf_keys)


def _machine(worker: WorkerStatus) -> Machine:
    able = worker.capabilities
    base = Machine(
        name=worker.name,
        takes_work=worker.alive and not worker.draining,
        engine=able.engine if able else "",
        leases=len(worker.leases),
    )
    if able is None:
        return base
    files = able.pseudopotentials
    return base.model_copy(
        update={
            "engine_version": able.engine_version,
            "zpe_version": able.zpe_version,
            "slots": able.slots,
            "cores": able.cores,
            "memory_gb": able.memory_gb,
            "tags": able.tags,
            "environ": able.environ,
            "relaxes": able.relaxes,
            "pseudopotentials": None if files is None else {name: able.headers.get(name) for name in files},
        }
    )
