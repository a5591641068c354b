"""What the commands print: tables for people, JSON for programs, one line for an error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zpe_sdk.errors import InputError, ZPEError

if TYPE_CHECKING:
    from zpe_sdk.wire import Message

_PIPED_WIDTH = 250
COLOURS = {
    "finished": "green",
    "failed": "red",
    "cancelled": "yellow",
    "started": "blue",
    "queued": "default",
    "ok": "green",
    "warn": "yellow",
    "fail": "red",
}


def complain(error: ZPEError) -> None:
    """Print one line: whose fault, which, and what to do."""
    where = f" (field {error.field})" if error.field and error.field not in error.message else ""
    print(plain(f"zpe: {error.message}{where} [{error.side}/{error.code}]"), file=sys.stderr)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table. Cells are shown as they are, without markup or control characters."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH)
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        cells = ["" if cell is None else plain(str(cell)) for cell in row]
        shown.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in cells))
    console.print(shown)


def as_json(value: Message | Sequence[Message]) -> None:
    """Print a message, or a list of them, as JSON."""
    if isinstance(value, Sequence):
        print(json.dumps([item.model_dump(mode="json") for item in value], indent=2, ensure_ascii=False))
    else:
        print(value.model_dump_json(indent=2))


def write(text: str, file: Path | None) -> None:
    """Write a text to a file, or to standard output.

    Raises
    ------
    InputError
        ``file_unwritable``.
    """
    if file is None:
        print(text.rstrip("\n"))
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{file} cannot be written: {error.strerror}", code="file_unwritable", field="output"
        ) from error


def plain(text: str) -> str:
    """Return a text in one line, without the characters by which it could command a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def moment(time: str | None) -> str:
    """Return an ISO time without its fractions of a second."""
    return (time or "")[:19].replace("T", " ")
