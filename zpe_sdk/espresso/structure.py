"""The structure of a pw.x input: its species, cell and atoms."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.units import Bohr
from numpy.typing import NDArray

from zpe_sdk.errors import InputError
from zpe_sdk.espresso.cards import Card, Row, fields, listed, needed
from zpe_sdk.espresso.elements import element_of
from zpe_sdk.espresso.expressions import evaluate
from zpe_sdk.espresso.lattice import lattice, parameters
from zpe_sdk.espresso.namelist import number

# How many characters of a label pw.x keeps, before version 7.3 and since.
LABEL, LONG_LABEL = 3, 6
MAX_LENGTH = 1e5  # Å, of a lattice vector or a position


@dataclass(frozen=True)
class Species:
    """A species: its label, its mass in u, the file name of its pseudopotential and its element."""

    label: str
    mass: float
    pseudopotential: str
    symbol: str


def read_cell(system: Mapping[str, Any], cards: Mapping[str, Card]) -> NDArray[np.float64]:
    """Return the lattice vectors as rows in Å, shape (3, 3)."""
    if system.get("ibrav") != 0:
        if "CELL_PARAMETERS" in cards:
            raise _error(
                f"ibrav = {system.get('ibrav')} already says the cell: give ibrav = 0, or no CELL_PARAMETERS",
                "CELL_PARAMETERS",
            )
        cell = lattice(system)
    else:
        cell = _given_cell(system, needed(cards, "CELL_PARAMETERS", 3))
    field = "CELL_PARAMETERS" if "CELL_PARAMETERS" in cards else "celldm(1)"
    if not np.abs(cell).max() < MAX_LENGTH:
        raise _error(f"the cell is larger than {MAX_LENGTH:g} Å", field, "out_of_bounds")
    if not abs(np.linalg.det(cell)) > 1e-6:
        raise _error("the cell has no volume", field)
    return cell


def _given_cell(system: Mapping[str, Any], card: Card) -> NDArray[np.float64]:
    values = [listed(row.words, 3, "CELL_PARAMETERS") for row in card.rows[:3]]
    if any(len(row) < 3 for row in values):
        raise _error("CELL_PARAMETERS needs three numbers in each of three lines", "CELL_PARAMETERS")
    rows = np.array(values, dtype=float)
    scaled = _has_alat(system)
    if card.unit in ("bohr", "angstrom") and scaled:
        raise _error("give the cell's unit in CELL_PARAMETERS or celldm/A, not both", "CELL_PARAMETERS")
    match card.unit:
        case "angstrom":
            return rows
        case "bohr":
            return rows * float(Bohr)
        case "alat" | "" if scaled:
            return rows * parameters(system)[0]
        case "":
            return rows * float(Bohr)
    raise _error(f"CELL_PARAMETERS {card.unit} needs celldm(1) or A", "CELL_PARAMETERS")


def read_species(cards: Mapping[str, Card], ntyp: int) -> tuple[Species, ...]:
    """Return the first ``ntyp`` species: pw.x reads no more."""
    found: list[Species] = []
    for row in needed(cards, "ATOMIC_SPECIES", ntyp).rows[:ntyp]:
        values = [re.sub(r"""^(['"])(.*)\1$""", r"\2", value) for value in fields(row.words)[:3]]
        if len(values) < 3 or number(values[1]) is None:
            raise _error(f"{' '.join(row.words)!r} is not: label, mass, pseudopotential", "ATOMIC_SPECIES")
        label, mass, pseudopotential = values[0], listed(values[1:2], 1, "ATOMIC_SPECIES")[0], values[2]
        if not re.fullmatch(r"[\w.+=@,~-]{1,200}", pseudopotential) or pseudopotential.startswith((".", "-")):
            raise _error(f"the pseudopotential {pseudopotential!r} is not a file's name", "ATOMIC_SPECIES")
        _check_label(label, [species.label for species in found])
        found.append(Species(label, float(mass), pseudopotential, element_of(label, mass, pseudopotential)))
    return tuple(found)


def _check_label(label: str, others: Sequence[str]) -> None:
    """Refuse a label that pw.x takes for another one, because it keeps only so much of it."""
    if not re.fullmatch(r"[A-Za-z][\w+.^*-]*", label, re.A):
        raise _error(f"{label[:40]!r} is not the label of a species: begin with a symbol", "ATOMIC_SPECIES")
    if len(label) > LONG_LABEL:
        raise _error(f"pw.x keeps {LONG_LABEL} characters of the label {label[:40]!r}", "ATOMIC_SPECIES")
    if label in others:
        raise _error(f"the species {label} is there twice", "ATOMIC_SPECIES")
    if same := [other for other in others if other[:LABEL] == label[:LABEL]]:
        raise _error(
            f"pw.x before 7.3 keeps {LABEL} characters of a label: to it {same[0]} and {label} are the same",
            "ATOMIC_SPECIES",
        )


def read_atoms(
    cards: Mapping[str, Card], nat: int, alat: float, cell: NDArray[np.float64]
) -> tuple[tuple[str, ...], NDArray[np.float64], list[tuple[bool, ...]]]:
    """Return labels, Cartesian positions in Å and three flags (free or not) of the first ``nat`` atoms."""
    card = needed(cards, "ATOMIC_POSITIONS", nat)
    unit = position_unit(card.unit, alat, cell)
    labels, values, flags = [], [], []
    for row in card.rows[:nat]:
        words = row.words
        if len(words) not in (4, 7) or not all(re.fullmatch("[+-]?[0-9]{1,4}", flag) for flag in words[4:]):
            raise _error(f"{' '.join(words)!r} is not: label x y z [three flags]", "ATOMIC_POSITIONS")
        labels.append(words[0])
        values.append(multiples(row))
        flags.append(tuple(int(flag) != 0 for flag in words[4:]) or (True, True, True))
    with np.errstate(over="ignore", invalid="ignore"):
        positions = np.array(values) @ unit
    if not np.all(np.abs(positions) < MAX_LENGTH):
        raise _error(f"an atom is farther than {MAX_LENGTH:g} Å away", "ATOMIC_POSITIONS", "out_of_bounds")
    return tuple(labels), positions, flags


def multiples(row: Row) -> list[float]:
    """Return the three coordinates in a line of ATOMIC_POSITIONS, in the card's unit.

    Raises
    ------
    InputError
        One of them is neither a number nor an expression that pw.x reads.
    """
    found = []
    for word in row.words[1:4]:
        value = evaluate(word)
        if value is None:
            raise _error(f"ATOMIC_POSITIONS: pw.x makes no number of {word[:60]!r}", "ATOMIC_POSITIONS")
        found.append(value)
    return found


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


def _has_alat(system: Mapping[str, Any]) -> bool:
    return any(system.get(name) for name in ("celldm", "a"))


def _error(message: str, field: str, code: str = "bad_input") -> InputError:
    return InputError(message, code=code, field=field)
