"""The door of the dashboard: nobody passes, to a page or to a websocket, without a session.

A pure ASGI class, since it has to stand before websockets as well as before pages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl, urlsplit

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zpe_dashboard.issuer import IssuerLogins, Waiting
from zpe_dashboard.sessions import Attempts, Session, Sessions, current_session
from zpe_dashboard.templates import template
from zpe_dashboard.words import Language, Words, language_of
from zpe_sdk.client.async_client import AsyncZPEClient
from zpe_sdk.errors import AuthError, ZPEError
from zpe_sdk.transport import is_loopback
from zpe_sdk.wire import Me

log = structlog.get_logger(__name__)

COOKIE = "zpe_dashboard"
#: Of a login at the issuer that is under way.
LOGIN_COOKIE = "zpe_dashboard_login"
#: Closes a websocket whose session has ended.
LOGGED_OUT = 4401

# Bokeh and Panel make their scripts at run time; nothing of it comes from another host, or could.
_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' blob:; manifest-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # Not "no-referrer": a form would be sent with the Origin "null".
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_CACHED = "private, max-age=86400"
_FORM_BYTES = 10_000
_LOGIN_SECONDS = 1800.0

Connect = Callable[[str, str], AsyncZPEClient]


class Door:
    """Lets people in who have a token: administrators, observers, researchers.

    Parameters
    ----------
    app
        The dashboard proper.
    connect
        Makes a client of the control plane from a token and the address of the browser.
    secret
        What the dashboard signs its websocket tokens with.
    issuer
        Logins at the issuer that the control plane names.
    expect
        Called when somebody has the login page: soon they will be inside.
    """

    def __init__(
        self,
        app: ASGIApp,
        connect: Connect,
        secret: bytes,
        issuer: IssuerLogins,
        expect: Callable[[], object],
    ) -> None:
        self._app = app
        self._connect = connect
        self._secret = secret
        self._sessions = Sessions()
        self._attempts = Attempts()
        self._issuer = issuer
        self._expect = expect
        self._begun = Attempts()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] == "http":
            await self._page(scope, receive, _with_headers(send, scope))
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        path = inner_path(scope)
        session = self._sessions.find(request.cookies.get(COOKIE))
        if request.method not in ("GET", "HEAD") and not _from_here(request.headers):
            await PlainTextResponse("This came from another site.", 403)(scope, receive, send)
        elif path == "/login":
            await (await self._login(request))(scope, receive, send)
            self._expect()
        elif path == "/issuer":
            answer = await (self._begin(request) if request.method == "POST" else self._wait(request))
            await answer(scope, receive, send)
        elif path == "/logout" and request.method == "POST":
            self._sessions.end(request.cookies.get(COOKIE))
            response: Response = RedirectResponse("login", 303)
            response.delete_cookie(COOKIE, path=_cookie_path(scope))
            await response(scope, receive, send)
        elif session is None and path == "/":
            await RedirectResponse("login", 303)(scope, receive, send)
        elif session is None:
            await PlainTextResponse("Log in first.", 403)(scope, receive, send)
        else:
            current_session.set(session)
            await self._app(scope, receive, send)

    async def _login(self, request: Request) -> Response:
        language = language_of(request.query_params.get("lang"), request.headers.get("accept-language", ""))
        if request.method == "GET":
            return await self._form(language)
        address = _address(request)
        fields = await _fields(request)
        language = language_of(fields.get("lang"), "")
        words = Words(language)
        if not self._attempts.allowed(address):
            return await self._form(language, words("Too many failed logins; wait a minute."), 429)
        try:
            client, me = await self._known(fields.get("token", "").strip(), address)
        except ZPEError as error:
            if error.code in ("bad_token", "token_missing", "forbidden"):
                self._attempts.failed(address)
                log.warning("failed login", address=address)
                return await self._form(language, words("This token is unknown, expired or revoked."), 403)
            log.warning("login not possible", reason=str(error))
            reached = error.side == "auth"
            return await self._form(
                language, error.message if reached else words("The control plane cannot be reached."), 503
            )
        return self._enter(
            request,
            client,
            me,
            language=language,
            dark=fields.get("dark") == "1",
            narrow=fields.get("narrow") == "1",
        )

    def _enter(
        self,
        request: Request,
        client: AsyncZPEClient,
        me: Me,
        *,
        language: Language,
        dark: bool,
        narrow: bool,
    ) -> Response:
        """Begin somebody's session."""
        key = self._sessions.begin(
            Session(client=client, name=me.name, role=me.role, language=language, dark=dark, narrow=narrow)
        )
        log.info("login", name=me.name, role=me.role, address=_address(request))
        response = RedirectResponse("./", 303)
        _set_cookie(response, request, COOKIE, key, self._sessions.seconds)
        return response

    async def _begin(self, request: Request) -> Response:
        """Begin a login at the issuer."""
        fields = await _fields(request)
        language = language_of(fields.get("lang"), "")
        address = _address(request)
        if not self._begun.allowed(address):
            return await self._form(language, Words(language)("Too many failed logins; wait a minute."), 429)
        self._begun.failed(address)  # until somebody has logged in, it is one
        try:
            key = await self._issuer.begin(
                language=language, dark=fields.get("dark") == "1", narrow=fields.get("narrow") == "1"
            )
        except ZPEError as error:
            log.warning("login at the issuer not possible", reason=str(error))
            return await self._form(language, error.message, 503)
        response = RedirectResponse("issuer", 303)
        _set_cookie(response, request, LOGIN_COOKIE, key, _LOGIN_SECONDS)
        return response

    async def _wait(self, request: Request) -> Response:
        """Look whether somebody has logged in at the issuer."""
        key = request.cookies.get(LOGIN_COOKIE)
        waiting = self._issuer.find(key)
        if waiting is None:
            return RedirectResponse("login", 303)
        words = Words(waiting.language)
        try:
            token = await self._issuer.poll(waiting)
            if token is None:
                return self._waiting_page(waiting)
            self._issuer.end(key)
            first, _ = await self._known(token, _address(request))
            try:
                # What the issuer gives is soon over.
                kept = await first.keep_login()
            finally:
                await first.aclose()
            client, me = await self._known(kept.token, _address(request))
        except ZPEError as error:
            self._issuer.end(key)
            log.warning("failed login at the issuer", address=_address(request), reason=str(error))
            reached = error.side in ("auth", "config")
            problem = error.message if reached else words("The control plane cannot be reached.")
            return await self._form(waiting.language, problem, 403 if error.side == "auth" else 503)
        response = self._enter(
            request, client, me, language=waiting.language, dark=waiting.dark, narrow=waiting.narrow
        )
        response.delete_cookie(LOGIN_COOKIE, path=_cookie_path(request.scope))
        return response

    async def _known(self, token: str, address: str) -> tuple[AsyncZPEClient, Me]:
        """Return a client with somebody's token, and who that is."""
        if not token:  # a control plane that asks researchers for none would take it for one of theirs
            raise AuthError("there is no token", code="token_missing")
        client = self._connect(token, address)
        try:
            return client, await client.me()
        except ZPEError:
            await client.aclose()
            raise

    async def _form(self, language: Language, problem: str = "", status: int = 200) -> Response:
        issuer = await self._issuer.host()
        page = template("login.html").render(
            words=Words(language), language=language, problem=problem, issuer=issuer
        )
        return HTMLResponse(page, status)

    def _waiting_page(self, waiting: Waiting) -> Response:
        page = template("login.html").render(
            words=Words(waiting.language),
            language=waiting.language,
            waiting=waiting.login,
            pause=max(2, round(waiting.login.pause)),
        )
        return HTMLResponse(page)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = HTTPConnection(scope)
        session = self._sessions.find(connection.cookies.get(COOKIE))
        if session is None or not _from_here(connection.headers) or not self._signed(scope):
            # Before it is accepted, this is a 403.
            await receive()
            await send({"type": "websocket.close", "code": LOGGED_OUT})
            return
        current_session.set(session)
        line = _Line(session, receive, send)
        await self._app({**scope, "zpe.line": line}, line.receive, line.send)

    def _signed(self, scope: Scope) -> bool:
        from bokeh.util.token import check_token_signature

        protocols = scope.get("subprotocols", [])
        try:
            return len(protocols) == 2 and check_token_signature(
                protocols[1], secret_key=self._secret, signed=True
            )
        except Exception:
            # A malformed token can fail in any way; every failure means no.
            return False


