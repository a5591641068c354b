"""Fortran namelists with the place of each assignment in the text, so that one can be changed alone.

pw.x's compiler reads them; what it accepts and we could take for something else is refused here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from zpe_sdk.errors import InputError

Value = bool | int | float | str | None
# (start, end, new text): what to put in place of text[start:end].
Edit = tuple[int, int, str]

# The namelists that an SCF reads. The others are cut out of a task's input: what they hold does not matter.
SCF_GROUPS = ("control", "system", "electrons")
# pw.x reads these for other calculations only. They are cut out of an SCF; nobody looks at what they hold.
CUT_GROUPS = ("ions", "cell", "fcp", "rism")
# No array of pw.x's namelists is larger: a larger subscript or repetition is a slip, or meant to do harm.
MAX_ELEMENTS = 2000
MAX_LENGTH = 100_000  # characters of one namelist

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
      | (?P<comment>![^\n]*)
      | (?P<string>'(?:[^'\n]|'')*'|"(?:[^"\n]|"")*")
      | (?P<comma>,)
      | (?P<end>/|[&$][eE][nN][dD]\b)
      | (?P<target>([A-Za-z]\w*)[ \t]*(?:\(([^()\n]*)\)[ \t]*)?=)
      | (?P<word>[^\s,'"/!=&$();]+)""",
    re.X | re.A,
)
_OPENING = re.compile(r"[ \t]*[&$]([A-Za-z]\w*)", re.A)
_NUMBER = re.compile(r"[+-]?(?:\d+(?P<point>\.\d*)?|(?P<dot>\.\d+))(?P<exponent>[eEdD][+-]?\d+)?$", re.A)
_LOGICAL = re.compile(r"\.?(t|f|true|false)\.?$", re.I | re.A)


@dataclass(frozen=True)
class Assignment:
    """``name(index) = values``; ``text[start:end]`` is all of it, ``text[value_start:end]`` its values."""

    name: str
    index: tuple[int, ...]
    values: tuple[Value, ...]
    start: int
    value_start: int
    end: int


@dataclass(frozen=True)
class Group:
    """A namelist: ``text[start:end]`` from its sign to its ``/``; ``body`` is where its name ends."""

    name: str
    assignments: tuple[Assignment, ...]
    start: int
    body: int
    end: int

    def values(self) -> dict[str, Value | list[Value]]:
        """Return the keys in lower case with their values; the last assignment holds, as in Fortran.

        Elements of a vector come as a list from index 1, None where absent; elements of arrays with more
        dimensions as keys of their own, such as ``hubbard_v(1,2,1)``.
        """
        found: dict[str, Value | list[Value]] = {}
        for a in self.assignments:
            key = a.name if len(a.index) < 2 else f"{a.name}({','.join(map(str, a.index))})"
            if all(value is None for value in a.values):
                continue
            if len(a.values) == 1 and len(a.index) != 1:
                found[key] = a.values[0]
                continue
            old = found.get(key)
            elements = list(old) if isinstance(old, list) else [] if old is None else [old]
            first = a.index[0] - 1 if len(a.index) == 1 else 0
            elements += [None] * (first + len(a.values) - len(elements))
            for n, value in enumerate(a.values, start=first):
                if value is not None:  # a null value leaves what is there
                    elements[n] = value
            found[key] = elements
        return found


def number(text: str) -> int | float | None:
    """Return the number that a Fortran literal stands for, or None if it is none."""
    match = _NUMBER.match(text)
    if match is None or len(text) > 100:
        return None
    if match["point"] is None and match["dot"] is None and match["exponent"] is None:
        return int(text)
    return float(re.sub("[dD]", "e", text))


def literal(value: object) -> str:
    """Return a value as Fortran writes it."""
    if isinstance(value, bool):
        return ".true." if value else ".false."
    if isinstance(value, int | float):
        return repr(value)
    return "'" + str(value).replace("'", "''") + "'"


def read_groups(text: str) -> tuple[dict[str, Group], int]:
    """Read the namelists at the head of a text.

    Returns
    -------
    groups
        Name in lower case -> namelist, in the order of the text.
    int
        Where the first line after them begins that is neither blank nor a comment.

    Raises
    ------
    InputError
        The namelists cannot be read, or not in one way only.
    """
    groups: dict[str, Group] = {}
    stray = ""
    position = 0
    while position < len(text):
        newline = text.find("\n", position)
        following = len(text) if newline < 0 else newline + 1
        line = text[position:following]
        if opening := _OPENING.match(text, position):
            if stray:
                raise _error(
                    f"{stray[:40]!r} before the first namelist is no comment: begin it with !", "namelists"
                )
            group = _read_group(text, opening)
            if group.name in groups:
                raise _error(f"the namelist &{group.name.upper()} is there twice", group.name.upper())
            groups[group.name] = group
            newline = text.find("\n", group.end)
            following = len(text) if newline < 0 else newline + 1
            rest = text[group.end : following].strip()
            # To Fortran the rest of this line does not exist.
            if rest and not rest.startswith("!"):
                raise _error(
                    f"{rest[:40]!r} stands behind the end of &{group.name.upper()}: an unquoted '/'?",
                    group.name.upper(),
                )
        # Fortran looks for the sign of a namelist anywhere but behind a !; a # is no comment to it.
        elif line.strip() and not re.match(r"[ \t]*(!|#[^&$]*$)", line):
            if groups:
                break
            if re.search(r"[&$]|^\s*<", line):  # pw.x takes what begins with < for XML
                stray = stray or line.strip()
        position = following
    return groups, position if groups else 0


