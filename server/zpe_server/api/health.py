"""Whether the process runs, and whether it can serve."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST

from zpe_sdk.wire import Ok
from zpe_server.api.doors import InPlane, Scraper
from zpe_server.metrics import exposition
from zpe_server.workers import ALIVE_SECONDS

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> Ok:
    """Answer as long as the process runs."""
    return Ok()


@router.get("/health")
async def health() -> dict[Literal["status"], Literal["ok"]]:
    """Answer as ``/healthz`` does, in the words that older monitors look for."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(plane: InPlane) -> Ok:
    """Answer 200 only if the store takes what it is given: 503 while it is away, full or read-only."""
    await plane.store.ping()
    return Ok()


@router.get("/metrics", response_class=Response)
async def metrics(who: Scraper, plane: InPlane) -> Response:
    """Return the state of things for Prometheus."""
    text = await exposition(plane.store, alive_seconds=ALIVE_SECONDS)
    return Response(text, media_type=CONTENT_TYPE_LATEST)
