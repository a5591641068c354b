"""What one browser tab looks at, and the loop that keeps it up to date."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import param

from zpe_dashboard.pages import PAGES
from zpe_dashboard.route import Route
from zpe_dashboard.state.base import State
from zpe_dashboard.state.dead import DeadLetters
from zpe_dashboard.state.fleet import Leases, Workers
from zpe_dashboard.state.jobs import JobInside, Jobs
from zpe_dashboard.state.new import NewJob
from zpe_dashboard.state.overview import Overview
from zpe_dashboard.state.researchers import Researchers
from zpe_dashboard.state.tokens import Audit, Tokens
from zpe_sdk.client.async_client import AsyncZPEClient
from zpe_sdk.errors import ZPEError
from zpe_sdk.wire.names import PersonRole

PERIOD_SECONDS = 2.0
# What takes long, such as a search among very many jobs, is asked for again only after so many times as long.
PATIENCE = 5

Publish = Callable[[Callable[[], None]], Any]


class Desk(param.Parameterized):
    """One tab: the page it is on, whether somebody looks at it, whether the control plane answers.

    One loop (:meth:`follow`) asks the control plane for what the page in sight shows, and nothing while the
    tab is hidden.
    """

    route = param.ClassSelector(class_=Route, default=Route())
    zone = param.Integer(default=0, doc="How far the browser's clock is ahead of UTC, in minutes.")
    visible = param.Boolean(default=True, doc="Whether the tab is in sight.")
    reachable = param.Boolean(default=True, doc="Whether the control plane answered last time.")
    beat = param.Integer(default=0, doc="Grows with every look, successful or not.")
    notice = param.Dict(default={}, doc="The last thing to tell: text, and whether it is a problem.")

    def __init__(
        self, client: AsyncZPEClient, name: str = "admin", role: PersonRole = "admin", **params: Any
    ) -> None:
        super().__init__(**params)
        self.name_of_owner = name
        self.role: PersonRole = role
        states: dict[str, type[State]] = {
            "overview": Overview,
            "jobs": Jobs,
            "job": JobInside,
            "new": NewJob,
            "workers": Workers,
            "leases": Leases,
            "dlq": DeadLetters,
            "researchers": Researchers,
            "tokens": Tokens,
            "audit": Audit,
        }
        self.states = {name: state(client) for name, state in states.items() if name in PAGES[role]}
        self._news_wanted = asyncio.Event()

    @property
    def page(self) -> str:
        """The page the tab is on; the first one instead of any that is unknown, or for others."""
        return self.route.page if self.route.page in self.states else PAGES[self.role][0]

    @property
    def may_act(self) -> bool:
        """Whether there is more to do here than to look."""
        return self.role != "observer"

    def decides_about(self, owner: str | None) -> bool:
        """Tell whether somebody's jobs may be cancelled and requeued."""
        return self.role == "admin" or (self.role == "researcher" and owner == self.name_of_owner)

    @property
    def state(self) -> State:
        """The state of that page."""
        return self.states[self.page]

    def go(self, route: Route) -> None:
        """Turn to another page, or to other filters."""
        self.route = route
        self.state.open(route.subject, dict(route.filters))
        self.hurry()

    def hurry(self) -> None:
        """Look at once instead of after the usual pause."""
        self._news_wanted.set()

    @param.depends("visible", watch=True)
    def _seen_again(self) -> None:
        self.hurry()

    async def follow(self, publish: Publish = lambda act: act()) -> None:
        """Keep the page in sight up to date, for ever.

        Parameters
        ----------
        publish
            Runs what changes params at a moment when the views may change.
        """
        while True:
            began = time.monotonic()
            if self.visible:
                await self._look(publish)
            pause = max(PERIOD_SECONDS, PATIENCE * (time.monotonic() - began))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause if self.visible else None):
                    await self._news_wanted.wait()
            self._news_wanted.clear()

    async def _look(self, publish: Publish) -> None:
        state, route = self.state, self.route
        try:
            news = await state.fetch()
        except ZPEError as error:
            publish(partial(self._take_refusal, state, route, error))
        else:
            publish(partial(self._take, state, route, news))

    def _take(self, state: State, route: Route, news: dict[str, Any]) -> None:
        # The answer to a question that nobody asks any more would mix two jobs, or two filters.
        if route == self.route:
            state.take(news)
        self.param.update(reachable=True, beat=self.beat + 1)

    def _take_refusal(self, state: State, route: Route, error: ZPEError) -> None:
        away = error.code == "control_plane_unreachable" or error.side == "store"
        if not away and route == self.route:
            state.problem = str(error)
        self.param.update(reachable=not away, beat=self.beat + 1)

    async def act(self, action: Awaitable[Any], done: str) -> bool:
        """Carry out what was asked for, say how it went, and look again."""
        try:
            await action
        except ZPEError as error:
            self.notice = {"text": str(error), "problem": True}
            return False
        finally:
            self.hurry()
        self.notice = {"text": done, "problem": False}
        return True
