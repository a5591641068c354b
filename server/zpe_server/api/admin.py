"""What administrators call: tokens, groups, leases, the dead-letter queue, switches, the audit trail."""

from __future__ import annotations

from dataclasses import astuple
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from zpe_sdk.wire import (
    ApiTokenList,
    ApiTokenReply,
    ApiTokenRequest,
    AuditTrail,
    DeadJobList,
    DeadJobsReply,
    DeadJobsRequest,
    DroppedReply,
    Flags,
    Group,
    GroupList,
    GroupRequest,
    KeptScfList,
    LeaseList,
    Limits,
    Ok,
    Overview,
    Owner,
    OwnerList,
    Retention,
    RetentionList,
    RetentionRequest,
    RevokeReply,
)
from zpe_server import audit
from zpe_server.api.body import Route
from zpe_server.api.doors import Address, Admin, InPlane
from zpe_server.api.paths import LeaseId, OwnerPath, TokenId
from zpe_server.kept import Choice
from zpe_server.overview import overview

router = APIRouter(prefix="/calc/zpe", tags=["admin"], route_class=Route)

Limit = Annotated[int, Query(ge=1, le=1000)]


@router.get("/compute/leases")
async def leases(who: Admin, plane: InPlane) -> LeaseList:
    """List the leases in force."""
    return LeaseList(leases=await plane.leases.all())


@router.delete("/compute/leases/{lease_id}")
async def release(lease_id: LeaseId, who: Admin, plane: InPlane, address: Address) -> Ok:
    """Release a lease; its unfinished tasks go to others."""
    await plane.leases.release_any(lease_id)
    await audit.record(plane.store, who=who.name, what="lease released", subject=lease_id, address=address)
    return Ok()


@router.get("/admin/dlq")
async def dead_jobs(
    who: Admin,
    plane: InPlane,
    code: Annotated[str | None, Query(max_length=100)] = None,
    limit: Limit = 50,
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
) -> DeadJobList:
    """List the dead-letter queue: why jobs failed, and every attempt."""
    return await plane.dead.find(code=code, limit=limit, offset=offset)


@router.post("/admin/dlq/requeue")
async def requeue_dead(body: DeadJobsRequest, who: Admin, plane: InPlane, address: Address) -> DeadJobsReply:
    """Give jobs another chance; their ids, histories and finished SCFs are kept."""
    if body.dry_run:
        return await plane.dead.find_chosen(body.job_ids, body.code)
    reply, complete = await plane.dead.requeue(who, body.job_ids, body.code)
    for job_id in complete:
        await plane.completion.complete(job_id)
    await _record_dead(plane, who, "requeued", reply, address)
    return reply


@router.post("/admin/dlq/discard")
async def discard_dead(body: DeadJobsRequest, who: Admin, plane: InPlane, address: Address) -> DeadJobsReply:
    """Take jobs out of the dead-letter queue for good."""
    if body.dry_run:
        return await plane.dead.find_chosen(body.job_ids, body.code)
    reply = await plane.dead.discard(who, body.job_ids, body.code)
    await _record_dead(plane, who, "discarded", reply, address)
    return reply


async def _record_dead(plane: InPlane, who: Admin, what: str, reply: DeadJobsReply, address: str) -> None:
    if reply.done:
        subject = reply.done[0] if len(reply.done) == 1 else f"{len(reply.done)} jobs"
        await audit.record(plane.store, who=who.name, what=what, subject=subject, address=address)


_Wanted = Annotated[str, Query(max_length=200)]


def chosen(
    owner: _Wanted = "", worker: _Wanted = "", version: _Wanted = "", pseudopotential: _Wanted = ""
) -> Choice:
    """Return which kept SCFs are meant."""
    return Choice(owner, worker, version, pseudopotential)


Chosen = Annotated[Choice, Depends(chosen)]


@router.get("/admin/scfs")
async def kept_scfs(who: Admin, plane: InPlane, choice: Chosen) -> KeptScfList:
    """Count the SCFs that are kept for later jobs, by where they come from."""
    found = await plane.kept.find(choice)
    return KeptScfList(scfs=found, total=sum(group.count for group in found))


@router.delete("/admin/scfs")
async def drop_scfs(who: Admin, plane: InPlane, address: Address, choice: Chosen) -> DroppedReply:
    """Drop SCFs that are kept for later jobs: by owner, worker, version of the program or pseudopotential."""
    dropped = await plane.kept.drop(choice)
    named = " ".join(text for text in astuple(choice) if text)
    await audit.record(
        plane.store, who=who.name, what=f"{dropped} kept SCFs dropped", subject=named, address=address
    )
    return DroppedReply(dropped=dropped)


