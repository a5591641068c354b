"""Who one is, and the workers that one's jobs may run on."""

from __future__ import annotations

from fastapi import APIRouter

from zpe_sdk.wire import ApiTokenReply, LoginOptions, Me, MeRequest, TargetList, TargetReply, TargetRequest
from zpe_server import audit
from zpe_server.api.body import Route
from zpe_server.api.doors import Address, InPlane, Researcher

router = APIRouter(prefix="/calc/zpe", tags=["researchers"], route_class=Route)


@router.get("/login")
async def login_options(plane: InPlane) -> LoginOptions:
    """Say how one logs in; needs no token."""
    return plane.settings.login


@router.post("/login")
async def keep_login(who: Researcher, plane: InPlane, address: Address) -> ApiTokenReply:
    """Get a token of longer life for a login at the issuer; it is shown only here."""
    reply = await plane.tokens.keep_login(who)
    await audit.record(plane.store, who=who.name, what="logged in", subject=reply.token_id, address=address)
    return reply


@router.get("/me")
async def me(who: Researcher, plane: InPlane) -> Me:
    """Say who one is here, and in which groups."""
    return await plane.researchers.me(who)


@router.patch("/me")
async def change_me(body: MeRequest, who: Researcher, plane: InPlane) -> Me:
    """Show one's jobs and their results to one's groups, or to nobody."""
    return await plane.researchers.change(who, body)


@router.get("/compute/targets")
async def targets(who: Researcher, plane: InPlane) -> TargetList:
    """List the workers that may run one's jobs, one's own first, and which is selected."""
    return await plane.targets.all(who)


@router.post("/compute/targets/select")
async def select(body: TargetRequest, who: Researcher, plane: InPlane) -> TargetReply:
    """Choose where jobs run that do not say ``where``: on a worker, on one's own (``mine``) or on ``any``."""
    return await plane.targets.select(who, body.target_id)
