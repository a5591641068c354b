"""Read a ``pw.x`` input as pw.x itself reads it; what cannot be read faithfully is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import f90nml
import numpy as np
from ase.data import atomic_numbers
from ase.units import Bohr
from numpy.typing import NDArray

from zpe_sdk.errors import InputError
from zpe_sdk.espresso.lattice import lattice, parameters

MAX_ATOMS = 10_000
_CARDS = (
    "ATOMIC_SPECIES|ATOMIC_POSITIONS|K_POINTS|ADDITIONAL_K_POINTS|CELL_PARAMETERS|CONSTRAINTS|OCCUPATIONS"
    "|ATOMIC_VELOCITIES|ATOMIC_FORCES|SOLVENTS|HUBBARD"
)
# pw.x knows cards by their names in capitals only.
_CARD = re.compile(rf"^[ \t]*({_CARDS})\b[ \t]*[({{]?[ \t]*([\w+-]*)")
_LABEL = re.compile(r"([A-Za-z]{1,2})(?:\d\w?|[_-]\w*)?$")


@dataclass(frozen=True)
class Species:
    """A species: its label, its mass in u and the file name of its pseudopotential."""

    label: str
    mass: float
    pseudopotential: str


@dataclass(frozen=True)
class KPoints:
    """How the Brillouin zone is sampled; ``mesh`` and ``shift`` are those of ``automatic``, else None."""

    mode: str
    mesh: tuple[int, int, int] | None = None
    shift: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class _Card:
    unit: str
    rows: list[list[str]]


@dataclass(frozen=True)
class PwInput:
    """A pw.x input.

    Attributes
    ----------
    text
        The input as it came.
    namelists
        Namelists and their keys, in lower case.
    labels, symbols
        Species label and chemical symbol of each atom.
    positions
        Cartesian, in Å, shape (nat, 3).
    cell
        Lattice vectors as rows, in Å, shape (3, 3).
    fixed_indices
        Atoms flagged ``0 0 0``.
    partly_fixed
        Atoms with some but not all of their flags 0.
    """

    text: str
    namelists: dict[str, dict[str, Any]]
    species: tuple[Species, ...]
    labels: tuple[str, ...]
    symbols: tuple[str, ...]
    positions: NDArray[np.float64]
    cell: NDArray[np.float64]
    fixed_indices: tuple[int, ...]
    partly_fixed: tuple[int, ...]
    kpoints: KPoints

    @classmethod
    def parse(cls, text: str) -> PwInput:
        """Read an input.

        Raises
        ------
        InputError
            Naming the namelist key or card at fault.
        """
        if not text.strip():
            raise _error("the input is empty", "content", "empty_input")
        if "\0" in text:
            raise _error("this is a binary file, not a pw.x input", "content", "binary_input")
        head, cards = _split(text)
        namelists = _namelists(head)
        system = namelists.get("system", {})
        nat, ntyp = _count(system, "nat"), _count(system, "ntyp")
        if "space_group" in system:
            raise _error("space_group is not supported: give all atoms", "space_group")
        cell = _cell(system, cards)
        species = _species(cards, ntyp)
        labels, positions, flags = _atoms(cards, nat, cell, system)
        known = {s.label for s in species}
        for label in labels:
            if label not in known:
                raise _error(f"the species {label} is not in ATOMIC_SPECIES", "ATOMIC_POSITIONS")
        return cls(
            text=text,
            namelists=namelists,
            species=species,
            labels=labels,
            symbols=tuple(chemical_symbol(label) for label in labels),
            positions=positions,
            cell=cell,
            fixed_indices=tuple(i for i, f in enumerate(flags) if not any(f)),
            partly_fixed=tuple(i for i, f in enumerate(flags) if any(f) and not all(f)),
            kpoints=_kpoints(cards),
        )

    def mobile(self, indices: Sequence[int] | None = None) -> tuple[int, ...]:
        """Return the atoms that vibrate, ascending; by default all that are not fixed.

        Raises
        ------
        InputError
            ``bad_mobile_indices``: none, out of range, twice, fixed, or fixed in part.
        """
        nat = len(self.labels)
        chosen = [i for i in range(nat) if i not in self.fixed_indices] if indices is None else list(indices)
        problems = [
            (not chosen, "no atom is mobile"),
            (any(not 0 <= i < nat for i in chosen), f"indices run from 0 to {nat - 1}, given: {chosen}"),
            (len(set(chosen)) < len(chosen), f"an atom is named twice: {chosen}"),
            (bool(set(chosen) & set(self.fixed_indices)), "an atom with 0 0 0 flags is fixed, not mobile"),
            (
                bool(set(chosen) & set(self.partly_fixed)),
                "a mobile atom is fixed in part; only 0 0 0 and 1 1 1 flags can be carried out",
            ),
        ]
        for wrong, message in problems:
            if wrong:
                raise _error(message, "mobile_indices", "bad_mobile_indices")
        return tuple(sorted(chosen))


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


def _error(message: str, field: str, code: str = "bad_input") -> InputError:
    return InputError(message, code=code, field=field)


def _split(text: str) -> tuple[str, dict[str, _Card]]:
    """Split an input into its namelists and its cards (name -> unit and rows)."""
    head: list[str] = []
    cards: dict[str, _Card] = {}
    rows: list[list[str]] | None = None
    for line in text.splitlines():
        if match := _CARD.match(line):
            name, rows = match[1], []
            if name in cards:
                raise _error(f"the card {name} is there twice", name)
            cards[name] = _Card(match[2].lower(), rows)
        elif rows is None:
            head.append(line)
        # To pw.x a comment in a card is a line that begins with its sign; anywhere else it is content.
        elif not line.startswith(("!", "#")) and (fields := line.split()):
            if fields[0].startswith("&"):
                raise _error("namelists come before the cards", fields[0])
            rows.append(fields)
    return "\n".join(head) + "\n", cards


def _namelists(head: str) -> dict[str, dict[str, Any]]:
    try:
        parsed = f90nml.Parser().reads(head)
    # f90nml reports bad syntax by whatever its tokenizer runs into.
    except (ValueError, AssertionError, StopIteration, IndexError, KeyError, TypeError) as error:
        raise _error(f"the namelists cannot be read: {error}", "namelists") from error
    found: dict[str, dict[str, Any]] = {}
    for name, group in parsed.items():
        if not isinstance(group, f90nml.Namelist):
            raise _error(f"the namelist {name} is there twice", name)
        found[name.lower()] = {
            k: [None] * (_first_index(group, k) - 1) + v if isinstance(v, list) else v
            for k, v in group.items()
        }
    return found


def _first_index(group: Any, name: str) -> int:
    start = group.start_index.get(name)
    return int(start[0]) if start and start[0] is not None else 1


def _count(system: dict[str, Any], name: str) -> int:
    value = system.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= MAX_ATOMS:
        raise _error(f"&SYSTEM needs {name}, a number from 1 to {MAX_ATOMS}", name)
    return value


def _card(cards: dict[str, _Card], name: str, rows: int) -> _Card:
    if name not in cards:
        raise _error(f"the card {name} is missing", name)
    if len(cards[name].rows) < rows:
        raise _error(f"{name} needs {rows} lines and has {len(cards[name].rows)}", name)
    return cards[name]


def _numbers(fields: Sequence[str], name: str) -> list[float]:
    try:
        values = [float(x.lower().replace("d", "e")) for x in fields]
    except ValueError:
        raise _error(f"{name}: {' '.join(fields)!r} are not plain numbers", name) from None
    if len(values) < 3 or not np.all(np.isfinite(values)):
        raise _error(f"{name}: {' '.join(fields)!r} are not three finite numbers", name)
    return values


def _cell(system: dict[str, Any], cards: dict[str, _Card]) -> NDArray[np.float64]:
    if system.get("ibrav") != 0:
        return lattice(system)
    card = _card(cards, "CELL_PARAMETERS", 3)
    rows = np.array([_numbers(row[:3], "CELL_PARAMETERS") for row in card.rows[:3]])
    scaled = any(system.get(name) for name in ("celldm", "a"))
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
    if abs(np.linalg.det(cell)) < 1e-6:
        raise _error("the cell has no volume", "CELL_PARAMETERS")
    return cell


def _species(cards: dict[str, _Card], ntyp: int) -> tuple[Species, ...]:
    found = []
    for row in _card(cards, "ATOMIC_SPECIES", ntyp).rows[:ntyp]:
        if len(row) < 3:
            raise _error(f"{' '.join(row)!r} is not: label, mass, pseudopotential", "ATOMIC_SPECIES")
        if "/" in row[2] or "\\" in row[2] or ".." in row[2]:
            raise _error(f"the pseudopotential {row[2]!r} is a path, not a file's name", "ATOMIC_SPECIES")
        chemical_symbol(row[0])
        mass = _numbers([row[1]] * 3, "ATOMIC_SPECIES")[0]
        found.append(Species(row[0], mass, row[2]))
    return tuple(found)


def _atoms(
    cards: dict[str, _Card], nat: int, cell: NDArray[np.float64], system: dict[str, Any]
) -> tuple[tuple[str, ...], NDArray[np.float64], list[tuple[bool, ...]]]:
    card = _card(cards, "ATOMIC_POSITIONS", nat)
    labels, values, flags = [], [], []
    for row in card.rows[:nat]:
        if len(row) not in (4, 7) or (len(row) == 7 and not set(row[4:]) <= {"0", "1"}):
            raise _error(f"{' '.join(row)!r} is not: label x y z [three flags]", "ATOMIC_POSITIONS")
        labels.append(row[0])
        values.append(_numbers(row[1:4], "ATOMIC_POSITIONS"))
        flags.append(tuple(flag == "1" for flag in row[4:]) or (True, True, True))
    raw = np.array(values)
    match card.unit:
        case "angstrom":
            positions = raw
        case "bohr":
            positions = raw * Bohr
        case "crystal":
            positions = raw @ cell
        case "alat" | "":
            scaled = any(system.get(name) for name in ("celldm", "a"))
            # With no lattice parameter, pw.x takes the length of the first vector.
            positions = raw * (parameters(system)[0] if scaled else float(np.linalg.norm(cell[0])))
        case _:
            raise _error(f"positions in {card.unit!r} are not supported", "ATOMIC_POSITIONS")
    return tuple(labels), positions, flags


def _kpoints(cards: dict[str, _Card]) -> KPoints:
    if "K_POINTS" not in cards:
        raise _error("the card K_POINTS is missing", "K_POINTS")
    card = cards["K_POINTS"]
    mode = card.unit or "tpiba"
    if mode == "gamma":
        return KPoints("gamma")
    if mode in ("tpiba", "crystal"):
        return KPoints(mode)
    if mode != "automatic":
        raise _error(f"K_POINTS {mode} does not sample the zone for an SCF", "K_POINTS")
    numbers = card.rows[0][:6] if card.rows else []
    if len(numbers) != 6 or not all(re.fullmatch(r"\d{1,4}", x) for x in numbers):
        raise _error("K_POINTS automatic needs six whole numbers", "K_POINTS")
    k1, k2, k3, s1, s2, s3 = (int(x) for x in numbers)
    if not (k1 and k2 and k3) or max(s1, s2, s3) > 1:
        raise _error("K_POINTS automatic needs a mesh above 0 and shifts of 0 or 1", "K_POINTS")
    return KPoints("automatic", (k1, k2, k3), (s1, s2, s3))
