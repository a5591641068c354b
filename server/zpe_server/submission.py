"""Submission: from a request to a planned job in the line."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

from zpe_sdk.errors import ConfigError, InputError
from zpe_sdk.wire import JobReply, JobRequest, Labels
from zpe_server.planner import Planner
from zpe_server.records import label_fields
from zpe_server.settings import Settings
from zpe_server.store import Store
from zpe_server.targets import Targets
from zpe_server.tokens import Principal
from zpe_server.transitions.jobs import Stage, Submit
from zpe_server.workers import ALIVE_SECONDS

if TYPE_CHECKING:
    from zpe_server.planning import PlannedJob


_OVER = {
    "jobs": "you have {may} jobs queued or started, as many as you may; wait until some have ended",
    "bytes": "of your requests and results {may} bytes are kept, or more, as many as you may; "
    "wait until old ones are forgotten, or ask an administrator",
}


class Submission:
    """Takes jobs in."""

    def __init__(self, store: Store, planner: Planner, settings: Settings, targets: Targets) -> None:
        self._store = store
        self._planner = planner
        self._settings = settings
        self._targets = targets

    async def submit(
        self,
        who: Principal,
        request: JobRequest,
        *,
        idempotency_key: str,
        request_id: str,
        disconnected: Callable[[], Awaitable[bool]],
    ) -> tuple[JobReply, bool]:
        """Plan a job and queue it; say also whether only its result has to be made.

        Raises
        ------
        InputError
            The input cannot be carried out; ``unknown_target``; ``idempotency_conflict``: the key came with
            another request; ``name_taken``: the project has another job of this name, and it was asked for
            once; ``quota_jobs``, ``quota_bytes``: the owner has as many as allowed.
        ConfigError
            ``submission_disabled``.
        StoreError
            ``busy``.
        """
        began = round(time.time() * 1000)
        where, only = await self._targets.decide(who, request.where)
        stage, texts, warnings = await self._planner.run(
            who.subject, disconnected, _plan, request, self._settings, request_id, where, began
        )
        reply = await self._store.transition(
            Submit(
                job=uuid.uuid4().hex,
                owner=who.subject,
                only=only,
                priority=request.priority,
                limits=None if who.role == "admin" else self._settings.limits,
                idempotency_key=hashlib.sha256(idempotency_key.encode()).hexdigest()
                if idempotency_key
                else "",
                digest=hashlib.sha256(request.model_dump_json().encode()).hexdigest(),
                idempotency_ms=self._settings.idempotency_ttl_seconds * 1000,
                labels=_labels(request),
                asked=_asked(request),
                once=request.once,
                stage=stage,
                **texts,
            )
        )
        if reply.get("conflict"):
            raise InputError(
                "this Idempotency-Key came with another request before",
                code="idempotency_conflict",
                field="Idempotency-Key",
            )
        if over := reply.get("over"):
            raise InputError(_OVER[over].format(may=int(reply["may"])), code=f"quota_{over}")
        if reply.get("taken"):
            raise InputError(
                f"the project {request.project!r} has a job {request.name!r} already, of another structure "
                "or with other settings: give this one another name, or cancel that one",
                code="name_taken",
                field="name",
            )
        if reply.get("disabled"):
            raise ConfigError(
                "an administrator has stopped the submission of jobs for now", code="submission_disabled"
            )
        if (counts := reply.get("priority", request.priority)) < request.priority:
            warnings = [
                *warnings,
                f"the priority {request.priority} counts among your own jobs; among those of others it is "
                f"{counts}",
            ]
        accepted = JobReply(job_id=reply["job"], created=reply["created"], warnings=warnings)
        return accepted, bool(reply.get("complete"))


# What decides nothing of a result, or only where and when it is computed.
_ASIDE = {*Labels.model_fields, "name", "once", "priority", "where", "requires", "calc_mode"}


def _asked(request: JobRequest) -> str:
    """Return a hash of what a request asks for; that of a later version of the service is the same."""
    text = request.model_dump_json(exclude=_ASIDE, exclude_defaults=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _labels(request: JobRequest) -> dict[str, str]:
    named = {"name": request.name} if request.name else {}
    return named | {field: value for field, value in label_fields(request).items() if value}


def _plan(
    request: JobRequest, settings: Settings, request_id: str, where: str, began: int
) -> tuple[Stage, dict[str, str], list[str]]:
    # It brings SciPy and much of ASE: a control plane that starts does not wait for them.
    from zpe_server.planning import plan_job

    planned = plan_job(request, settings)
    return (
        stage_of(planned, request, settings, request_id=request_id, where=where, began=began),
        stage_texts(planned),
        planned.warnings,
    )


def plan_displacements_of(request: JobRequest, settings: Settings) -> tuple[Stage, dict[str, str]]:
    """Plan the stage of a job that follows its relaxation; ``content`` has the relaxed positions.

    Raises
    ------
    InputError
        The structure can have none; ``field`` names what is at fault.
    """
    from zpe_server.planning import plan_stage

    planned = plan_stage(request, "vibrations", settings)
    return stage_of(planned, request, settings), stage_texts(planned)


def stage_of(planned: PlannedJob, request: JobRequest, settings: Settings, **fields: str | float) -> Stage:
    """Return what a planned stage consists of.

    Parameters
    ----------
    planned, request
        The stage, and what it was planned from.
    settings
        How long things are kept.
    **fields
        More fields of the job's record.
    """
    needs = {
        "engine": planned.payload.engine,
        "environ": planned.payload.use_environ and request.environ is None,
        "environ_input": request.environ is not None,
        **({"environ_sha256": planned.environ_sha256} if planned.environ_sha256 else {}),
        **({"relaxes": True} if planned.payload.stage == "relax" else {}),
        "pseudopotentials": planned.pseudopotentials,
        "versions": [asdict(need) for need in planned.versions],
        **request.requires.model_dump(exclude_defaults=True, exclude={"max_scf_seconds"}),
    }
    fields |= {
        "needs": json.dumps(needs),
        "kind": planned.payload.kind,
        "stage": planned.payload.stage,
        "formula": planned.formula,
        "nat": planned.nat,
        "cost": planned.cost,
        "physics": planned.physics,
        "symmetry": int(request.symmetry),
        "allow_state_changes": int(request.allow_state_changes),
    }
    if request.verify:
        fields["verify"] = request.verify
    return Stage(
        total=len(planned.tasks),
        full=planned.plan.full_count if planned.plan else len(planned.tasks),
        fields=fields,
        scf_keys=planned.scf_keys,
        copies=[task.copy_of for task in planned.tasks if task.copy_of is not None],
        reuse=request.calc_mode == "continue",
        alive_ms=ALIVE_SECONDS * 1000,
        keep_ms=settings.result_ttl_seconds * 1000,
    )


def stage_texts(planned: PlannedJob) -> dict[str, str]:
    """Return the large texts of a planned stage: payload, plan and task table."""
    return {
        "payload": planned.payload.model_dump_json(),
        "plan": json.dumps(planned.plan.to_json() if planned.plan else None),
        "task_table": json.dumps([task.to_json() for task in planned.tasks]),
    }
