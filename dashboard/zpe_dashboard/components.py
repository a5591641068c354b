"""Small components in the browser: tables, facts, texts, the molecule, and the link to the session.

Their scripts are in ``assets/``. They take data, show texts as texts, and send messages back.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.resources import files
from typing import Any

import panel as pn
import param
from panel.custom import JSComponent

from zpe_sdk.plain import plain_lines

_ASSETS = files("zpe_dashboard").joinpath("assets")


def _asset(*names: str) -> str:
    return "".join(_ASSETS.joinpath(name).read_text("utf-8") for name in names)


class Component(JSComponent):
    """A component that shows texts as they are, without characters that turn them round."""

    def _process_param_change(self, params: dict[str, Any]) -> dict[str, Any]:
        shown: dict[str, Any] = super()._process_param_change(_shown(params))
        return shown


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return plain_lines(value)
    if isinstance(value, dict):
        return {key: _shown(item) for key, item in value.items()}
    return [_shown(item) for item in value] if isinstance(value, list) else value


class Table(Component):
    """Rows with the same columns; on a narrow screen each row is a card.

    A column is a dict: ``key``, ``label``, ``kind`` (see ``cells.js``), maybe ``align``, ``sort`` and
    ``below`` (in a line of its own). A row is a dict: ``id``, maybe ``name`` for screen readers and
    ``sort`` with values to sort by, and a value for each column. A value of the kind ``actions`` is a
    list of ``id``, ``text`` and ``tone``.

    Parameters
    ----------
    on_action
        Called with the id of a row and of an action.
    on_sort
        Called with the key of a column and whether to go down it, where the rows are a part of a longer list:
        whoever has the list sorts it, and sets ``sort``. None: the table sorts its rows.
    """

    columns = param.List(default=[])
    rows = param.List(default=[])
    selected = param.List(default=[], doc="Ids of the rows that are ticked.")
    selectable = param.Boolean(default=False)
    sort = param.List(default=[], doc="Key of the column to sort by at first, and 'up' or 'down'.")
    in_part = param.Boolean(default=False, doc="The rows are a part of a list, in its order.")
    label = param.String(default="", doc="What the table lists, for screen readers.")
    select_label = param.String(default="")
    empty = param.String(default="", doc="What stands there when there are no rows.")
    lang = param.String(default="en")

    _esm = _asset("cells.js", "table.js")
    _stylesheets = [_asset("common.css", "table.css")]  # noqa: RUF012, Panel's way

    def __init__(
        self,
        on_action: Callable[[str, str], Any] | None = None,
        on_sort: Callable[[str, bool], Any] | None = None,
        **params: Any,
    ) -> None:
        super().__init__(**{"sizing_mode": "stretch_width", "in_part": on_sort is not None} | params)
        self._on_action = on_action
        self._on_sort = on_sort

    def _handle_msg(self, msg: Any) -> None:
        if "sort" in msg:
            if self._on_sort and any(c["key"] == msg["sort"] and c.get("sort") for c in self.columns):
                self._on_sort(msg["sort"], bool(msg.get("down")))
            return
        row, action = str(msg.get("row", "")), str(msg.get("action", ""))
        known = {
            (str(r["id"]), a["id"])
            for r in self.rows
            for v in r.values()
            if isinstance(v, list)
            for a in _actions(v)
        }
        if self._on_action and (row, action) in known:
            pn.state.execute(partial(self._on_action, row, action))


def _actions(value: list[Any]) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict) and "id" in item]


class Facts(Component):
    """Labels with values: dicts with ``label``, ``value``, maybe ``kind``, ``note``, ``tone``, ``big``."""

    facts = param.List(default=[])
    shape: param.Selector[str] = param.Selector(default="sheet", objects=["sheet", "tiles", "title"])
    lang = param.String(default="en")

    _esm = _asset("cells.js", "facts.js")
    _stylesheets = [_asset("common.css", "facts.css")]  # noqa: RUF012

    def __init__(self, **params: Any) -> None:
        super().__init__(**{"sizing_mode": "stretch_width"} | params)


class Code(Component):
    """A text as it is, with a button that copies it."""

    text = param.String(default="")
    label = param.String(default="", doc="What it is, for screen readers.")
    wrap = param.Boolean(default=False)
    copy_label = param.String(default="Copy")
    copied_label = param.String(default="Copied")

    _esm = _asset("cells.js", "code.js")
    _stylesheets = [_asset("common.css", "code.css")]  # noqa: RUF012

    def __init__(self, **params: Any) -> None:
        super().__init__(**{"sizing_mode": "stretch_width"} | params)


class Molecule(Component):
    """Atoms, each a dict: ``at`` (Å), ``radius`` (Å), ``colour``.

    Maybe ``mode``, its displacement (Å), and ``held``: it is drawn faintly.

    Parameters
    ----------
    on_pick
        Called with the index of an atom that is clicked; None: none can be.
    """

    atoms = param.List(default=[])
    bonds = param.List(default=[], doc="Pairs of indices.")
    halves = param.List(default=[], doc="Half bonds: the index of an atom, and the way from there (Å).")
    label = param.String(default="")
    pickable = param.Boolean(default=False)

    _esm = _asset("cells.js", "molecule.js")
    _stylesheets = [_asset("common.css", "molecule.css")]  # noqa: RUF012

    def __init__(self, on_pick: Callable[[int], None] | None = None, **params: Any) -> None:
        super().__init__(
            **{"sizing_mode": "stretch_width", "height": 302, "pickable": on_pick is not None} | params
        )
        self._on_pick = on_pick

    def _handle_msg(self, msg: Any) -> None:
        atom = msg.get("atom")
        if self._on_pick and isinstance(atom, int) and 0 <= atom < len(self.atoms):
            self._on_pick(atom)


class Paste(Component):
    """A text that is typed, pasted, or dropped as a file."""

    value = param.String(default="")
    label = param.String(default="", doc="What it is, for screen readers.")
    hint = param.String(default="", doc="What stands there while there is no text.")
    choose_label = param.String(default="Choose a file …")

    _esm = _asset("cells.js", "paste.js")
    _stylesheets = [_asset("common.css", "paste.css")]  # noqa: RUF012

    def __init__(self, **params: Any) -> None:
        super().__init__(**{"sizing_mode": "stretch_width", "margin": (0, 0, 8, 0)} | params)


class Pages(Component):
    """The list of pages, the other language, the way out.

    Parameters
    ----------
    on_language
        Called when the other language is wanted.
    """

    pages = param.List(default=[], doc="Dicts: ``id``, ``text``, maybe ``count`` and ``tone``.")
    page = param.String(default="overview")
    words = param.Dict(default={})
    reload = param.Integer(default=0, doc="Loads the page again when it changes.")

    _esm = _asset("cells.js", "pages.js")
    _stylesheets = [_asset("common.css", "pages.css", "icons.css")]  # noqa: RUF012

    def __init__(self, on_language: Callable[[], None], **params: Any) -> None:
        super().__init__(**{"sizing_mode": "stretch_width"} | params)
        self._on_language = on_language

    def _handle_msg(self, msg: Any) -> None:
        if msg.get("language"):
            self._on_language()


class Link(Component):
    """Joins a tab to its session: place, sight, width, beats, notices. It shows up only to tell something.

    Parameters
    ----------
    on_place
        Called with the part of the URL behind ``#`` and with the whole of it, at first and at every change.
    on_visible
        Called with whether the tab is in sight.
    on_narrow
        Called with whether it is too narrow for two columns.
    on_zone
        Called at first, with how far its clock is ahead of UTC (minutes).
    """

    notice = param.Dict(default={})
    beat = param.Integer(default=0)
    reachable = param.Boolean(default=True)
    silence_seconds = param.Number(default=20.0, doc="Without a beat for so long, the server is asked for.")
    words = param.Dict(default={})
    lang = param.String(default="en")
    overlay_css = param.String(default=_asset("overlay.css"))

    _esm = _asset("cells.js", "link.js")

    def __init__(
        self,
        on_place: Callable[[str, str], None],
        on_visible: Callable[[bool], None],
        on_narrow: Callable[[bool], None],
        on_zone: Callable[[int], None],
        **params: Any,
    ) -> None:
        super().__init__(**{"width": 0, "height": 0, "margin": 0} | params)
        self._on_place = on_place
        self._on_visible = on_visible
        self._on_narrow = on_narrow
        self._on_zone = on_zone

    def go(self, place: str) -> None:
        """Put a place behind the ``#`` of the URL."""
        self._send_msg({"place": place})

    def _handle_msg(self, msg: Any) -> None:
        if "place" in msg:
            self._on_place(str(msg["place"]), str(msg["page"]))
        elif "visible" in msg:
            self._on_visible(bool(msg["visible"]))
        elif "narrow" in msg:
            self._on_narrow(bool(msg["narrow"]))
        elif isinstance(msg.get("zone"), int):
            self._on_zone(msg["zone"])