def set_keys(text: str, group: Group, keys: Mapping[str, object]) -> list[Edit]:
    """Return the edits that give each key its value; None takes the key out of the namelist.

    A key that is there once is changed in its place; new ones become the first lines of the namelist.
    """
    edits: list[Edit] = []
    new: dict[str, object] = {}
    for name, value in keys.items():
        there = [a for a in group.assignments if a.name == name]
        if value is not None and len(there) == 1 and not there[0].index and there[0].values:
            edits.append((there[0].value_start, there[0].end, literal(value)))
            continue
        edits += [_removal(text, a) for a in there]
        if value is not None:
            new[name] = value
    if new:
        newline = line_end(text)
        lines = "".join(f"  {name} = {literal(value)}{newline}" for name, value in new.items())
        rest = re.compile(r"[ \t\r]*(?:!.*)?\n").match(text, group.body)
        edits.append((rest.end(),) * 2 + (lines,) if rest else (group.body,) * 2 + (newline + lines,))
    return edits


def apply(text: str, edits: Iterable[Edit]) -> str:
    """Return the text with edits made, none of which overlaps another."""
    pieces, position = [], 0
    for start, end, new in sorted(edits, key=lambda edit: edit[:2]):
        pieces += [text[position:start], new]
        position = end
    return "".join(pieces) + text[position:]


def line_end(text: str) -> str:
    """Return how the text ends its lines."""
    return "\r\n" if "\r\n" in text else "\n"


def _read_group(text: str, opening: re.Match[str]) -> Group:
    name = opening[1].lower()
    field = opening[1].upper()
    assignments: list[Assignment] = []
    target: re.Match[str] | None = None
    values: list[Value] = []
    value_start = end = total = 0
    after_comma = True  # a comma after a comma, or straight after the sign of equality, is a null value

    def close() -> None:
        if target is not None:
            assignments.append(
                Assignment(
                    target[7].lower(),
                    _index(target[8], target[7]),
                    tuple(values),
                    target.start(),
                    value_start if values else target.end(),
                    end if values else target.end(),
                )
            )

    position = opening.end()
    while token := _TOKEN.match(text, position):
        position = token.end()
        if position - opening.start() > MAX_LENGTH:
            raise _error(f"&{field} has more than {MAX_LENGTH} characters", field)
        match token.lastgroup:
            case "end":
                close()
                start = text.index(text[opening.start() : opening.end()].lstrip(" \t"), opening.start())
                return Group(name, tuple(assignments), start, opening.end(), position)
            case "target":
                close()
                target, values, after_comma = token, [], True
            case "comma" if target is not None:
                if after_comma:
                    values.append(None)
                    value_start, end = (value_start if len(values) > 1 else token.start()), token.start()
                after_comma = True
            case "string" | "word" if target is not None:
                if not values:
                    value_start = token.start()
                read = [token[0]] if name in CUT_GROUPS else _values(token, target[7])
                values += read
                total += len(read)
                end, after_comma = token.end(), False
                if len(values) > MAX_ELEMENTS or total > MAX_LENGTH:
                    raise _error(f"{target[7]} has more than {MAX_ELEMENTS} values", target[7].lower())
            case "space" | "comment":
                pass
            case _:
                raise _error(f"&{field}: {token[0][:40]!r} belongs to no key", field)
    if position < len(text):
        raise _error(f"&{field} cannot be read from {text[position:].splitlines()[0][:40]!r} on", field)
    raise _error(f"&{field} does not end: it needs a line with '/'", field)


def _values(token: re.Match[str], name: str) -> list[Value]:
    word = token[0]
    if token.lastgroup == "string":
        return [word[1:-1].replace(word[0] * 2, word[0]).rstrip(" ")]
    count, star, rest = word.partition("*")
    if star:
        if not re.fullmatch(r"[0-9]{1,6}", count) or not 0 < int(count) <= MAX_ELEMENTS or not rest:
            raise _error(f"{name}: the repetition {word[:40]!r} is not understood", name.lower())
        return [_value(rest, name)] * int(count)
    return [_value(word, name)]


def _value(word: str, name: str) -> Value:
    if logical := _LOGICAL.match(word):
        return logical[1][0] in "tT"
    found = number(word)
    if found is None:
        raise _error(f"{name}: {word[:40]!r} is no number, and text needs quotes", name.lower())
    return found


def _index(text: str | None, name: str) -> tuple[int, ...]:
    if text is None:
        return ()
    index = []
    for part in text.split(","):
        first = part.split(":")[0].strip()
        if not re.fullmatch(r"[0-9]{1,6}", first) or not 0 < int(first) <= MAX_ELEMENTS:
            raise _error(f"the subscript of {name}({text[:40]}) is not understood", name.lower())
        index.append(int(first))
    return tuple(index)


def _removal(text: str, assignment: Assignment) -> Edit:
    start = assignment.start
    end = re.compile(r"[ \t]*,?[ \t]*").match(text, assignment.end).end()  # type: ignore[union-attr]
    line = text.rfind("\n", 0, start) + 1
    rest = re.compile(r"\r?\n").match(text, end)
    if rest and not text[line:start].strip():
        return line, rest.end(), ""
    return start, end, ""


def _error(message: str, field: str) -> InputError:
    return InputError(message, code="bad_input", field=field)
