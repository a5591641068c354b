"""What any text must be before it is read as an input, be it of pw.x or of Environ."""

from __future__ import annotations

import re

from zpe_sdk.errors import InputError

# What Fortran and Python would not agree on: a binary file, or lines that end in a way of their own.
_FOREIGN = re.compile(r"[\0-\x08\x0b\x0c\x0e-\x1f\x7f\x85\u2028\u2029]|\r(?!\n)")


def check_text(text: str, *, limit: int, what: str, field: str) -> None:
    """Refuse a text that is empty, too long, or holds characters that have no place in an input.

    Parameters
    ----------
    text
        The text; a byte order mark at its beginning passes.
    limit
        The most characters that it may have.
    what
        What it is called in the message of an error, e.g. ``the input``.
    field
        The field of the request that it came in.

    Raises
    ------
    InputError
        ``empty_input``, ``out_of_bounds`` or ``binary_input``.
    """
    if not text.strip():
        raise InputError(f"{what} is empty", code="empty_input", field=field)
    if len(text) > limit:
        raise InputError(f"{what} has more than {limit} characters", code="out_of_bounds", field=field)
    if foreign := _FOREIGN.search(text):
        raise InputError(f"{foreign[0]!r} has no place in {what}", code="binary_input", field=field)
