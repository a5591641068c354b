"""Texts of others, made safe to show: in a terminal, in a notebook, in the dashboard.

A name, a warning or the last lines of a program may hold characters that command a terminal (ESC, OSC and the
C1 controls) or turn a line round (U+202E and its like). They become blanks. Messages clean their fields as
they are read (:data:`zpe_sdk.wire.messages.Line`), errors their message, the commands of the shell and the
dashboard whatever they show besides.
"""

from __future__ import annotations

# The attributes of a table's cell in HTML: not every notebook keeps columns apart by itself.
CELL = 'style="text-align:left; padding:2px 8px"'


class _Blanked(dict[int, int]):
    """What each character becomes, as :meth:`str.translate` asks for it."""

    def __missing__(self, code: int) -> int:
        self[code] = code if chr(code).isprintable() else ord(" ")
        return self[code]


_IN_A_LINE = _Blanked()
_IN_LINES = _Blanked({ord(kept): ord(kept) for kept in "\n\t"})


def plain(text: str) -> str:
    """Return a text in one line, of printable characters."""
    return text if text.isprintable() else text.translate(_IN_A_LINE)


def plain_lines(text: str) -> str:
    """Return a text of printable characters; its lines and tabs stay."""
    return text.replace("\r\n", "\n").translate(_IN_LINES)


def escaped(json: str) -> str:
    """Return JSON that says the same in printable characters."""
    lines = json.split("\n")
    return "\n".join("".join(c if c.isprintable() else _escape(c) for c in line) for line in lines)


def _escape(letter: str) -> str:
    units = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
