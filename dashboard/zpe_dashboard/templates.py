"""Pages in plain HTML, made without Panel."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment, Template


def template(name: str) -> Template:
    """Return a page of ``assets/``, to be filled in."""
    return _environment().get_template(name)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader  # at the first visit, as all of the dashboard

    return Environment(loader=PackageLoader("zpe_dashboard", "assets"), autoescape=True)
