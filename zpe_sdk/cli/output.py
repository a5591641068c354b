"""What the commands print: tables for people, JSON for programs, one line for an error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zpe_sdk.errors import InputError, ZPEError
from zpe_sdk.plain import escaped, plain, plain_lines

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
        text = json.dumps([item.model_dump(mode="json") for item in value], indent=2, ensure_ascii=False)
    else:
        text = value.model_dump_json(indent=2)
    print(escaped(text))


def reply(found: Message, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, json: bool) -> None:
    """Print what the control plane has answered: as JSON if that was asked for, else these rows."""
    as_json(found) if json else table(columns, rows)


def write(text: str, file: Path | None) -> None:
    """Write a text to a file as it is, or to standard output without what commands a terminal.

    Raises
    ------
    InputError
        ``file_unwritable``.
    """
    if file is None:
        print(plain_lines(text).rstrip("\n"))
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{file} cannot be written: {error.strerror}", code="file_unwritable", field="output"
        ) from error


def write_secret(secret: str, file: Path) -> None:
    """Write a secret to a new file with mode 0600.

    Raises
    ------
    InputError
        ``file_unwritable``: also if the file is there already, with whatever mode it has.
    """
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
            opened.write(f"{secret}\n")
    except OSError as error:
        raise InputError(
            f"{file} cannot be written: {error.strerror}", code="file_unwritable", field="output"
        ) from error


def moment(time: str | None) -> str:
    """Return an ISO time without its fractions of a second."""
    return (time or "")[:19].replace("T", " ")
