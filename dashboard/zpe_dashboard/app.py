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
    logins = IssuerLogins(login, issuer_ca_bundle)
    app.mount(PREFIX, Door(Frame(tabs), connect, secret, logins, expect=tabs.begin))
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
    """What is behind the door, imported when somebody comes to it.

    A control plane without visitors shall not wait for Panel at its start, nor keep it in memory.
    """

    def __init__(self, place: str, secret: bytes) -> None:
        self._place = place
        self._secret = secret
        self._making: asyncio.Task[ASGIApp] | None = None
        self.running = AsyncExitStack()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = await asyncio.shield(self.begin())
        await app(scope, receive, send)

    def begin(self) -> asyncio.Task[ASGIApp]:
        """Begin to import it, if nobody has."""
        if self._making is None:
            self._making = asyncio.create_task(self._make())
            self.running.callback(self._making.cancel)
        return self._making

    async def _make(self) -> ASGIApp:
        module = await asyncio.to_thread(_import)
        app, inner = module.create_tabs(self._place, self._secret)
        # A mounted application gets no lifespan of its own; Bokeh's forgets closed tabs in it.
        await self.running.enter_async_context(inner.router.lifespan_context(inner))
        made: ASGIApp = app
        return made


def _import() -> Any:
    from zpe_dashboard import tabs

    return tabs
