"""Around every request: its id, a line in the log, security headers."""

from __future__ import annotations

import logging
import re
import time
import uuid

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zpe_sdk.http import REQUEST_ID, VERSION, WITHIN
from zpe_sdk.wire.versions import fits
from zpe_server.api.errors import reply
from zpe_server.measures import answered

log = structlog.get_logger("zpe_server.access")

# Of clients and workers that send their version; raised when a message changes so that older ones go wrong.
OLDEST_CLIENT = "0.1"
_GOOD_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")
_JOB_PATH = re.compile(r"/jobs/(?!lease$)([A-Za-z0-9_-]+)")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_QUIET = {"/health", "/healthz", "/readyz", "/metrics"}


class Requests:
    """ASGI middleware that knows every request by its id.

    Parameters
    ----------
    app
        What to wrap.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get(REQUEST_ID, "")
        request_id = given if _GOOD_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        bound = {"request_id": request_id}
        if job := _JOB_PATH.search(scope["path"]):
            bound["job_id"] = job[1]
        sender = headers.get(VERSION, "")[:50]
        started, status = time.monotonic(), 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                out = MutableHeaders(scope=message)
                out[REQUEST_ID] = request_id
                for name, value in _HEADERS.items():
                    out.setdefault(name, value)
            await send(message)

        with structlog.contextvars.bound_contextvars(**bound):
            try:
                if fits(sender, f">={OLDEST_CLIENT}"):
                    await self._app(scope, receive, send_with_headers)
                else:
                    await _too_old(sender, request_id)(scope, receive, send_with_headers)
            finally:
                seconds = time.monotonic() - started
                if WITHIN not in scope:
                    answered(scope, status, seconds)
                if scope["path"] not in _QUIET:
                    # The dashboard looks every two seconds; what it does, and what goes wrong, is told.
                    look = WITHIN in scope and scope["method"] == "GET" and status < 400
                    log.log(
                        logging.DEBUG if look else logging.INFO,
                        "request",
                        method=scope["method"],
                        path=scope["path"],
                        status=status,
                        ms=round(seconds * 1000, 1),
                    )


def _too_old(version: str, request_id: str) -> ASGIApp:
    message = f"zpe {version} is too old for this control plane, which needs {OLDEST_CLIENT} or newer"
    return reply(426, "config", "client_too_old", message, request_id=request_id)
