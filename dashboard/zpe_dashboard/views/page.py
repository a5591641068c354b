"""What the views of all pages have in common."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import panel as pn
import panel_material_ui as pmui

from zpe_dashboard.components import Code, Facts, Table
from zpe_dashboard.state.base import State
from zpe_dashboard.state.desk import Desk
from zpe_dashboard.words import Words

S = TypeVar("S", bound=State)


class View(Generic[S]):
    """A page in one tab.

    Attributes
    ----------
    desk, state
        What the tab looks at, and what is there.
    words
        Translates into the language of the session.
    place
        Where the control plane is seen from the browser, for commands to copy.
    confirm
        Asks before something is done, see :class:`Confirm`.
    """

    def __init__(self, desk: Desk, state: S, words: Words, place: str, confirm: Confirm) -> None:
        self.desk = desk
        self.state = state
        self.words = words
        self.place = place
        self.confirm = confirm

    def content(self) -> list[Any]:
        """Return what the page consists of."""
        raise NotImplementedError

    def watch(self, draw: Callable[[], None], *params: str) -> None:
        """Draw now, and again whenever one of the state's params changes."""
        draw()
        self.state.param.watch(lambda *_: draw(), [*params, "loaded"])

    def table(self, columns: list[dict[str, Any]], label: str, empty: str, **more: Any) -> Table:
        """Return a table that says so while there is nothing to show yet; observers see no ``actions``."""
        if not self.desk.may_act:
            columns = [column for column in columns if column["key"] != "actions"]
            more["selectable"] = False
        table = Table(columns=columns, label=label, lang=self.words.language, **more)

        def say() -> None:
            table.empty = empty if self.state.loaded else self.words("Loading …")

        self.watch(say)
        return table

    def facts(self, shape: str = "sheet") -> Facts:
        """Return an empty list of facts."""
        return Facts(shape=shape, lang=self.words.language, margin=(0, 0, 8, 0))

    def code(self, label: str, **more: Any) -> Code:
        """Return an empty text with a button to copy it."""
        words = self.words
        return Code(label=label, copy_label=words("Copy"), copied_label=words("Copied"), **more)

    def paging(self, show: Callable[[], None]) -> pmui.Pagination:
        """Return the numbers of a list's pages; for the one that is pressed, ``show`` is called."""
        state: Any = self.state
        pages = pmui.Pagination(count=1, value=0, margin=0)

        def draw() -> None:
            pages.param.update(
                count=max(state.pages, state.page), value=state.page - 1, visible=state.pages > 1
            )

        def turned(event: Any) -> None:
            if event.new is not None and event.new != state.page - 1:
                state.page = event.new + 1
                show()

        self.watch(draw, "total", "page")
        pages.param.watch(turned, "value")
        return pages

    def deeds(self, *objects: Any) -> pn.viewable.Viewable:
        """Return what one can do side by side; observers do not see it."""
        found = row(*objects)
        found.visible = self.desk.may_act
        return found

    def problem(self) -> pn.viewable.Viewable:
        """Return the place where it stands why there is nothing to see."""
        alert = pmui.Alert(title="", severity="error", visible=False, sizing_mode="stretch_width")

        def say() -> None:
            alert.param.update(title=self.state.problem, visible=bool(self.state.problem))

        self.watch(say, "problem")
        return alert

    async def act(self, action: Awaitable[Any], done: str) -> bool:
        """Carry out an action and say how it went."""
        return await self.desk.act(action, done)


def warning_box() -> pmui.Alert:
    """Return a place for warnings."""
    return pmui.Alert(
        title="",
        severity="warning",
        visible=False,
        sizing_mode="stretch_width",
        margin=(12, 0, 0, 0),
        sx={"whiteSpace": "pre-line"},
    )


def warn(box: pmui.Alert, told: Sequence[str]) -> None:
    """Show warnings, each as a paragraph; none: hide the place."""
    title = "\n".join(f"• {text}" for text in told) if len(told) > 1 else "".join(told)
    box.param.update(title=title, visible=bool(told))


Do = Callable[[], Awaitable[Any]]


class Confirm(Protocol):
    """Asks before something is done."""

    def __call__(
        self, question: str, consequence: str, label: str, do: Do, instead: tuple[str, Do] | None = None
    ) -> None:
        """Ask, and ``do`` it if the button with the label is pressed.

        ``instead``, if there is one, is a choice to tick, and what to do if it is ticked.
        """


def heading(text: str, level: int = 2) -> pmui.Typography:
    """Return a heading; its text must be ours, since it is read as Markdown."""
    return pmui.Typography(text, variant=f"h{level}", margin=(18 if level > 1 else 4, 0, 8, 0))


def row(*objects: Any) -> pn.viewable.Viewable:
    """Return things side by side, or below each other where there is no room."""
    for thing in objects:
        thing.margin = 0
    return pn.FlexBox(*objects, gap="12px", align_items="center", margin=(8, 0), sizing_mode="stretch_width")
