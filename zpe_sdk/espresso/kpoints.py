"""The card K_POINTS: how an input samples the Brillouin zone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zpe_sdk.errors import InputError
from zpe_sdk.espresso.cards import Card, listed

MAX_MESH = 100_000  # points of a k-point mesh, or of a list


@dataclass(frozen=True)
class KPoints:
    """How the Brillouin zone is sampled.

    ``mesh`` and ``shift`` are those of ``automatic``, else None; ``points`` and ``weights`` those of a list,
    in the card's unit. The path of a band structure (``tpiba_b`` and the like) has only its mode.
    """

    mode: str
    mesh: tuple[int, int, int] | None = None
    shift: tuple[int, int, int] | None = None
    points: tuple[tuple[float, float, float], ...] | None = None
    weights: tuple[float, ...] | None = None

    @property
    def is_path(self) -> bool:
        """Whether it is a path or plane for a band structure, which does not sample the zone."""
        return self.mode.endswith(("_b", "_c"))


def read_kpoints(cards: Mapping[str, Card]) -> KPoints:
    """Return the k-points; without the card pw.x takes Γ alone, as for ``K_POINTS gamma``.

    Raises
    ------
    InputError
        They are spelt as pw.x does not read them.
    """
    if "K_POINTS" not in cards:
        return KPoints("gamma")
    card = cards["K_POINTS"]
    mode = card.unit or "tpiba"
    if mode == "gamma" or mode.endswith(("_b", "_c")):
        return KPoints(mode)
    card.check_comment(1)
    if mode != "automatic":
        return _list(mode, card)
    numbers = listed(card.rows[0].words, 6, "K_POINTS", whole=True) if card.rows else []
    if len(numbers) < 6:
        raise _error("K_POINTS automatic needs six whole numbers in one line")
    k1, k2, k3, s1, s2, s3 = (int(x) for x in numbers)
    if min(k1, k2, k3) < 1 or k1 * k2 * k3 > MAX_MESH or not {s1, s2, s3} <= {0, 1}:
        raise _error(f"K_POINTS automatic needs a mesh of 1 to {MAX_MESH} points and shifts of 0 or 1")
    return KPoints("automatic", (k1, k2, k3), (s1, s2, s3))


def _list(mode: str, card: Card) -> KPoints:
    first = listed(card.rows[0].words, 1, "K_POINTS", whole=True) if card.rows else []
    count = int(first[0]) if first else 0
    if not 0 < count <= MAX_MESH or len(card.rows) < count + 1:
        raise _error(f"K_POINTS {mode} needs their number, and a line for each")
    card.check_comment(count + 1)
    values = [listed(row.words, 4, "K_POINTS") for row in card.rows[1 : count + 1]]
    if any(len(row) < 4 for row in values):
        raise _error(f"K_POINTS {mode} needs three coordinates and a weight in each line")
    weights = tuple(row[3] for row in values)
    if min(weights) < 0 or not sum(weights) > 0:
        raise _error("the weights of K_POINTS must be positive")
    return KPoints(mode, points=tuple((x, y, z) for x, y, z, _ in values), weights=weights)


def _error(message: str) -> InputError:
    return InputError(message, code="bad_input", field="K_POINTS")
