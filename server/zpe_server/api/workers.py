"""Workers: how they get in, whose jobs they take, how they go.

Administrators decide about all of them, researchers about their own.
"""

from __future__ import annotations

from fastapi import APIRouter

from zpe_sdk.wire import (
    AcceptRequest,
    DrainRequest,
    EnrollTokenList,
    EnrollTokenReply,
    EnrollTokenRequest,
    Ok,
    RevokeReply,
    WorkerList,
)
from zpe_server import audit
from zpe_server.api.body import Route
from zpe_server.api.doors import Address, InPlane, Researcher
from zpe_server.api.paths import TokenId, WorkerId

router = APIRouter(prefix="/calc/zpe/compute", tags=["workers"], route_class=Route)


@router.post("/enroll-tokens")
async def mint_enroll_token(
    who: Researcher, plane: InPlane, address: Address, body: EnrollTokenRequest | None = None
) -> EnrollTokenReply:
    """Make a one-time token with which a compute node enrols; it is shown only here.

    A researcher's makes a worker of their own, where ``ZPE_USER_WORKERS`` allows it.
    """
    reply = await plane.tokens.mint_enroll_token(who, body or EnrollTokenRequest())
    whose = f" for {reply.owner}, accepts {reply.accepts}" if reply.owner else ""
    await audit.record(
        plane.store,
        who=who.name,
        what=f"enroll token minted{whose}",
        subject=audit.token(reply.token_id, reply.label),
        address=address,
    )
    return reply


@router.get("/enroll-tokens")
async def enroll_tokens(who: Researcher, plane: InPlane) -> EnrollTokenList:
    """List the enroll tokens that may still be used; a researcher's own alone."""
    return EnrollTokenList(enroll_tokens=await plane.tokens.enroll_tokens(who))


@router.delete("/enroll-tokens/{token_id}")
async def revoke_enroll_token(
    token_id: TokenId, who: Researcher, plane: InPlane, address: Address
) -> RevokeReply:
    """Revoke an enroll token."""
    count = await plane.tokens.revoke(who, "enroll", token_id)
    await audit.record(
        plane.store, who=who.name, what="enroll token revoked", subject=token_id, address=address
    )
    return RevokeReply(revoked_count=count)


@router.get("/servers")
async def workers(who: Researcher, plane: InPlane, revoked: bool = False) -> WorkerList:
    """List the compute nodes; a researcher's own alone. With ``revoked``, those too that were shut out."""
    found = await plane.workers.all(revoked=revoked)
    return WorkerList(workers=[w for w in found if who.sees in ("", w.owner)])


@router.patch("/servers/{server_id}")
async def accept(
    server_id: WorkerId, body: AcceptRequest, who: Researcher, plane: InPlane, address: Address
) -> Ok:
    """Change whose jobs a compute node takes from now on; what it holds, it finishes."""
    await plane.workers.accept(who, server_id, body.accepts)
    await audit.record(
        plane.store, who=who.name, what=f"worker accepts {body.accepts}", subject=server_id, address=address
    )
    return Ok()


@router.delete("/servers/{server_id}")
async def revoke(
    server_id: WorkerId, who: Researcher, plane: InPlane, address: Address, and_its_results: bool = False
) -> RevokeReply:
    """Shut a compute node out at once; its leases are released.

    With ``and_its_results``, SCFs of it that are kept for later are dropped, unfinished jobs compute anew
    what it had computed, and finished ones that contain it are marked. Interrupted, the same call goes on.
    """
    reply = await plane.workers.revoke(who, server_id, results=and_its_results)
    what = "worker revoked with its results" if and_its_results else "worker revoked"
    await audit.record(plane.store, who=who.name, what=what, subject=server_id, address=address)
    return reply


@router.post("/servers/{server_id}/drain")
async def drain(
    server_id: WorkerId, body: DrainRequest, who: Researcher, plane: InPlane, address: Address
) -> Ok:
    """Give a compute node no more work, or work again."""
    await plane.workers.drain(who, server_id, body.drain)
    what = "worker drained" if body.drain else "worker resumed"
    await audit.record(plane.store, who=who.name, what=what, subject=server_id, address=address)
    return Ok()
