"""The gate: a body is read only from those who may send it, and only so far.

Up to here nothing has been looked at but the headers. Who shows no token may send a few kilobytes.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter

from fastapi.security import HTTPAuthorizationCredentials
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zpe_sdk.errors import AuthError, InputError, StoreError, ZPEError
from zpe_sdk.http import ADMIN_TOKEN
from zpe_server.api.doors import principal_of
from zpe_server.api.errors import reply_to
from zpe_server.plane import Plane
from zpe_server.tokens import ANONYMOUS, Principal

# All that comes without a token, an enrolment or the login of the dashboard, is shorter.
SMALL = 16 * 1024
# What most calls take: abilities of a worker, lists of leases and jobs.
OTHER = 2**20
# A pw.x input as long as any that is read, with an Environ input. Forces on 10 000 atoms take 0.7 MB; reports
# travel together, or one by one if that is too much. Failures come with the output of a program.
LARGE = 4 * 2**20 + SMALL
_SUBMITS = re.compile(r"/calc/zpe/(jobs|parse|plan)")
_REPORTS = re.compile(r"/calc/zpe/compute/jobs/[^/]+/(tasks|steps|failed|result)")
# Values in a body, numbers above all: they take most of the time in which others wait for it to be read. The
# step of a relaxation has twelve for each atom.
VALUES = 20_000
VALUES_OF_A_REPORT = 50_000
# A body may pause for so long, and take as long as with so many bytes per second.
PAUSE_SECONDS = 10.0
BYTES_PER_SECOND = 50_000
# Bytes of large bodies that are held at a time: of all, and of one sender.
ROOM, ROOM_EACH = 256 * 2**20, 64 * 2**20
# What is left of a body is not read.
_CLOSE = {"Connection": "close"}


class Gate:
    """ASGI middleware that decides by the headers of a request how much of its body is read.

    Parameters
    ----------
    app
        What to wrap.
    plane
        Knows the tokens, and ``max_body_bytes``, which no limit exceeds.
    """

    def __init__(self, app: ASGIApp, plane: Plane) -> None:
        self._app = app
        self._plane = plane
        self._held: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        length = _length(headers)
        small = min(SMALL, self._plane.settings.max_body_bytes)
        known = "authorization" in headers or ADMIN_TOKEN in headers
        if (length is None and known) or (length is not None and length > small):
            await self._large(scope, receive, send, headers, length)
        else:
            await self._pass(scope, receive, send, small, SMALL)

    async def _large(
        self, scope: Scope, receive: Receive, send: Send, headers: Headers, length: int | None
    ) -> None:
        """Handle a request whose body is large, or may be."""
        try:
            who = await self._sender(scope, headers)
            limit, values = _limits(who, scope["path"])
            limit = min(limit, self._plane.settings.max_body_bytes)
            size = limit if length is None else length
            if size > limit:
                raise InputError(_too_large(limit), code="body_too_large")
            if self._held.total() + size > ROOM or self._held[who.subject] + size > ROOM_EACH:
                raise StoreError("too many large requests at a time; try again in a moment", code="busy")
        except ZPEError as error:
            answer = reply_to(error, request_id=scope["state"]["request_id"])
            answer.headers.update(_CLOSE)
            await answer(scope, receive, send)
            return
        self._held[who.subject] += size
        try:
            await self._pass(scope, receive, send, limit, values)
        finally:
            self._held[who.subject] -= size
            if not self._held[who.subject]:
                del self._held[who.subject]

    async def _pass(self, scope: Scope, receive: Receive, send: Send, limit: int, values: int) -> None:
        scope["state"]["most_values"] = values  # for whoever reads what is in it
        await self._app(scope, _Bounded(receive, limit), send)

    async def _sender(self, scope: Scope, headers: Headers) -> Principal:
        # As the routes do, which ask again what their caller may.
        given = headers.get("authorization") or f"Bearer {headers.get(ADMIN_TOKEN, '')}"
        scheme, _, token = given.partition(" ")
        if scheme.lower() == "bearer" and token:
            bearer = HTTPAuthorizationCredentials(scheme=scheme, credentials=token.strip())
            address = scope["client"][0] if scope.get("client") else "unknown"
            return await principal_of(self._plane, bearer, address)
        if not self._plane.settings.researcher_auth and _SUBMITS.fullmatch(scope["path"]):
            return ANONYMOUS
        raise AuthError(
            f"a body of more than {SMALL} bytes needs a token: Authorization: Bearer <token>", code="no_token"
        )


class _Bounded:
    """Receives a body as long as it has not too many bytes and goes on."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._count = 0
        self._until = time.monotonic() + PAUSE_SECONDS + limit / BYTES_PER_SECOND
        self._complete = False

    async def __call__(self) -> Message:
        if self._complete:  # what follows is that the client has gone
            return await self._receive()
        try:
            async with asyncio.timeout(min(PAUSE_SECONDS, self._until - time.monotonic())):
                message = await self._receive()
        except TimeoutError:
            raise HTTPException(408, "the body of the request does not come", headers=_CLOSE) from None
        self._complete = not message.get("more_body", False)
        self._count += len(message.get("body", b""))
        if self._count > self._limit:
            raise HTTPException(413, _too_large(self._limit), headers=_CLOSE)
        return message


def _length(headers: Headers) -> int | None:
    """Return the length of a body; None: it does not tell."""
    length = headers.get("content-length", "")
    if length.isdigit():
        return int(length[:20])
    return None if "transfer-encoding" in headers else 0


def _limits(who: Principal, path: str) -> tuple[int, int]:
    """Return how many bytes and how many values a body may have."""
    if who.role == "worker" and _REPORTS.fullmatch(path):
        return LARGE, VALUES_OF_A_REPORT
    if who.role != "worker" and _SUBMITS.fullmatch(path):
        return LARGE, VALUES
    return OTHER, VALUES


def _too_large(limit: int) -> str:
    return f"the request is larger than the {limit} bytes that are accepted"
