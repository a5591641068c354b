"""The cards of a pw.x input: species, cell, positions, k-points, as pw.x itself reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from ase.units import Bohr
from numpy.typing import NDArray

from zpe_sdk.errors import InputError
from zpe_sdk.espresso.lattice import lattice, parameters
from zpe_sdk.espresso.namelist import number

MAX_MESH = 100_000  # points of a k-point mesh, or of a list
_NAMES = (
    "ATOMIC_SPECIES|ATOMIC_POSITIONS|K_POINTS|ADDITIONAL_K_POINTS|CELL_PARAMETERS|CONSTRAINTS|OCCUPATIONS"
    "|ATOMIC_VELOCITIES|ATOMIC_FORCES|SOLVENTS|HUBBARD|TOTAL_CHARGE"
)
# pw.x knows cards by their names in capitals only, and only as a word of its own.
_CARD = re.compile(rf"[ \t]*({_NAMES})(?=\s|$)[ \t]*[({{]?[ \t]*([\w+-]*)", re.A)
_GLUED = re.compile(rf"[ \t]*({_NAMES})[({{]", re.A)
# What pw.x looks for anywhere in the line of a card, comments included.
_UNITS = {
    "ATOMIC_POSITIONS": re.compile("ALAT|BOHR|CRYSTAL|ANGSTROM", re.I),
    "CELL_PARAMETERS": re.compile("ALAT|BOHR|ANGSTROM", re.I),
    "K_POINTS": re.compile("AUTOMATIC|CRYSTAL|TPIBA|GAMMA", re.I),
}
_FIELD = re.compile(r"[^ \t\r\n]+")
_LABEL = re.compile(r"([A-Za-z]{1,2})(?:\d\w?|[_-]\w*)?$", re.A)


@dataclass(frozen=True)
class Species:
    """A species: its label, its mass in u and the file name of its pseudopotential."""

    label: str
    mass: float
    pseudopotential: str


@dataclass(frozen=True)
class KPoints:
    """How the Brillouin zone is sampled.

    ``mesh`` and ``shift`` are those of ``automatic``, else None; ``points`` and ``weights`` those of a list,
    in the card's unit.
    """

    mode: str
    mesh: tuple[int, int, int] | None = None
    shift: tuple[int, int, int] | None = None
    points: tuple[tuple[float, float, float], ...] | None = None
    weights: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Row:
    """A line of a card: its words, and where they begin and end in the text."""

    words: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Card:
    """A card: the unit behind its name in lower case, its lines, and where its first line begins and ends."""

    unit: str
    rows: tuple[Row, ...]
    start: int
    end: int


def read_cards(text: str, position: int) -> dict[str, Card]:
    """Read the cards of a text from a position on: name -> card.

    Raises
    ------
    InputError
        A card is there twice, is spelt as pw.x does not see it, or a namelist follows.
    """
    found: dict[str, tuple[str, list[Row], int, int]] = {}
    rows: list[Row] = []
    name = ""
    for line in text[position:].splitlines(keepends=True):
        start, position = position, position + len(line)
        if match := _CARD.match(line):
            name, rows = match[1], []
            if name in found:
                raise _error(f"the card {name} is there twice", name)
            _check_units(name, match[2].lower(), line[match.end() :])
            found[name] = (match[2].lower(), rows, start, start + len(line.rstrip("\r\n")))
        elif match := _GLUED.match(line):
            raise _error(f"pw.x overlooks {line.strip()[:40]!r}: put a space behind {match[1]}", match[1])
        # To pw.x a comment in a card is a line that begins with its sign.
        elif not line.startswith(("!", "#")) and (words := list(_FIELD.finditer(line))):
            if words[0][0].startswith("&"):
                raise _error("namelists come before the cards", words[0][0][1:].upper() or "namelists")
            if name == "ATOMIC_POSITIONS":
                # Here it counts the words, up to a ! behind a blank; of other cards it reads what it needs.
                words = words[:1] + list(takewhile(lambda word: word[0][0] != "!", words[1:]))
            rows.append(
                Row(tuple(w[0] for w in words), tuple((start + w.start(), start + w.end()) for w in words))
            )
    return {name: Card(unit, tuple(rows), start, end) for name, (unit, rows, start, end) in found.items()}


def _check_units(card: str, unit: str, rest: str) -> None:
    """Refuse a line whose end, such as a comment, makes pw.x take another unit than stands there."""
    for found in _UNITS[card].findall(rest) if card in _UNITS else ():
        if found.lower() != unit:
            raise _error(
                f"pw.x looks for units in the whole line, comments included, and finds {found!r} behind "
                f"{f'{card} {unit}'.strip()!r}: remove it",
                card,
            )


def chemical_symbol(label: str) -> str:
    """Return the element of a species label such as ``Fe1``, ``C_h`` or ``H-x``.

    Raises
    ------
    InputError
        ``unknown_element``.
    """
    match = _LABEL.match(label)
    symbol = match[1].capitalize() if match else ""
    if symbol not in atomic_numbers or symbol == "X":
        raise _error(f"{label!r} names no chemical element", "ATOMIC_SPECIES", "unknown_element")
    return symbol


def read_cell(system: Mapping[str, Any], cards: Mapping[str, Card]) -> NDArray[np.float64]:
    """Return the lattice vectors as rows in Å, shape (3, 3)."""
    if system.get("ibrav") != 0:
        return lattice(system)
    card = _card(cards, "CELL_PARAMETERS", 3)
    rows = np.array([_numbers(row.words[:3], "CELL_PARAMETERS") for row in card.rows[:3]])
    scaled = _has_alat(system)
    if card.unit in ("bohr", "angstrom") and scaled:
        raise _error("give the cell's unit in CELL_PARAMETERS or celldm/A, not both", "CELL_PARAMETERS")
    match card.unit:
        case "angstrom":
            cell = rows
        case "bohr":
            cell = rows * Bohr
        case "alat" | "" if scaled:
            cell = rows * parameters(system)[0]
        case "":
            cell = rows * Bohr
        case _:
            raise _error(f"the unit {card.unit!r} of CELL_PARAMETERS cannot be used here", "CELL_PARAMETERS")
    if not abs(np.linalg.det(cell)) > 1e-6:
        raise _error("the cell has no volume", "CELL_PARAMETERS")
    return cell


def read_species(cards: Mapping[str, Card], ntyp: int) -> tuple[Species, ...]:
    """Return the first ``ntyp`` species: pw.x reads no more."""
    found: list[Species] = []
    for row in _card(cards, "ATOMIC_SPECIES", ntyp).rows[:ntyp]:
        if len(row.words) < 3:
            raise _error(f"{' '.join(row.words)!r} is not: label, mass, pseudopotential", "ATOMIC_SPECIES")
        label, mass, pseudopotential = row.words[:3]
        if not re.fullmatch(r"[\w.+=@,~-]{1,200}", pseudopotential) or pseudopotential.startswith((".", "-")):
            raise _error(f"the pseudopotential {pseudopotential!r} is not a file's name", "ATOMIC_SPECIES")
        if label in {species.label for species in found}:
            raise _error(f"the species {label} is there twice", "ATOMIC_SPECIES")
        chemical_symbol(label)
        found.append(Species(label, _numbers([mass] * 3, "ATOMIC_SPECIES")[0], pseudopotential))
    return tuple(found)


def read_atoms(
    cards: Mapping[str, Card], nat: int, alat: float, cell: NDArray[np.float64]
) -> tuple[tuple[str, ...], NDArray[np.float64], list[tuple[bool, ...]]]:
    """Return labels, Cartesian positions in Å and three flags each of the first ``nat`` atoms."""
    card = _card(cards, "ATOMIC_POSITIONS", nat)
    labels, values, flags = [], [], []
    for row in card.rows[:nat]:
        words = row.words
        if len(words) not in (4, 7) or (len(words) == 7 and not set(words[4:]) <= {"0", "1"}):
            raise _error(f"{' '.join(words)!r} is not: label x y z [three flags]", "ATOMIC_POSITIONS")
        labels.append(words[0])
        values.append(_numbers(words[1:4], "ATOMIC_POSITIONS"))
        flags.append(tuple(flag == "1" for flag in words[4:]) or (True, True, True))
    return tuple(labels), np.array(values) @ position_unit(card.unit, alat, cell), flags


def position_unit(unit: str, alat: float, cell: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the three vectors in Å, shape (3, 3), of which ATOMIC_POSITIONS gives the multiples."""
    match unit:
        case "angstrom":
            return np.eye(3)
        case "bohr":
            return np.eye(3) * float(Bohr)
        case "crystal":
            return cell
        case "alat" | "":
            return np.eye(3) * alat
    raise _error(f"positions in {unit!r} are not supported", "ATOMIC_POSITIONS")


