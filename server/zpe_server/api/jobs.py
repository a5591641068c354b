"""What researchers, and the existing web interface, call."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import Response

from zpe_sdk.http import VERSION
from zpe_sdk.wire import (
    CancelledReply,
    ErrorInfo,
    JobDetail,
    JobList,
    JobOrder,
    JobPlan,
    JobReply,
    JobRequest,
    JobState,
    JobStatus,
    LabelChanges,
    MachineList,
    ParseReply,
    ParseRequest,
    PartialReply,
    ResultReply,
    Tag,
)
from zpe_sdk.wire.labels import MAX_TAGS
from zpe_sdk.wire.messages import OwnerName
from zpe_server import audit
from zpe_server.api.body import Route
from zpe_server.api.doors import Address, InPlane, Researcher
from zpe_server.api.paths import JobId
from zpe_server.parsing import parse_reply
from zpe_server.search import Wanted

router = APIRouter(prefix="/calc/zpe", tags=["jobs"], route_class=Route)

_FILES = {"summary": ("text/plain", "summary.txt"), "freqs": ("text/csv", "freqs.csv")}


@router.post("/parse")
async def parse(body: ParseRequest, who: Researcher, plane: InPlane, request: Request) -> ParseReply:
    """Look into a QE input: structure, fixed atoms, species, k-points."""
    return await plane.planner.run(who.subject, request.is_disconnected, parse_reply, body.content)


@router.post("/plan")
async def plan(body: JobRequest, who: Researcher, plane: InPlane, request: Request) -> JobPlan:
    """Say what a job would take and what seems to be wrong with it; nothing is submitted."""
    return await plane.prospects.plan(who, body, request.is_disconnected)


@router.get("/machines")
async def machines(who: Researcher, plane: InPlane) -> MachineList:
    """Show what the compute nodes have that may run one's jobs."""
    return MachineList(machines=await plane.prospects.machines(who))


@router.post("/jobs")
async def submit(
    body: JobRequest,
    who: Researcher,
    plane: InPlane,
    request: Request,
    idempotency_key: Annotated[str, Header(max_length=200)] = "",
) -> JobReply:
    """Submit a job. The same ``Idempotency-Key`` with the same body gives the same job."""
    reply, complete = await plane.submission.submit(
        who,
        body,
        idempotency_key=idempotency_key,
        request_id=request.state.request_id,
        disconnected=request.is_disconnected,
    )
    if complete:
        await plane.completion.complete(reply.job_id)
    return reply


def selected(
    status: Annotated[list[JobState], Query()] = [],  # noqa: B006 - FastAPI copies it
    project: Annotated[str | None, Query(min_length=1, max_length=100)] = None,
    tag: Annotated[list[Tag], Query(max_length=MAX_TAGS)] = [],  # noqa: B006
    since: datetime | None = None,
    until: datetime | None = None,
    search: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
) -> Wanted:
    """Return which jobs are meant.

    They are of one of the states, have all of the tags, and were submitted at ``since`` or later and before
    ``until``; a time that names no zone is in UTC.
    """
    return Wanted(
        states=frozenset(status),
        project=project,
        tags=frozenset(tag),
        since_ms=_milliseconds(since),
        until_ms=_milliseconds(until),
        text=search,
    )


Selected = Annotated[Wanted, Depends(selected)]
Owner = Annotated[OwnerName | None, Query()]


@router.get("/jobs")
async def jobs(
    who: Researcher,
    plane: InPlane,
    wanted: Selected,
    owner: Owner = None,
    order: JobOrder = "newest",
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
) -> JobList:
    """List jobs, those first that were submitted last (``newest``) or first (``oldest``), or by a value.

    A value is ``name``, ``formula``, ``status``, ``owner``, ``duration`` or ``zpe``; downwards with ``-``.
    """
    found, total = await plane.jobs.find(who, wanted, owner=owner, order=order, limit=limit, offset=offset)
    return JobList(jobs=found, total=total)


