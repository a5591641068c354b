"""The place in the dashboard, as the part of the URL behind ``#``: ``#/jobs?status=failed&search=h2``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlencode


@dataclass(frozen=True)
class Route:
    """A page, what it is about, and the filters set on it."""

    page: str = "overview"
    subject: str = ""
    filters: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str) -> Route:
        """Read what :meth:`__str__` wrote; anything else leads to the overview."""
        path, _, query = text.removeprefix("#").removeprefix("/").partition("?")
        page, _, subject = path.partition("/")
        return cls(page or "overview", unquote(subject), dict(parse_qsl(query)))

    def __str__(self) -> str:
        subject = f"/{quote(self.subject, safe='')}" if self.subject else ""
        query = urlencode({name: value for name, value in self.filters.items() if value})
        return f"#/{self.page}{subject}" + (f"?{query}" if query else "")
