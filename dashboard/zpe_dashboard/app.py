"""The dashboard within an application: the control plane's, or one of its own."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from zpe_dashboard.door import Connect, Door
from zpe_dashboard.frame import Frame
from zpe_dashboard.issuer import IssuerLogins
from zpe_sdk.client.async_client import AsyncZPEClient
from zpe_sdk.http import WITHIN
from zpe_sdk.wire import LoginOptions

PREFIX = "/dashboard"
# Of one call: a page is kept up to date by the next one, not by patience with the last.
_CALL_SECONDS = 10.0


def mount(
    app: FastAPI,
    connect: Connect,
    login: Callable[[], LoginOptions],
    *,
    place: str = "",
    issuer_ca_bundle: Path | None = None,
) -> None:
    """Put the dashboard at ``/dashboard`` of an application.

    Parameters
    ----------
    connect
        Makes a client of the control plane from a token and the address of the browser.
    login
        Asks the control plane how one logs in.
    place
        URL of the control plane, for commands to copy; empty: it is where the dashboard is.
    issuer_ca_bundle
        PEM file of private authorities that count for the issuer of logins beside the usual ones.
    """
    secret = secrets.token_bytes(32)
    tabs = _Tabs(place, secret)
    app.mount(PREFIX, Door(Frame(tabs), connect, secret, IssuerLogins(login, issuer_ca_bundle)))
    before = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        async with before(app) as state, tabs.running:
            yield state

    app.router.lifespan_context = lifespan


def connect_to(url: str, **options: Any) -> Connect:
    """Return what connects to a control plane elsewhere, over the network."""

    def connect(token: str, address: str) -> AsyncZPEClient:
        return AsyncZPEClient(url, token, timeout=_CALL_SECONDS, retry_seconds=0, **options)

    return connect


def connect_within(app: FastAPI) -> Connect:
    """Return what connects to the control plane of this very process, over its HTTP API but no socket."""

    async def within(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, WITHIN: True}, receive, send)

    def connect(token: str, address: str) -> AsyncZPEClient:
        # The audit trail shall show where the administrator sits.
        transport = httpx.ASGITransport(within, raise_app_exceptions=False, client=(address, 0))
        return AsyncZPEClient(
            "http://localhost", token, timeout=_CALL_SECONDS, retry_seconds=0, transport=transport
        )

    return connect


class _Tabs:
    """What is behind the door, imported at the first visit.

    A control plane without visitors shall not wait for Panel at its start, nor keep it in memory.
    """

    def __init__(self, place: str, secret: bytes) -> None:
        self._place = place
        self._secret = secret
        self._app: ASGIApp | None = None
        self._making = asyncio.Lock()
        self.running = AsyncExitStack()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._making:
            if self._app is None:
                module = await asyncio.to_thread(_import)
                # A mounted application gets no lifespan of its own; Bokeh's forgets closed tabs in it.
                self._app, inner = module.create_tabs(self._place, self._secret)
                await self.running.enter_async_context(inner.router.lifespan_context(inner))
        await self._app(scope, receive, send)


def _import() -> Any:
    from zpe_dashboard import tabs

    return tabs
