"""The frame of the page: bar, list of pages and heading, on the screen before anything else is made."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zpe_dashboard.door import inner_path
from zpe_dashboard.look import BAR, FONT, THEME
from zpe_dashboard.pages import PAGES, listed
from zpe_dashboard.sessions import Session, current_session
from zpe_dashboard.templates import template
from zpe_dashboard.words import Words

_HEADERS = [
    (b"content-type", b"text/html; charset=utf-8"),
    # A proxy that waits for the end of the page would take the frame's time away.
    (b"x-accel-buffering", b"no"),
]


class Frame:
    """Answers with the beginning of the page at once; the rest follows when it is made.

    To make the rest takes a part of a second, and seconds if Panel has to be imported first.

    Parameters
    ----------
    app
        What makes the rest of the page, and all other answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http" or scope["method"] != "GET" or inner_path(scope) != "/":
            await self._app(scope, receive, send)
            return
        frame = render(current_session.get())
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await send({"type": "http.response.body", "body": frame.encode(), "more_body": True})

        async def send_rest(message: Message) -> None:
            if message["type"] != "http.response.start":
                await send(message)

        # It can no longer be refused: so nothing is asked that could be.
        await self._app({**scope, "query_string": b""}, receive, send_rest)


def render(session: Session) -> str:
    """Return the beginning of the page, up to where the content goes."""
    return template("frame.html").render(
        words=Words(session.language),
        language=session.language,
        dark=session.dark,
        palette=THEME["dark" if session.dark else "light"]["palette"],
        bar=BAR,
        font=FONT,
        pages=listed(session.role),
        first=PAGES[session.role][0],
    )
