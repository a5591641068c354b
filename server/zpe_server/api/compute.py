"""What compute nodes call."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import Response

from zpe_sdk.errors import AuthError
from zpe_sdk.wire import (
    FailedReply,
    FailedRequest,
    HeartbeatReply,
    HeartbeatRequest,
    LeaseReply,
    LeaseRequest,
    Ok,
    RegisterReply,
    RegisterRequest,
    ReleaseRequest,
    StepReply,
    StepRequest,
    TaskReportReply,
    TaskReportRequest,
    WholeResultReply,
    WholeResultRequest,
    WorkerTokenReply,
)
from zpe_server import audit
from zpe_server.api.body import Route
from zpe_server.api.doors import Address, InPlane, Worker, refuse
from zpe_server.api.paths import JobId
from zpe_server.tokens import id_of

router = APIRouter(prefix="/calc/zpe/compute", tags=["compute"], route_class=Route)

Instance = Annotated[str, Header(alias="X-ZPE-Instance", max_length=100)]


@router.post("/servers/register")
async def register(body: RegisterRequest, plane: InPlane, address: Address) -> RegisterReply:
    """Enrol with a one-time token; the reply is the only time that the worker token is shown."""
    try:
        reply = await plane.workers.register(body)
    except AuthError:
        await refuse(plane, address)
        raise
    await audit.record(
        plane.store,
        who=reply.name or "",
        what=f"registered with enroll token {id_of(body.token)}",
        subject=reply.server_id,
        address=address,
    )
    return reply


@router.post("/servers/token")
async def rotate(who: Worker, plane: InPlane, instance: Instance = "") -> WorkerTokenReply:
    """Get a new worker token; the old one goes on for a grace period."""
    return await plane.workers.rotate(who.subject, instance=instance)


@router.post("/jobs/lease", response_model=LeaseReply, responses={204: {"description": "nothing to do"}})
async def lease(
    who: Worker, plane: InPlane, request: Request, body: LeaseRequest | None = None, instance: Instance = ""
) -> LeaseReply | Response:
    """Get a share of a job: at once, or as soon as there is one within ``wait_seconds``."""
    found = await plane.leases.lease(
        who, body or LeaseRequest(), instance=instance, disconnected=request.is_disconnected
    )
    return found or Response(status_code=204)


@router.post("/jobs/{job_id}/tasks")
async def report(
    job_id: JobId, body: TaskReportRequest, who: Worker, plane: InPlane, instance: Instance = ""
) -> TaskReportReply:
    """Report finished SCFs. Renews the lease."""
    reply, complete = await plane.reports.report(who, job_id, body, instance=instance)
    if complete:
        await plane.completion.complete(job_id)
    return reply


@router.post("/jobs/{job_id}/steps")
async def step(
    job_id: JobId, body: StepRequest, who: Worker, plane: InPlane, instance: Instance = ""
) -> StepReply:
    """Report an ionic step of a relaxation, in order. Renews the lease."""
    return await plane.reports.step(who, job_id, body, instance=instance)


@router.post("/jobs/{job_id}/result")
async def settle(
    job_id: JobId, body: WholeResultRequest, who: Worker, plane: InPlane, instance: Instance = ""
) -> WholeResultReply:
    """Settle a whole job in one go."""
    reply = await plane.reports.settle(who, job_id, body, instance=instance)
    if not reply.idempotent:
        await plane.completion.complete(job_id)
    return reply


@router.post("/jobs/{job_id}/failed")
async def fail(
    job_id: JobId, body: FailedRequest, who: Worker, plane: InPlane, instance: Instance = ""
) -> FailedReply:
    """Report that SCFs failed."""
    return await plane.reports.fail(who, job_id, body, instance=instance)


@router.post("/jobs/{job_id}/release")
async def release(
    job_id: JobId, body: ReleaseRequest, who: Worker, plane: InPlane, instance: Instance = ""
) -> Ok:
    """Release unfinished SCFs; no attempt is counted."""
    await plane.leases.release(who, job_id, body, instance=instance)
    return Ok()


@router.post("/heartbeat")
async def heartbeat(
    body: HeartbeatRequest, who: Worker, plane: InPlane, instance: Instance = ""
) -> HeartbeatReply:
    """Renew leases, and hear which are lost or cancelled; or say goodbye."""
    return await plane.leases.heartbeat(who, body, instance=instance)