@router.post("/jobs/cancel")
async def cancel_selected(
    who: Researcher,
    plane: InPlane,
    address: Address,
    wanted: Selected,
    owner: Owner = None,
    dry_run: bool = False,
) -> CancelledReply:
    """Cancel the jobs in line that a list with the same parameters shows; with ``dry_run``, name them."""
    reply = await plane.jobs.cancel_selected(who, wanted, owner=owner, dry_run=dry_run)
    if who.role == "admin" and reply.jobs and not dry_run:
        subject = reply.jobs[0] if len(reply.jobs) == 1 else f"{len(reply.jobs)} jobs"
        await audit.record(plane.store, who=who.name, what="cancelled", subject=subject, address=address)
    return reply


@router.get("/jobs/{job_id}")
async def status(
    job_id: JobId,
    who: Researcher,
    plane: InPlane,
    wait_seconds: Annotated[float, Query(ge=0, le=30)] = 0,
    after: Annotated[int, Query(ge=0, le=2**53)] = 0,
    version: Annotated[str, Header(alias=VERSION)] = "",
) -> JobStatus:
    """Say where a job stands; with ``wait_seconds``, as soon as its version is past ``after``."""
    found = await plane.jobs.wait(who, job_id, after=after, seconds=wait_seconds)
    return found if version or found.status != "cancelled" else _ended(found)


def _ended(status: JobStatus) -> JobStatus:
    """Show a cancelled job to callers of other makes, which poll until it is ``finished`` or ``failed``."""
    detail = status.detail or "cancelled"
    error = ErrorInfo(side="input", code="job_cancelled", message=detail)
    return status.model_copy(update={"status": "failed", "detail": detail, "error": error})


@router.patch("/jobs/{job_id}")
async def relabel(job_id: JobId, body: LabelChanges, who: Researcher, plane: InPlane) -> JobStatus:
    """Change the labels of a job: its project, tags and note, and whether it is kept."""
    return await plane.jobs.relabel(who, job_id, body)


@router.get("/jobs/{job_id}/detail")
async def detail(job_id: JobId, who: Researcher, plane: InPlane) -> JobDetail:
    """Show a job from inside: request, SCFs, history, physics."""
    return await plane.jobs.detail(who, job_id)


@router.get("/jobs/{job_id}/result", response_model=ResultReply)
async def result(job_id: JobId, who: Researcher, plane: InPlane) -> Response:
    """Return the result document."""
    found = await plane.outcomes.result(who, job_id)
    # It was checked when it came in, and it may be large: it goes out as it is.
    return Response(f'{{"result": {found.document}}}', media_type="application/json")


@router.get("/jobs/{job_id}/partial")
async def partial(job_id: JobId, who: Researcher, plane: InPlane) -> PartialReply:
    """Return the modes of those atoms of an unfinished job whose SCFs are in."""
    return await plane.outcomes.partial(who, job_id)


@router.get("/jobs/{job_id}/files", response_class=Response)
async def files(
    job_id: JobId, who: Researcher, plane: InPlane, kind: Literal["summary", "freqs"]
) -> Response:
    """Download summary.txt or freqs.csv."""
    found = await plane.outcomes.result(who, job_id)
    media_type, name = _FILES[kind]
    return Response(
        found.summary if kind == "summary" else found.freqs,
        media_type=media_type,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@router.post("/jobs/{job_id}/cancel")
async def cancel(job_id: JobId, who: Researcher, plane: InPlane) -> JobStatus:
    """Cancel a queued or running job."""
    return await plane.jobs.cancel(who, job_id)


@router.post("/jobs/{job_id}/requeue")
async def requeue(job_id: JobId, who: Researcher, plane: InPlane) -> JobStatus:
    """Give a job of the dead-letter queue another chance; its finished SCFs are kept."""
    found, complete = await plane.jobs.requeue(who, job_id)
    if complete:
        await plane.completion.complete(job_id)
        found = await plane.jobs.status(who, job_id)
    return found


def _milliseconds(time: datetime | None) -> int | None:
    if time is None:
        return None
    return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)
