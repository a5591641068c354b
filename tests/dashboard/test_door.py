"""Who gets into the dashboard, over HTTP and over websockets, without a browser."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from bokeh.util.token import generate_jwt_token

from tests.processes import PATIENCE, ControlPlane, wait_until
from tests.server.issuer import Issuer
from zpe_dashboard.door import COOKIE, LOGGED_OUT
from zpe_dashboard.frame import Frame
from zpe_dashboard.sessions import FAILURES_PER_MINUTE, Attempts, Session, current_session
from zpe_sdk.client.async_client import AsyncZPEClient

PAGE = "/dashboard/"


def browser(plane: ControlPlane, origin: str | None = None) -> httpx.Client:
    """Return a browser without a session, on a page of the dashboard or of another origin."""
    return httpx.Client(base_url=plane.url, headers={"Origin": origin or plane.url}, timeout=PATIENCE)


def log_in(browser: httpx.Client, token: str) -> httpx.Response:
    return browser.post(f"{PAGE}login", data={"token": token, "lang": "en"})


@pytest.fixture
def inside(control_plane: ControlPlane) -> Iterator[httpx.Client]:
    """A browser with a session."""
    with browser(control_plane) as inside:
        assert log_in(inside, control_plane.admin_token).status_code == 303
        yield inside


def bokeh_token(page: httpx.Response) -> str:
    found = re.search(r'"token":"([^"]+)"', page.text)
    assert found
    return found[1]


async def upgrade(plane: ControlPlane, cookie: str | None, origin: str | None, token: str) -> int:
    """Try to open the websocket; return the status of a refusal, or 101."""
    headers = {} if cookie is None else {"Cookie": f"{COOKIE}={cookie}"}
    try:
        async with websockets.connect(
            f"{plane.url.replace('http', 'ws')}{PAGE}ws",
            origin=origin,  # type: ignore[arg-type]
            additional_headers=headers,
            subprotocols=["bokeh", token],  # type: ignore[list-item]
        ):
            return 101
    except websockets.InvalidStatus as error:
        return error.response.status_code


def test_looks_of_the_dashboard_leave_no_line_in_the_log_but_failures_do(control_plane: ControlPlane) -> None:
    before = len(control_plane.log)

    def logged() -> list[tuple[str, int]]:
        lines = [json.loads(line) for line in control_plane.log[before:].splitlines()]
        return [(line["path"], line["status"]) for line in lines if line["event"] == "request"]

    looked = ("/calc/zpe/me", 200)
    with browser(control_plane) as inside:
        # The login looks who this is.
        log_in(inside, control_plane.admin_token)
        inside.get(f"{PAGE}files/nosuchjob/result.json")
    assert ("/calc/zpe/jobs/nosuchjob/result", 404) in logged()
    assert looked not in logged()
    with control_plane.api() as api:
        api.get(looked[0])
    wait_until(lambda: looked in logged())


def test_nothing_without_a_session(control_plane: ControlPlane) -> None:
    with browser(control_plane) as outside:
        assert outside.get(PAGE).headers["location"] == "login"
        assert outside.get("/dashboard").headers["location"].endswith(PAGE)
        for path in ("alive", "files/abc/result.json", "static/js/bokeh.min.js", "autoload.js"):
            assert outside.get(PAGE + path).status_code == 403, path
        outside.cookies.set(COOKIE, "made up")
        assert outside.get(f"{PAGE}alive").status_code == 403


def test_a_session_lives_in_a_cookie_that_no_script_and_no_other_site_gets(
    control_plane: ControlPlane,
) -> None:
    with browser(control_plane) as outside:
        cookie = log_in(outside, control_plane.admin_token).headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/dashboard/"} <= set(cookie.split("; "))
    assert control_plane.admin_token not in cookie
    # This is the loopback interface; a browser elsewhere may be given it over https only.
    assert "Secure" not in cookie
    with browser(control_plane, origin="http://zpe.example.org") as elsewhere:
        elsewhere.headers["Host"] = "zpe.example.org"
        assert "Secure" in log_in(elsewhere, control_plane.admin_token).headers["set-cookie"]


def test_the_page_holds_no_token_and_no_session(inside: httpx.Client, control_plane: ControlPlane) -> None:
    page = inside.get(PAGE)
    assert page.status_code == 200
    secrets = (control_plane.admin_token, inside.cookies[COOKIE])
    # The token of the websocket carries what Bokeh was told of the request, in base64.
    told = bokeh_token(page)
    assert not any(secret in text for secret in secrets for text in (page.text, str(page.url), told))


@pytest.mark.parametrize(
    ("role", "titles"),
    [("researcher", ["Jobs", "New job"]), ("observer", ["Overview", "Workers"])],
)
def test_the_frame_is_sent_before_the_rest_is_made(role: Any, titles: list[str]) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def rest(scope: Any, receive: Any, send: Any) -> None:
        assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"the rest"})

    async def ask() -> None:
        async with AsyncZPEClient("http://127.0.0.1:1", "token") as client:
            current_session.set(Session(client=client, role=role))
            scope = {"type": "http", "method": "GET", "path": "/dashboard/", "root_path": "/dashboard"}
            await Frame(rest)(scope, None, send)  # type: ignore[arg-type]

    asyncio.run(ask())
    start, frame, *_ = sent
    html = frame["body"].decode()
    assert all(f"<span>{title}</span>" in html for title in titles)
    assert ("New job" in html) == (role == "researcher")
    # Nothing that has to come over the line first.
    assert "src=" not in html
    assert "stylesheet" not in html
    assert (b"x-accel-buffering", b"no") in start["headers"]
    assert b"".join(message["body"] for message in sent[1:]) == frame["body"] + b"the rest"
    assert [message.get("more_body", False) for message in sent[1:]] == [True, False]


def test_an_address_with_more_behind_it_than_there_is_gives_the_page(inside: httpx.Client) -> None:
    assert bokeh_token(inside.get(PAGE, params={"bokeh-session-id": "nonsense"}))


def test_pages_allow_nothing_from_elsewhere_and_no_frames(inside: httpx.Client) -> None:
    for path in (PAGE, f"{PAGE}login"):
        headers = inside.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "http" not in policy
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"


def test_scripts_come_compressed_and_are_kept_and_pages_are_neither(inside: httpx.Client) -> None:
    page = inside.get(PAGE)
    assert "content-encoding" not in page.headers
    scripts = re.findall(r'<script [^>]*src="(static/[^"]+)"', page.text)
    assert scripts
    for script in scripts:
        reply = inside.get(PAGE + script)
        assert reply.headers["content-encoding"] == "gzip"
        assert "max-age" in reply.headers["cache-control"]


def test_other_sites_can_post_nothing(control_plane: ControlPlane, inside: httpx.Client) -> None:
    for origin in ("https://evil.example", "null", f"{control_plane.url}.evil.example"):
        inside.headers["Origin"] = origin
        assert inside.post(f"{PAGE}logout").status_code == 403
        assert log_in(inside, control_plane.admin_token).status_code == 403
    del inside.headers["Origin"]
    assert inside.post(f"{PAGE}logout").status_code == 403
    assert inside.get(f"{PAGE}alive").status_code == 204


@pytest.mark.parametrize("token", ["", "wrong", "wröng", "zpea_" + "x" * 43])
def test_a_wrong_token_is_refused(control_plane: ControlPlane, token: str) -> None:
    with browser(control_plane) as outside:
        reply = log_in(outside, token)
        assert reply.status_code == 403
        assert "set-cookie" not in reply.headers
        assert "unknown, expired or revoked" in reply.text


def test_a_researcher_is_let_in_and_a_worker_is_not(control_plane: ControlPlane) -> None:
    with browser(control_plane) as outside:
        assert log_in(outside, control_plane.researcher_token("ann")).status_code == 303
    with browser(control_plane) as outside:
        assert log_in(outside, control_plane.register()["worker_token"]).status_code == 403


def test_without_a_token_nobody_gets_in_where_researchers_need_none(
    own_control_plane: Callable[..., ControlPlane],
) -> None:
    with browser(own_control_plane(ZPE_RESEARCHER_AUTH="false")) as outside:
        assert log_in(outside, "").status_code == 403


def test_failed_logins_are_limited_by_address() -> None:
    attempts = Attempts(per_minute=2)
    for _ in range(2):
        assert attempts.allowed("192.0.2.1")
        attempts.failed("192.0.2.1")
    assert not attempts.allowed("192.0.2.1")
    assert attempts.allowed("192.0.2.2")


def test_too_many_failed_logins(own_control_plane: Callable[..., ControlPlane]) -> None:
    plane = own_control_plane()
    with browser(plane) as outside:
        statuses = [log_in(outside, "wrong").status_code for _ in range(FAILURES_PER_MINUTE + 1)]
        assert statuses == [403] * FAILURES_PER_MINUTE + [429]
        assert log_in(outside, plane.admin_token).status_code == 429


def test_the_websocket_wants_a_session_its_own_origin_and_a_signed_token(
    control_plane: ControlPlane, inside: httpx.Client
) -> None:
    cookie, token = inside.cookies[COOKIE], bokeh_token(inside.get(PAGE))
    forged = generate_jwt_token("session", secret_key=None, signed=False)

    async def attempts() -> list[int]:
        here = control_plane.url
        return [
            await upgrade(control_plane, None, here, token),
            await upgrade(control_plane, "made up", here, token),
            await upgrade(control_plane, cookie, "https://evil.example", token),
            await upgrade(control_plane, cookie, None, token),
            await upgrade(control_plane, cookie, here, forged),
            await upgrade(control_plane, cookie, here, "nonsense"),
            await upgrade(control_plane, cookie, here, token),
        ]

    assert asyncio.run(attempts()) == [403] * 6 + [101]
    assert "Traceback" not in control_plane.log


def test_logout_ends_the_session_and_its_websockets(
    control_plane: ControlPlane, inside: httpx.Client
) -> None:
    cookie, token = inside.cookies[COOKIE], bokeh_token(inside.get(PAGE))

    async def log_out() -> int | None:
        async with websockets.connect(
            f"{control_plane.url.replace('http', 'ws')}{PAGE}ws",
            origin=control_plane.url,  # type: ignore[arg-type]
            additional_headers={"Cookie": f"{COOKIE}={cookie}"},
            subprotocols=["bokeh", token],  # type: ignore[list-item]
        ) as socket:
            await socket.recv()
            reply = await asyncio.to_thread(inside.post, f"{PAGE}logout")
            assert reply.headers["location"] == "login"
            await socket.wait_closed()
            return socket.close_code

    assert asyncio.run(log_out()) == LOGGED_OUT
    inside.cookies.set(COOKIE, cookie, domain="127.0.0.1", path=PAGE)
    assert inside.get(f"{PAGE}alive").status_code == 403


def test_downloads(control_plane: ControlPlane, inside: httpx.Client) -> None:
    reply = inside.get(f"{PAGE}files/nosuchjob/result.json")
    assert (reply.status_code, "job_not_found" in reply.text) == (404, True)


def test_the_api_is_not_behind_this_door(control_plane: ControlPlane, inside: httpx.Client) -> None:
    # A session opens the dashboard and nothing else.
    assert inside.get("/calc/zpe/admin/flags").status_code == 401


def test_panel_is_imported_while_somebody_types_the_token_and_not_before(
    own_control_plane: Callable[..., ControlPlane],
) -> None:
    plane = own_control_plane()
    assert plane.process is not None
    libraries = Path(f"/proc/{plane.process.pid}/maps")
    with plane.api() as api:
        api.get("/calc/zpe/jobs").raise_for_status()
    # Bokeh, below Panel, is all that needs Tornado.
    assert "tornado" not in libraries.read_text()
    httpx.get(f"{plane.url}{PAGE}login").raise_for_status()
    wait_until(lambda: "tornado" in libraries.read_text())


def test_a_control_plane_may_do_without(own_control_plane: Callable[..., ControlPlane]) -> None:
    plane = own_control_plane(ZPE_DASHBOARD="0")
    with plane.api() as api:
        assert api.get(PAGE).status_code == 404


def until_in(browser: httpx.Client) -> httpx.Response:
    """Look at the waiting page until it leads on."""
    replies: list[httpx.Response] = []

    def leads_on() -> bool:
        replies.append(browser.get(f"{PAGE}issuer"))
        return replies[-1].status_code != 200

    wait_until(leads_on)
    return replies[-1]


def test_researchers_log_in_at_the_issuer_while_the_page_waits(
    own_control_plane: Callable[..., ControlPlane],
) -> None:
    with Issuer() as issuer:
        plane = own_control_plane(**issuer.settings)
        form = {"lang": "en", "dark": "0", "narrow": "0"}
        with browser(plane) as ann, browser(plane) as eve:
            assert "Log in at 127.0.0.1" in ann.get(f"{PAGE}login").text
            issuer.answers = ["authorization_pending"]
            began = ann.post(f"{PAGE}issuer", data=form)
            assert (began.status_code, began.headers["location"]) == (303, "issuer")
            waiting = ann.get(f"{PAGE}issuer")
            assert waiting.status_code == 200
            assert "WDJB-MJHT" in waiting.text
            assert f'href="{issuer.url}/activate"' in waiting.text
            assert "secret-device-code" not in waiting.text
            # Whoever has not begun it does not end it.
            assert eve.get(f"{PAGE}issuer").headers["location"] == "login"
            assert until_in(ann).headers["location"] == "./"
            assert ann.get(PAGE).status_code == 200
            assert eve.get(PAGE).headers["location"] == "login"
            assert "name=ann@example.org" in plane.log or '"name": "ann@example.org"' in plane.log
            # It is done once.
            assert ann.get(f"{PAGE}issuer").headers["location"] == "login"

            # What failed counts, as with tokens.
            issuer.answers = ["access_denied"]
            eve.post(f"{PAGE}issuer", data=form)
            refused = until_in(eve)
            assert refused.status_code == 403
            assert "access_denied" in refused.text
            assert eve.get(PAGE).headers["location"] == "login"
            assert httpx.post(f"{plane.url}{PAGE}issuer", data=form).status_code == 403  # of no page of ours
            for _ in range(FAILURES_PER_MINUTE):
                last = eve.post(f"{PAGE}issuer", data=form)
            assert last.status_code == 429


def test_without_an_issuer_there_is_no_other_way_in(control_plane: ControlPlane) -> None:
    with browser(control_plane) as somebody:
        assert "Log in at" not in somebody.get(f"{PAGE}login").text
        assert somebody.post(f"{PAGE}issuer", data={"lang": "en"}).status_code == 503
        assert somebody.get(PAGE).headers["location"] == "login"
