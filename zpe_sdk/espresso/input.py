"""Read a ``pw.x`` input as pw.x itself reads it; what cannot be read faithfully is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from ase.formula import Formula
from numpy.typing import NDArray

from zpe_sdk.errors import InputError
from zpe_sdk.espresso.cards import Card, check_all_read, read_cards
from zpe_sdk.espresso.kpoints import KPoints, read_kpoints
from zpe_sdk.espresso.limits import check_namelists, check_supported
from zpe_sdk.espresso.namelist import Group, read_groups
from zpe_sdk.espresso.structure import Species, lattice_parameter, read_atoms, read_cell, read_species
from zpe_sdk.espresso.text import check_text

__all__ = ["KPoints", "PwInput", "Species"]

MAX_CHARACTERS = 4_000_000


@dataclass(frozen=True, eq=False)
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
    alat
        pw.x's lattice parameter in Å, the unit of ``K_POINTS tpiba``.
    free
        Which Cartesian components of each atom its flags leave free to move, shape (nat, 3).
    fixed_indices
        Atoms flagged ``0 0 0``.
    partly_fixed
        Atoms with some but not all of their flags 0.
    groups, cards
        Namelists and cards with their places in ``text``.
    """

    text: str
    namelists: dict[str, dict[str, Any]]
    species: tuple[Species, ...]
    labels: tuple[str, ...]
    symbols: tuple[str, ...]
    positions: NDArray[np.float64]
    cell: NDArray[np.float64]
    alat: float
    free: NDArray[np.bool_]
    fixed_indices: tuple[int, ...]
    partly_fixed: tuple[int, ...]
    kpoints: KPoints
    groups: Mapping[str, Group] = field(repr=False)
    cards: Mapping[str, Card] = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> PwInput:
        """Read an input of which SCFs with displaced atoms can be run.

        Raises
        ------
        InputError
            Naming the namelist key or card at fault.
        """
        found = cls.read(text)
        check_supported(found.namelists)
        if found.kpoints.is_path:
            raise _error(f"K_POINTS {found.kpoints.mode} does not sample the zone for an SCF", "K_POINTS")
        return found

    @classmethod
    def read(cls, text: str) -> PwInput:
        """Read any input that pw.x reads, whatever it asks for.

        Raises
        ------
        InputError
            Naming the namelist key or card at fault.
        """
        check_text(text, limit=MAX_CHARACTERS, what="the pw.x input", field="content")
        text = text.removeprefix("\ufeff")
        groups, behind = read_groups(text)
        namelists = {name: group.values() for name, group in groups.items()}
        check_namelists(namelists)
        system: dict[str, Any] = namelists["system"]
        if "celldm" in system and not isinstance(system["celldm"], list):
            system["celldm"] = [system["celldm"]]  # celldm = 8.0 is celldm(1) = 8.0
        cards = read_cards(text, behind)
        kpoints = read_kpoints(cards)
        if "K_POINTS" not in cards:
            wanted = {
                "ATOMIC_SPECIES": system["ntyp"],
                "ATOMIC_POSITIONS": system["nat"],
                "CELL_PARAMETERS": 3,
            }
            for name, count in wanted.items():
                check_all_read(cards[name].rows[count:] if name in cards else ())
        cell = read_cell(system, cards)
        alat = lattice_parameter(system, cell)
        species = read_species(cards, system["ntyp"])
        labels, positions, flags = read_atoms(cards, system["nat"], alat, cell)
        symbols = {s.label: s.symbol for s in species}
        for label in labels:
            if label not in symbols:
                raise _error(f"the species {label} is not in ATOMIC_SPECIES", "ATOMIC_POSITIONS")
        return cls(
            text=text,
            namelists=namelists,
            species=species,
            labels=labels,
            symbols=tuple(symbols[label] for label in labels),
            positions=positions,
            cell=cell,
            alat=alat,
            free=np.array(flags),
            fixed_indices=tuple(i for i, f in enumerate(flags) if not any(f)),
            partly_fixed=tuple(i for i, f in enumerate(flags) if any(f) and not all(f)),
            kpoints=kpoints,
            groups=groups,
            cards=cards,
        )

    def mobile(self, indices: Sequence[int] | None = None) -> tuple[int, ...]:
        """Return the atoms that vibrate, each once, ascending; by default all that are not fixed.

        Raises
        ------
        InputError
            ``bad_mobile_indices``: none, out of range, fixed, or fixed in part.
        """
        nat, fixed = len(self.labels), set(self.fixed_indices)
        chosen = [i for i in range(nat) if i not in fixed] if indices is None else list(indices)
        problems = [
            (
                not chosen,
                "no atom is mobile; without vibrations, ask for a job of the kind 'energy' or 'relax'",
            ),
            (any(not 0 <= i < nat for i in chosen), f"indices run from 0 to {nat - 1}, given: {chosen}"),
            (bool(set(chosen) & fixed), "an atom with 0 0 0 flags is fixed, not mobile"),
            (
                bool(set(chosen) & set(self.partly_fixed)),
                "a mobile atom is fixed in part; only 0 0 0 and 1 1 1 flags can be carried out",
            ),
        ]
        for wrong, message in problems:
            if wrong:
                raise _error(message, "mobile_indices", "bad_mobile_indices")
        return tuple(sorted(set(chosen)))

    @property
    def formula(self) -> str:
        """Chemical formula in Hill order."""
        return str(Formula.from_list(list(self.symbols)).format("hill"))

    @property
    def cutoffs(self) -> tuple[float | None, float | None]:
        """``ecutwfc`` and ``ecutrho`` in Ry; None: what the pseudopotentials suggest."""
        system = self.namelists["system"]
        # 0 is as good as absent; pw.x takes 4 ecutwfc where only that is given.
        ecutwfc, ecutrho = (_number(system.get(name)) or None for name in ("ecutwfc", "ecutrho"))
        return ecutwfc, 4 * ecutwfc if ecutrho is None and ecutwfc is not None else ecutrho

    @property
    def mesh(self) -> tuple[int, int, int]:
        """The k-point mesh; (1, 1, 1) is the gamma point, (0, 0, 0) a list of k-points."""
        return (1, 1, 1) if self.kpoints.mode == "gamma" else self.kpoints.mesh or (0, 0, 0)

    @property
    def pseudopotentials(self) -> tuple[str, ...]:
        """File names of the pseudopotentials, sorted, each once."""
        return tuple(sorted({species.pseudopotential for species in self.species}))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _error(message: str, field: str, code: str = "bad_input") -> InputError:
    return InputError(message, code=code, field=field)


# For those who meet the same input again: when a job comes in and is finished, and for each of its tasks.
parse = lru_cache(maxsize=32)(PwInput.parse)
