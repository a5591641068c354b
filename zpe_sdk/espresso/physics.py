"""What decides the forces, in one normal form whatever the layout, and its hash.

Left out are the positions, the masses and what only steers the run (:mod:`zpe_sdk.espresso.steering`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zpe_sdk.espresso.cards import Card, Row, fields
from zpe_sdk.espresso.gamma import gamma_point
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.kpoints import KPoints
from zpe_sdk.espresso.namelist import number
from zpe_sdk.espresso.patch import displaced
from zpe_sdk.espresso.steering import STEERING
from zpe_sdk.espresso.surplus import unread_lines
from zpe_sdk.wire import Task

POSITION_DIGITS = 9  # of Å
BLOCK = 256  # atoms

_CARDS = (
    "CELL_PARAMETERS",
    "REF_CELL_PARAMETERS",
    "OCCUPATIONS",
    "HUBBARD",
    "ADDITIONAL_K_POINTS",
    "ATOMIC_FORCES",
)
# Of these pw.x reads lines with READ(line, *): commas may stand between the numbers.
_LISTED = {"CELL_PARAMETERS", "REF_CELL_PARAMETERS", "ADDITIONAL_K_POINTS", "ATOMIC_FORCES"}


@lru_cache(maxsize=32)
def physics_hash(pw_input: PwInput) -> str:
    """Return the SHA-256 of an input's physics."""
    namelists = {
        name: {
            key: normal(value)
            for key, value in pw_input.namelists.get(name, {}).items()
            if key not in steering
        }
        for name, steering in STEERING.items()
    }
    k = KPoints("gamma") if gamma_point(pw_input) else pw_input.kpoints
    unread = unread_lines(pw_input)
    return digest(
        {
            **({"unread": unread} if unread else {}),
            "namelists": namelists,
            "species": [(s.label, s.pseudopotential) for s in pw_input.species],
            "labels": pw_input.labels,
            "kpoints": (k.mode, k.mesh, k.shift, k.points, k.weights),
            "cards": {name: _card(pw_input.cards[name]) for name in _CARDS if name in pw_input.cards},
        }
    )


def scf_key(pw_input: PwInput, task: Task) -> str:
    """Return the SHA-256 of the physics and the exact structure of a task."""
    return scf_keys(pw_input, [task])[0]


def scf_keys(pw_input: PwInput, tasks: Sequence[Task]) -> list[str]:
    """Return :func:`scf_key` of each task.

    Their structures differ in one atom. So that not all of a large one has to be hashed for each task, the
    text that is hashed holds the SHA-256 of blocks of its atoms in their place.
    """
    head = json.dumps([physics_hash(pw_input), _rounded(pw_input.cell).tolist()]).removesuffix("]")
    rows = [json.dumps(row) for row in _rounded(pw_input.positions).tolist()]
    blocks = [rows[begin : begin + BLOCK] for begin in range(0, len(rows), BLOCK)]

    def text(block: list[str]) -> str:
        joined = ", ".join(block)
        return joined if len(blocks) == 1 else hashlib.sha256(joined.encode()).hexdigest()

    unmoved = [text(block) for block in blocks]
    keys = []
    for task in tasks:
        texts = unmoved
        if task.atom is not None and task.displacement is not None:
            number, place = divmod(task.atom, BLOCK)
            block = blocks[number].copy()
            block[place] = json.dumps(_rounded(displaced(pw_input, task)[task.atom]).tolist())
            texts = [*unmoved[:number], text(block), *unmoved[number + 1 :]]
        keys.append(hashlib.sha256(f"{head}, [{', '.join(texts)}]]".encode()).hexdigest())
    return keys


def _rounded(lengths: NDArray[np.float64]) -> NDArray[np.float64]:
    return lengths.round(POSITION_DIGITS) + 0.0  # no -0.0


def _card(card: Card) -> list[Any]:
    def words(row: Row) -> Sequence[str]:
        return fields(row.words) if card.name in _LISTED else row.words

    return [card.unit, *([normal(_word(word)) for word in words(row)] for row in card.rows)]


def _word(word: str) -> str | float:
    value = number(word)
    return word if value is None else value


def normal(value: object) -> object:
    """Return a value in its one form: to pw.x, 1 is 1.0d0, 'PBE' is 'pbe' and x(1) = 5 is x = 5."""
    if isinstance(value, list):
        return normal(value[0]) if len(value) == 1 else [normal(element) for element in value]
    if isinstance(value, bool) or value is None:
        return value
    return float(value) + 0.0 if isinstance(value, int | float) else str(value).strip().lower()


def digest(document: object) -> str:
    """Return the SHA-256 of a document of plain values."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