@router.get("/admin/overview")
async def at_a_glance(who: Admin, plane: InPlane) -> Overview:
    """Show the service at a glance."""
    return await overview(plane.store, plane.jobs, plane.workers, plane.flags, plane.replicas)


@router.get("/admin/ops")
@router.get("/admin/flags")
async def flags(who: Admin, plane: InPlane) -> Flags:
    """Return the operational switches."""
    return await plane.flags.get()


@router.post("/admin/ops")
@router.patch("/admin/flags")
async def set_flags(body: Flags, who: Admin, plane: InPlane, address: Address) -> Flags:
    """Stop or resume the submission of jobs, or the giving out of work; running work goes on."""
    await plane.flags.set(body)
    for name, value in body.model_dump(exclude_none=True).items():
        await audit.record(plane.store, who=who.name, what=f"{name} = {str(value).lower()}", address=address)
    return await plane.flags.get()


@router.post("/admin/tokens")
async def mint_token(body: ApiTokenRequest, who: Admin, plane: InPlane, address: Address) -> ApiTokenReply:
    """Make a token of a researcher, an observer or an administrator; it is shown only here."""
    reply = await plane.tokens.mint_api_token(body)
    await audit.record(
        plane.store,
        who=who.name,
        what=f"{reply.role} token minted",
        subject=audit.token(reply.token_id, reply.owner),
        address=address,
    )
    return reply


@router.get("/admin/tokens")
async def tokens(who: Admin, plane: InPlane) -> ApiTokenList:
    """List the tokens of people that are in force."""
    return ApiTokenList(tokens=await plane.tokens.api_tokens())


@router.delete("/admin/tokens/{token_id}")
async def revoke_token(token_id: TokenId, who: Admin, plane: InPlane, address: Address) -> RevokeReply:
    """Revoke the token of a person."""
    count = await plane.tokens.revoke(who, "token", token_id)
    await audit.record(plane.store, who=who.name, what="token revoked", subject=token_id, address=address)
    return RevokeReply(revoked_count=count)


@router.get("/admin/groups")
async def groups(who: Admin, plane: InPlane) -> GroupList:
    """List the groups of researchers."""
    found = await plane.researchers.groups()
    return GroupList(groups=[Group(name=name, members=sorted(members)) for name, members in found.items()])


@router.patch("/admin/groups/{name}")
async def regroup(name: OwnerPath, body: GroupRequest, who: Admin, plane: InPlane, address: Address) -> Group:
    """Change who is in a group; it begins with its first member and ends with its last."""
    group = await plane.researchers.regroup(name, body)
    signs = [*(f"+{owner}" for owner in body.add), *(f"-{owner}" for owner in body.remove)]
    await audit.record(
        plane.store, who=who.name, what=f"group: {' '.join(signs)}"[:500], subject=name, address=address
    )
    return group


@router.get("/admin/owners")
async def owners(who: Admin, plane: InPlane) -> OwnerList:
    """List the researchers who have jobs, a token, a worker, a group or limits of their own."""
    return OwnerList(owners=await plane.researchers.owners())


@router.get("/admin/owners/{name}")
async def owner(name: OwnerPath, who: Admin, plane: InPlane) -> Owner:
    """Say what a researcher has and may have."""
    return await plane.researchers.owner(name)


@router.put("/admin/owners/{name}/limits")
async def limit(name: OwnerPath, body: Limits, who: Admin, plane: InPlane, address: Address) -> Owner:
    """Say what a researcher may have, in place of what goes for all; null: as for all."""
    about = await plane.researchers.limit(name, body)
    said = " ".join(f"{kind}={number}" for kind, number in body.model_dump(exclude_none=True).items())
    await audit.record(
        plane.store, who=who.name, what=f"limits: {said or 'as for all'}", subject=name, address=address
    )
    return about


@router.get("/admin/retention")
async def retention(who: Admin, plane: InPlane) -> RetentionList:
    """List the projects of which it is said how long their jobs are remembered."""
    return RetentionList(projects=await plane.researchers.retention())


@router.put("/admin/retention")
async def retain(body: RetentionRequest, who: Admin, plane: InPlane, address: Address) -> Retention:
    """Say how long the jobs of a project are remembered once they are over; null: as for all."""
    said = await plane.researchers.retain(body)
    days = "as for all" if body.days is None else f"{body.days:g} days"
    await audit.record(
        plane.store,
        who=who.name,
        what=f"retention of the project {body.project}: {days}",
        subject=body.owner,
        address=address,
    )
    return said


@router.get("/admin/audit")
async def audit_trail(who: Admin, plane: InPlane, limit: Limit = 100) -> AuditTrail:
    """Return the newest entries of the audit trail."""
    return AuditTrail(entries=await audit.trail(plane.store, limit))
