"""The control plane as an ASGI application."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from types import FrameType

import anyio.to_thread
import structlog
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from zpe_sdk.errors import StoreError
from zpe_sdk.forwarded import Forwarded, trusted_proxies
from zpe_sdk.version import __version__
from zpe_server.api import admin, compute, errors, health, jobs, researchers, workers
from zpe_server.api.cors import cross_origin
from zpe_server.api.gate import Gate
from zpe_server.api.middleware import Requests
from zpe_server.backends import make_backend
from zpe_server.events import Events
from zpe_server.plane import Plane
from zpe_server.planner import Planner
from zpe_server.settings import Settings
from zpe_server.sweeper import sweep_for_ever

log = structlog.get_logger(__name__)

_TRACES_SECONDS = 1.0  # to deliver the last spans at the end


def create_app(settings: Settings, redis_url: str, planner: Planner | None = None) -> FastAPI:
    """Return the application.

    Parameters
    ----------
    settings
        Settings of the control plane.
    redis_url
        The Redis to use: ``settings.redis_url``, or that of the embedded server.
    planner
        One of this event loop that has begun to load.

    Raises
    ------
    ConfigError
        ``extra_missing``: the settings need what is not installed.
    """
    plane = Plane.build(settings, redis_url, planner)
    backend = make_backend(plane)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if not plane.tokens.has_admin:
            log.warning("no ZPE_ADMIN_TOKEN: all admin calls answer 403")
        if not settings.researcher_auth:
            log.warning("ZPE_RESEARCHER_AUTH is off: anybody who reaches this port may submit and read jobs")
        sweep = partial(sweep_for_ever, plane.store, plane.completion, plane.results, plane.leases, settings)
        background = [
            asyncio.create_task(_again_if_broken(part))
            for part in (
                plane.events.listen,
                backend.run,
                sweep,
                plane.replicas.run,
                plane.planner.begin,
                plane.notices.run,
                plane.ended.run,
            )
        ]
        try:
            # Freeze what is loaded, so that the garbage collector stops rescanning it.
            gc.collect()
            gc.freeze()
            with _closing_on_signals(plane.events):
                yield
        finally:
            plane.events.close()
            # Again and again: a cancellation that meets a reply from Redis can get lost in its client.
            while running := {task for task in background if not task.done()}:
                for task in running:
                    task.cancel()
                await asyncio.wait(running, timeout=1)
            await plane.completion.close()
            with contextlib.suppress(StoreError):
                await plane.ended.take()
            await anyio.to_thread.run_sync(plane.traces.close, _TRACES_SECONDS)
            with contextlib.suppress(StoreError):
                await plane.replicas.leave()
            await plane.store.close()

    # No documentation pages: they would load their scripts from other hosts.
    app = FastAPI(
        title="ZPE control plane", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.state.plane = plane
    for part in (health, jobs, researchers, compute, workers, admin):
        app.include_router(part.router)
    errors.install(app)
    app.add_middleware(Gate, plane=plane)
    app.add_middleware(Requests)
    if settings.cors_origins:
        app.add_middleware(CORSMiddleware, **cross_origin(settings.cors_origins))
    app.add_middleware(Forwarded, proxies=trusted_proxies())
    return app


async def _again_if_broken(part: Callable[[], Awaitable[None]]) -> None:
    """Run a part of the control plane to its end; a fault of ours in it must not end it in silence."""
    while True:
        try:
            await part()
            return
        except Exception:
            log.exception("a part of the control plane broke; it is started again")
            await asyncio.sleep(1)


@contextmanager
def _closing_on_signals(events: Events) -> Iterator[None]:
    """Send long-polls home as soon as the process is told to end, so that it need not wait for them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(events.close)
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