def lattice_parameter(system: Mapping[str, Any], cell: NDArray[np.float64]) -> float:
    """Return pw.x's ``alat`` in Å; with no lattice parameter, it takes the length of the first vector."""
    return parameters(system)[0] if _has_alat(system) else float(np.linalg.norm(cell[0]))


def read_kpoints(cards: Mapping[str, Card]) -> KPoints:
    """Return the k-points.

    Raises
    ------
    InputError
        There are none, they are spelt as pw.x does not read them, or they make a band structure.
    """
    if "K_POINTS" not in cards:
        raise _error("the card K_POINTS is missing", "K_POINTS")
    card = cards["K_POINTS"]
    mode = card.unit or "tpiba"
    if mode == "gamma":
        return KPoints("gamma")
    if mode in ("tpiba", "crystal"):
        return _list(mode, card)
    if mode != "automatic":
        raise _error(f"K_POINTS {mode} does not sample the zone for an SCF", "K_POINTS")
    numbers = card.rows[0].words[:6] if card.rows else ()
    if len(numbers) != 6 or not all(re.fullmatch(r"[0-9]{1,4}", x) for x in numbers):
        raise _error("K_POINTS automatic needs six whole numbers", "K_POINTS")
    k1, k2, k3, s1, s2, s3 = (int(x) for x in numbers)
    if not 0 < k1 * k2 * k3 <= MAX_MESH or max(s1, s2, s3) > 1:
        raise _error(
            f"K_POINTS automatic needs a mesh of 1 to {MAX_MESH} points and shifts of 0 or 1", "K_POINTS"
        )
    return KPoints("automatic", (k1, k2, k3), (s1, s2, s3))


