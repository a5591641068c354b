"""The dashboard behind the door: Bokeh's pages and websockets, and downloads. Its import takes seconds."""

from __future__ import annotations

import json
from urllib.parse import quote

import panel as pn
from bokeh_fastapi import BokehFastAPI
from fastapi import FastAPI, Request
from fastapi.responses import Response
from panel.io.fastapi import add_applications
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from zpe_dashboard.door import COOKIE, is_static
from zpe_dashboard.sessions import current_session
from zpe_dashboard.views.shell import tab
from zpe_sdk.errors import ZPEError
from zpe_sdk.wire import ResultReply

_FILES = {"result.json": "application/json", "summary.txt": "text/plain", "freqs.csv": "text/csv"}


def create_tabs(place: str, secret: bytes) -> tuple[ASGIApp, FastAPI]:
    """Return the application, and what has its lifespan.

    Parameters
    ----------
    place
        URL of the control plane, for commands to copy; empty: it is where the dashboard is.
    secret
        Signs the tokens of websockets.
    """
    pn.config.notifications = False
    app = FastAPI(openapi_url=None)
    app.add_exception_handler(ZPEError, _refused)
    app.get("/alive", status_code=204)(_alive)
    app.get("/files/{job_id}/{name}")(_file)
    bokeh = add_applications(
        {"/": lambda: tab(place)},
        app=app,
        title="ZPE",
        # Panel's own makes two entries of the browser's history of each.
        location=False,
        secret_key=secret,
        sign_sessions=True,
        exclude_cookies=[COOKIE],
        # Whatever is let through stands in the page.
        include_headers=["Host"],
    )
    return _Packing(_Hanging(app, bokeh)), app


async def _alive() -> None:
    """Answer every request that has a session."""


async def _file(job_id: str, name: str) -> Response:
    """Hand a result through from the control plane."""
    client = current_session.get().client
    job = client.job(job_id)
    if name == "result.json":
        reply = await client.connection.call(
            "GET", f"/calc/zpe/jobs/{quote(job_id, safe='')}/result", ResultReply
        )
        text = json.dumps(reply.result, ensure_ascii=False)
    elif name == "summary.txt":
        text = await job.summary()
    elif name == "freqs.csv":
        text = await job.freqs_csv()
    else:
        return Response("There is no such file.", 404)
    return Response(
        text, media_type=_FILES[name], headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


async def _refused(request: Request, error: Exception) -> Response:
    return Response(str(error), 404, media_type="text/plain")


class _Packing:
    """Compresses scripts and styles.

    Nothing else: the length of what is compressed together with a secret tells of the secret.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._packed = GZipMiddleware(app, compresslevel=6)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        static = scope["type"] == "http" and is_static(scope)
        await (self._packed if static else self._app)(scope, receive, send)


class _Hanging:
    """Tells Bokeh when a websocket is over.

    bokeh-fastapi misses the end of a websocket that its peer has closed: without this, a closed tab would
    go on asking the control plane for ever.
    """

    def __init__(self, app: FastAPI, bokeh: BokehFastAPI) -> None:
        self._app = app
        self._bokeh = bokeh

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        finally:
            if scope["type"] == "websocket":
                for connection in list(self._bokeh._clients):
                    if connection._socket._socket.scope["zpe.line"] is scope["zpe.line"]:
                        self._bokeh.client_lost(connection)
