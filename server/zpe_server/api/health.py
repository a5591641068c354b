"""Whether the process runs, and whether it can serve."""

from __future__ import annotations

from fastapi import APIRouter

from zpe_sdk.wire import Ok
from zpe_server.api.doors import InPlane

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> Ok:
    """Answer as long as the process runs."""
    return Ok()


@router.get("/readyz")
async def readyz(plane: InPlane) -> Ok:
    """Answer 200 only if the store does."""
    await plane.store.ping()
    return Ok()