def _list(mode: str, card: Card) -> KPoints:
    first = card.rows[0].words[0] if card.rows else ""
    count = int(first) if re.fullmatch(r"[0-9]{1,6}", first) else 0
    if not 0 < count <= MAX_MESH or len(card.rows) < count + 1:
        raise _error(f"K_POINTS {mode} needs their number, and a line for each", "K_POINTS")
    values = [_numbers(row.words[:4], "K_POINTS") for row in card.rows[1 : count + 1]]
    if any(len(row) < 4 for row in values):
        raise _error(f"K_POINTS {mode} needs three coordinates and a weight in each line", "K_POINTS")
    weights = tuple(row[3] for row in values)
    if min(weights) < 0 or not sum(weights) > 0:
        raise _error("the weights of K_POINTS must be positive", "K_POINTS")
    return KPoints(mode, points=tuple((x, y, z) for x, y, z, _ in values), weights=weights)


def _has_alat(system: Mapping[str, Any]) -> bool:
    return any(system.get(name) for name in ("celldm", "a"))


def _card(cards: Mapping[str, Card], name: str, rows: int) -> Card:
    if name not in cards:
        raise _error(f"the card {name} is missing", name)
    if len(cards[name].rows) < rows:
        raise _error(f"{name} needs {rows} lines and has {len(cards[name].rows)}", name)
    return cards[name]


def _numbers(words: Sequence[str], name: str) -> list[float]:
    values = [float(x) for word in words if (x := number(word)) is not None]
    if len(values) < len(words):
        raise _error(f"{name}: {' '.join(words)!r} are not plain numbers", name)
    if len(values) < 3 or not np.all(np.isfinite(values)):
        raise _error(f"{name}: {' '.join(words)!r} are not three finite numbers", name)
    return values


def _error(message: str, field: str, code: str = "bad_input") -> InputError:
    return InputError(message, code=code, field=field)
