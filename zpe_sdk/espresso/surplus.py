"""Lines of an input that belong to none of its cards: to pw.x each of them is a card, which it ignores.

More atoms than ``nat``, k-points behind the last, velocities, which an SCF does not read: such lines are cut
out of a task's text. What is left may be a card that is not known here. A pw.x that does not know it either
says so, and another one may take it: so it counts as physics.
"""

from __future__ import annotations

import re
from itertools import dropwhile, takewhile

from zpe_sdk.espresso.cards import Row
from zpe_sdk.espresso.input import PwInput

# Longer than the label of an atom, or what stands in the card HUBBARD.
_CARD = re.compile(r"[A-Z][A-Z_]{5,}", re.A)
# Where a number or an expression begins.
_NUMBER = re.compile(r"[-+(]*[.\d]")


def surplus_rows(pw_input: PwInput) -> list[Row]:
    """Return the lines that are more of what a card has enough of."""
    return [row for rows in _behind(pw_input).values() for row in takewhile(_is_data, rows)]


def unread_lines(pw_input: PwInput) -> list[tuple[str, ...]]:
    """Return the words of the lines that may be a card which is not known here."""
    before = pw_input.text[
        max(group.end for group in pw_input.groups.values()) : min(
            card.start for card in pw_input.cards.values()
        )
    ]
    lines = [tuple(line.split()) for line in before.splitlines()[1:]]
    behind = _behind(pw_input)
    for name, card in pw_input.cards.items():
        rows = dropwhile(_is_data if name in behind else _is_no_card, behind.get(name, card.rows))
        lines += [row.words for row in rows]
    return [words for words in lines if words and not words[0].startswith(("!", "#"))]


def _behind(pw_input: PwInput) -> dict[str, tuple[Row, ...]]:
    """Return the lines behind those that an SCF reads, by card, where their number is known."""
    k = pw_input.kpoints
    read = {
        "ATOMIC_SPECIES": len(pw_input.species),
        "ATOMIC_POSITIONS": len(pw_input.labels),
        "ATOMIC_VELOCITIES": 0,
        "CELL_PARAMETERS": 3,
        "K_POINTS": 0 if k.mode == "gamma" else 1 + len(k.points or ()),
    }
    return {name: pw_input.cards[name].rows[n:] for name, n in read.items() if name in pw_input.cards}


def _is_data(row: Row) -> bool:
    """Tell whether a line is one of numbers, or of a label and numbers; or a comment among these."""
    first, second = (*row.words, "")[:2]
    if first.startswith(("!", "#")):
        return True
    return bool(_NUMBER.match(first) or _NUMBER.match(second)) and not _CARD.fullmatch(first)


def _is_no_card(row: Row) -> bool:
    return not _CARD.fullmatch(row.words[0])
