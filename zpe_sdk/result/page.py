"""Pages that a notebook shows: each whole in itself, without a network."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import ClassVar


@dataclass(frozen=True)
class Page:
    """A page of HTML that a notebook shows in a frame.

    Attributes
    ----------
    html
        All of it; ``Path("mode.html").write_text(page.html)`` keeps it.
    """

    html: str
    size: ClassVar[tuple[int, int]] = (460, 360)

    def _repr_html_(self) -> str:
        # In a frame, its script touches nothing else of the notebook.
        width, height = self.size
        return (
            f'<iframe sandbox="allow-scripts" width="{width}" height="{height}" '
            'style="border:0; max-width:100%" '
            f'srcdoc="{escape(self.html)}"></iframe>'
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: shown by a notebook; .html is a page of its own>"
