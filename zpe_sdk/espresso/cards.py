"""The cards of a pw.x input: their lines and units, as pw.x itself finds them."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from zpe_sdk.errors import InputError
from zpe_sdk.espresso.namelist import number

LINE = 256  # characters of a line that pw.x reads
_CARDS = (
    "ATOMIC_SPECIES",
    "ATOMIC_POSITIONS",
    "K_POINTS",
    "ADDITIONAL_K_POINTS",
    "CELL_PARAMETERS",
    "REF_CELL_PARAMETERS",
    "CONSTRAINTS",
    "OCCUPATIONS",
    "ATOMIC_VELOCITIES",
    "ATOMIC_FORCES",
    "SOLVENTS",
    "HUBBARD",
)
# The card that has to come before: pw.x reads them one after the other.
_BEHIND = {
    "ATOMIC_POSITIONS": "ATOMIC_SPECIES",
    "ATOMIC_FORCES": "ATOMIC_POSITIONS",
    "ATOMIC_VELOCITIES": "ATOMIC_POSITIONS",
    "HUBBARD": "ATOMIC_SPECIES",
    "ADDITIONAL_K_POINTS": "K_POINTS",
}
# pw.x knows cards by their names in capitals only, and only as a word of its own.
_CARD = re.compile(rf"[ \t]*({'|'.join(_CARDS)})(?=[\s,]|$)", re.A)
_GLUED = re.compile(rf"[ \t]*({'|'.join(_CARDS)})[^\w\s,]", re.A)
_WORD = re.compile(r"[ \t]*[({]?[ \t]*([\w+-]*)", re.A)
# What pw.x looks for anywhere in the line of a card, comments included.
_UNITS = {
    "ATOMIC_POSITIONS": re.compile("CRYSTAL_SG|CRYSTAL|BOHR|ANGSTROM|ALAT"),
    "CELL_PARAMETERS": re.compile("BOHR|ANGSTROM|ALAT"),
    "REF_CELL_PARAMETERS": re.compile("BOHR|ANGSTROM"),
    "K_POINTS": re.compile("AUTOMATIC|(?:CRYSTAL|TPIBA)(?:_B|_C)?|GAMMA"),
    "ADDITIONAL_K_POINTS": re.compile("AUTOMATIC|(?:CRYSTAL|TPIBA)(?:_B|_C)?|GAMMA"),
}
_FIELD = re.compile(r"[^ \t\r\n]+")
# What a READ with * takes for the space between two values.
_BETWEEN = re.compile(r" *, *| +")
_REPEATED = re.compile(r"([1-9][0-9]?)\*(.+)")


@dataclass(frozen=True)
class Row:
    """A line of a card: its words, and where they begin and end in the text."""

    words: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Card:
    """A card.

    ``unit`` is that behind its name, in lower case; ``start`` and ``end`` are where its first line begins and
    ends. ``comment`` is the number of rows before the first line that begins with ``!``, if one does.
    """

    name: str
    unit: str
    rows: tuple[Row, ...]
    start: int
    end: int
    comment: int | None = None

    def check_comment(self, rows: int) -> None:
        """Refuse a comment with ``!`` before the last of the rows that pw.x reads: it takes it for a row.

        Raises
        ------
        InputError
        """
        if self.comment is not None and self.comment < rows:
            raise _error(
                f"pw.x takes a line with ! between those of {self.name} for one of them: begin it with #",
                self.name,
            )


def read_cards(text: str, position: int) -> dict[str, Card]:
    """Read the cards of a text from a position on: name -> card.

    Raises
    ------
    InputError
        A card is there twice, stands before one that it needs, or is spelt as pw.x does not see it; a
        namelist follows; there is no K_POINTS, but something before the first card that may be meant so.
    """
    heads: dict[str, tuple[str, int, int]] = {}
    rows: dict[str, list[Row]] = {"": []}
    comments: dict[str, int] = {}
    name = ""
    for line in text[position:].splitlines(keepends=True):
        start, position = position, position + len(line)
        read = line.rstrip("\r\n")[:LINE]
        if match := _CARD.match(read):
            name = match[1]
            if name in heads:
                raise _error(f"the card {name} is there twice", name)
            if (before := _BEHIND.get(name)) and before not in heads:
                raise _error(f"pw.x wants {before} before {name}", name)
            heads[name] = (_unit(name, read[match.end() :]), start, start + len(line.rstrip("\r\n")))
            rows[name] = []
        elif match := _GLUED.match(read):
            raise _error(f"pw.x overlooks {read.strip()[:40]!r}: put a space behind {match[1]}", match[1])
        elif read.startswith("!"):
            comments.setdefault(name, len(rows[name]))
        elif not read.startswith("#") and (words := list(_FIELD.finditer(read))):
            _check_first(words[0][0])
            if name == "ATOMIC_POSITIONS":
                # Here it counts the words, up to a ! behind a blank; of other cards it reads what it needs.
                words = words[:1] + list(takewhile(lambda word: word[0][0] != "!", words[1:]))
            rows[name].append(
                Row(tuple(w[0] for w in words), tuple((start + w.start(), start + w.end()) for w in words))
            )
        elif read.strip(" ") and not read.startswith("#"):
            raise _error(
                "pw.x takes a line of nothing but tabs for one with content: empty it", name or "cards"
            )
    if "K_POINTS" not in heads:
        check_all_read(rows[""])
    return {
        name: Card(name, unit, tuple(rows[name]), start, end, comments.get(name))
        for name, (unit, start, end) in heads.items()
    }


def check_all_read(rows: Sequence[Row]) -> None:
    """Refuse lines that pw.x passes over in an input without K_POINTS: it would take Γ in their place.

    Raises
    ------
    InputError
    """
    for row in rows:
        if not row.words[0].startswith(("!", "#")):
            raise _error(
                f"there is no card K_POINTS, and pw.x passes over {' '.join(row.words)[:60]!r}; "
                "for the gamma point alone write K_POINTS gamma",
                "K_POINTS",
            )


def needed(cards: Mapping[str, Card], name: str, rows: int) -> Card:
    """Return a card that must have at least so many rows.

    Raises
    ------
    InputError
        It is missing, too short, or interrupted by a comment.
    """
    if name not in cards:
        raise _error(f"the card {name} is missing", name)
    card = cards[name]
    if len(card.rows) < rows:
        raise _error(f"{name} needs {rows} lines and has {len(card.rows)}", name)
    card.check_comment(rows)
    return card


def listed(words: Sequence[str], count: int, card: str, *, whole: bool = False) -> list[float]:
    """Return the first ``count`` numbers of a line that pw.x reads with ``READ(line, *)``, or fewer.

    Blanks or one comma stand between them; ``3*0.5`` is three of them.

    Parameters
    ----------
    whole
        They must be whole numbers.

    Raises
    ------
    InputError
        What stands there is no finite number, or no whole one.
    """
    values: list[float] = []
    for token in fields(words)[:count]:
        value = number(token)
        if value is None or not math.isfinite(value):
            raise _error(f"{card}: {' '.join(words)[:60]!r} holds {token[:20]!r}, no plain number", card)
        if whole and not isinstance(value, int):
            raise _error(f"{card}: {token[:20]!r} is no whole number", card)
        values.append(float(value))
    return values


def fields(words: Sequence[str]) -> list[str]:
    """Return the values, as text, of a line that pw.x reads with ``READ(line, *)``."""
    found: list[str] = []
    for token in _BETWEEN.split(" ".join(words).removesuffix(",")):
        repeated = _REPEATED.match(token)
        found += [repeated[2]] * int(repeated[1]) if repeated else [token]
    return found


def _unit(card: str, rest: str) -> str:
    """Return the unit of a card in lower case, as pw.x finds it in the line behind its name.

    pw.x searches the whole line, comments included: two units are refused.
    """
    word = _WORD.match(rest.replace("=", " ").replace(",", " "))
    first = word[1].lower() if word else ""
    if card not in _UNITS:
        return first
    found = list(dict.fromkeys(_UNITS[card].findall(rest.upper())))
    if len(found) > 1:
        raise _error(
            f"pw.x looks for units in the whole line, comments included, and finds {found[1].lower()!r} "
            f"beside {found[0].lower()!r} behind {card}: remove it",
            card,
        )
    unit = found[0].lower() if found else ""
    if unit in ("crystal", "tpiba") and "K_POINTS" in card and (path := re.search("_[BC]", rest.upper())):
        raise _error(
            f"pw.x finds {path[0]!r} in the line of {card} and takes the k-points for a path: remove it", card
        )
    if unit:
        return unit
    if card == "ATOMIC_POSITIONS" and rest.strip():
        raise _error(f"pw.x knows no unit {rest.strip()[:40]!r} of ATOMIC_POSITIONS", card)
    if near := difflib.get_close_matches(first, ("bohr", "angstrom", "alat"), n=1, cutoff=0.7):
        raise _error(f"{card} {first}: pw.x overlooks this unit; {near[0]}?", card)
    return ""


def _check_first(word: str) -> None:
    """Refuse a line that is meant as a namelist or a card and is none to pw.x, or not to every pw.x."""
    if word.startswith("&"):
        raise _error("namelists come before the cards", word[1:].upper() or "namelists")
    name = re.split(r"[^\w]", word.upper())[0]
    if name == "TOTAL_CHARGE":
        raise _error(
            "only newer versions of pw.x read the card TOTAL_CHARGE: give tot_charge in &SYSTEM", name
        )
    if name in _CARDS:
        raise _error(f"only newer versions of pw.x see {word[:40]!r}: write it in capitals", name)
    if near := _PLAIN.get(_plain(name)):
        raise _error(f"pw.x has no card {word[:40]!r}; {near}?", near)


def _plain(name: str) -> str:
    return name.replace("_", "").rstrip("S")


# KPOINTS, ATOMIC_POSITION, CELLPARAMETERS and the like.
_PLAIN = {_plain(card): card for card in _CARDS}


def _error(message: str, field: str, code: str = "bad_input") -> InputError:
    return InputError(message, code=code, field=field)