class _Line:
    """A websocket that is hung up when its session ends."""

    def __init__(self, session: Session, receive: Receive, send: Send) -> None:
        self._session = session
        self._receive = receive
        self._send = send

    async def receive(self) -> Message:
        ended = asyncio.ensure_future(self._session.ended.wait())
        message = asyncio.ensure_future(_awaited(self._receive()))
        try:
            await asyncio.wait({ended, message}, return_when=asyncio.FIRST_COMPLETED)
            if message.done() and not self._session.ended.is_set():
                return message.result()
        finally:
            ended.cancel()
            message.cancel()
        await self._send({"type": "websocket.close", "code": LOGGED_OUT})
        return {"type": "websocket.disconnect", "code": LOGGED_OUT}

    async def send(self, message: Message) -> None:
        if not self._session.ended.is_set():
            await self._send(message)


async def _fields(request: Request) -> dict[str, str]:
    """Return the fields of a short form."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _FORM_BYTES:
            return {}
    return dict(parse_qsl(body.decode("utf-8", "replace")))


async def _awaited(message: Awaitable[Message]) -> Message:
    return await message


def is_static(scope: Scope) -> bool:
    """Tell whether scripts, styles or fonts are asked for, the same for everybody."""
    return inner_path(scope).startswith("/static/")


def _with_headers(send: Send, scope: Scope) -> Send:
    static = is_static(scope)

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            if static and message["status"] in (200, 304):
                headers["Cache-Control"] = _CACHED
        await send(message)

    return send_with_headers


def inner_path(scope: Scope) -> str:
    """Return the path within the dashboard."""
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    return path or "/"


def _cookie_path(scope: Scope) -> str:
    return f"{scope.get('root_path', '')}/"


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"


def _set_cookie(response: Response, request: Request, name: str, value: str, seconds: float) -> None:
    response.set_cookie(
        name,
        value,
        max_age=int(seconds),
        path=_cookie_path(request.scope),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https" or not is_loopback(request.url.hostname or ""),
    )


def _from_here(headers: Headers) -> bool:
    """Tell whether a page of this very host sent a request: browsers say where a page is from."""
    return urlsplit(headers.get("origin", "")).netloc == headers.get("host") != ""
