"""The frame around all pages: the list of pages, the question before an act, the loop behind a tab."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import panel as pn
import panel_material_ui as pmui
from panel_material_ui.template.base import Page

from zpe_dashboard.components import Link, Pages
from zpe_dashboard.look import FRAME, THEME
from zpe_dashboard.pages import PAGES, listed
from zpe_dashboard.route import Route
from zpe_dashboard.sessions import Session, current_session
from zpe_dashboard.state.desk import Desk
from zpe_dashboard.state.overview import Overview
from zpe_dashboard.views.dead import DeadView
from zpe_dashboard.views.fleet import LeasesView, WorkersView
from zpe_dashboard.views.job import JobView
from zpe_dashboard.views.jobs import JobsView
from zpe_dashboard.views.new import NewJobView
from zpe_dashboard.views.overview import OverviewView
from zpe_dashboard.views.page import Do, View
from zpe_dashboard.views.researchers import ResearchersView
from zpe_dashboard.views.tokens import AuditView, TokensView
from zpe_dashboard.words import Words

# The frame has been sent already when Panel is asked for the rest.
_TEMPLATE = Path(str(files("zpe_dashboard").joinpath("assets/content.html")))
_VIEWS: dict[str, type[View[Any]]] = {
    "overview": OverviewView,
    "jobs": JobsView,
    "job": JobView,
    "new": NewJobView,
    "workers": WorkersView,
    "leases": LeasesView,
    "dlq": DeadView,
    "researchers": ResearchersView,
    "tokens": TokensView,
    "audit": AuditView,
}


def tab(place: str) -> Any:
    """Return the dashboard for a new tab of the session whose request is being answered.

    Parameters
    ----------
    place
        URL of the control plane, for commands to copy; empty: it is where the dashboard is.
    """
    return _Shell(current_session.get(), place).page


class _Shell:
    def __init__(self, session: Session, place: str) -> None:
        self._session = session
        self._place = place
        self._words = Words(session.language)
        self._desk = Desk(session.client, session.name, session.role)
        self._views: dict[str, list[Any]] = {}
        self._doc: Any = pn.state.curdoc
        self._following: asyncio.Task[None] | None = None
        self._url: tuple[str, str] | None = None
        self._ready = False
        self._arriving = False
        self._pages = self._make_pages()
        self._link = self._make_link()
        self._question = _Question(self._words)
        self._main = pn.Column(
            pn.Spacer(),
            sizing_mode="stretch_width",
            margin=(12, 20, 40, 20),
            # The widest thing must not widen all others on a narrow screen, nor a low screen squeeze them.
            styles={"max-width": "calc(100vw - 40px)", "min-height": "max-content"},
        )
        self.page = Page(
            title="ZPE",
            main=[self._link, self._main, self._question.dialog],
            sidebar=[self._pages],
            sidebar_open=not session.narrow,
            sidebar_width=240,
            sidebar_resizable=False,  # its handle has a name, but no role
            main_width=1400,
            dark_theme=session.dark,
            theme_config=THEME,
            sx=FRAME,
            busy_indicator=None,
            site_url=f"#/{PAGES[session.role][0]}",
            template=_TEMPLATE,
        )
        self.page.param.watch(lambda event: setattr(session, "dark", event.new), "dark_theme")
        self._desk.param.watch(self._show, "route")
        pn.state.onload(self._begin)
        pn.state.on_session_destroyed(self._leave)

    def _make_link(self) -> Link:
        w, desk = self._words, self._desk
        link = Link(
            on_place=self._arrive,
            on_visible=lambda visible: setattr(desk, "visible", visible),
            on_narrow=self._measured,
            on_zone=lambda minutes: setattr(desk, "zone", minutes),
            lang=w.language,
            words={
                "away": w("The control plane cannot be reached. Trying again …"),
                "gone": w("The connection to the dashboard is lost. Trying again …"),
            },
        )
        for name in ("beat", "reachable", "notice"):
            desk.param.watch(lambda event, name=name: setattr(link, name, event.new), name)
        return link

    def _make_pages(self) -> Pages:
        w = self._words
        pages = Pages(
            on_language=self._other_language,
            words={
                "logout": w("Log out"),
                "language": "English" if w.language == "ja" else "日本語",
                "pages": w("Pages"),
            },
        )
        overview = self._desk.states.get("overview")

        def draw(*_: Any) -> None:
            dead = overview.dead if isinstance(overview, Overview) else 0
            pages.pages = [
                {"id": name, "text": w(text)}
                | ({"count": dead, "tone": "bad"} if name == "dlq" and dead else {})
                for name, text in listed(self._session.role).items()
            ]

        draw()
        if overview is not None:
            overview.param.watch(draw, "dead")
        return pages

    def _measured(self, narrow: bool) -> None:
        if narrow != self._session.narrow:
            self._session.narrow = narrow
            self.page.sidebar_open = not narrow

    def _arrive(self, fragment: str, url: str) -> None:
        """Go where the URL says; at first, as soon as the page is ready for changes as well."""
        self._url = (fragment, url)
        if self._ready:
            self._settle()

    def _begin(self) -> None:
        self._ready = True
        if self._url is not None:
            self._settle()

    def _settle(self) -> None:
        assert self._url is not None
        fragment, url = self._url
        self._place = self._place or url.partition("/dashboard")[0]
        route = Route.read(fragment)
        self._arriving = True
        if route != self._desk.route or self._following is None:
            self._desk.go(route)
            self._show()
        self._arriving = False
        if self._following is None:
            self._following = asyncio.create_task(self._desk.follow(self._publish))

    def _leave(self, _: Any) -> None:
        if self._following is not None:
            self._following.cancel()

    def _publish(self, act: Callable[[], None]) -> None:
        self._doc.add_next_tick_callback(act)

    def _show(self, *_: Any) -> None:
        desk, name = self._desk, self._desk.page
        if name not in self._views:
            view = _VIEWS[name](desk, desk.states[name], self._words, self._place, self._question.ask)
            self._views[name] = view.content()
        if self._session.narrow:
            self.page.sidebar_open = False
        if self._main.objects != self._views[name]:
            self._main.objects = self._views[name]
        self._pages.page = "jobs" if name == "job" else name
        if not self._arriving:
            self._link.go(str(desk.route))

    def _other_language(self) -> None:
        self._session.language = "en" if self._session.language == "ja" else "ja"
        self._pages.reload += 1


class _Question:
    """Asks before something is done that cannot be undone, or stops others from working."""

    def __init__(self, words: Words) -> None:
        self._do: Do | None = None
        self._instead: Do | None = None
        self._text = pmui.Typography("", margin=(0, 0, 20, 0))
        self._choice = pmui.Checkbox(label="", visible=False, margin=(0, 0, 20, 0))
        no = pmui.Button(label=words("Back"), variant="text")
        self._yes = pmui.Button(label="", variant="contained", color="error")
        no.on_click(lambda _: self._close())
        self._yes.on_click(self._confirmed)
        self.dialog = pmui.Dialog(
            self._text,
            self._choice,
            pn.Row(pn.HSpacer(), no, self._yes, sizing_mode="stretch_width"),
            title="",
            title_variant="h6",
            close_on_click=True,
        )

    def ask(
        self, question: str, consequence: str, label: str, do: Do, instead: tuple[str, Do] | None = None
    ) -> None:
        """Ask, and do it if the answer is yes; see :class:`zpe_dashboard.views.page.Confirm`."""
        self._do = do
        choice, self._instead = instead or ("", None)
        self._choice.param.update(label=choice, value=False, visible=instead is not None)
        self._text.object = consequence
        self._yes.label = label
        self.dialog.param.update(title=question, open=True)

    def _close(self) -> None:
        self._do = None
        self.dialog.open = False

    async def _confirmed(self, _: Any) -> None:
        do = self._instead if self._choice.value else self._do
        self._close()
        if do is not None:
            await do()
