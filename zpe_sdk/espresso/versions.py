"""Which versions of pw.x can run an input: what its cards, keys and values have become from one to the next.

From the sources of Quantum ESPRESSO 6.3 to 7.5. A version passes over a card that it does not know, with a
warning; a key that it does not know makes it stop.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

from zpe_sdk.errors import InputError
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.keys import versions_of
from zpe_sdk.espresso.namelist import SCF_GROUPS
from zpe_sdk.espresso.structure import LABEL
from zpe_sdk.wire.versions import can_hold, in_words


@dataclass(frozen=True)
class VersionNeed:
    """A condition on the version of pw.x, such as ``">=7.1"``, and what asks for it."""

    condition: str
    why: str
    field: str

    def __str__(self) -> str:
        return f"pw.x {in_words(self.condition)} {self.why}"


_CARDS = {"HUBBARD": ">=7.1", "ADDITIONAL_K_POINTS": ">=6.7"}
# From 7.1 on the card HUBBARD has these; pw.x still reads the keys, and stops if one of them is set.
_BEFORE_THE_CARD = "<7.1"
_HUBBARD_KEYS = {
    "lda_plus_u",
    "lda_plus_u_kind",
    "u_projection_type",
    "hubbard_parameters",
    "hubbard_u",
    "hubbard_u_back",
    "hubbard_j0",
    "hubbard_j",
    "hubbard_v",
    "backall",
}
# Others run without, and warn of it.
_VALUES = {"vdw_corr": (">=6.8", {"mbd", "many-body-dispersion", "mbd_vdw"})}


def needed_versions(pw_input: PwInput) -> tuple[VersionNeed, ...]:
    """Return what an input needs of the version of pw.x.

    Raises
    ------
    InputError
        ``no_such_version``: no version has all that the input uses; ``not_supported``: a card that none uses
        for an SCF. ``field`` names it.
    """
    if "SOLVENTS" in pw_input.cards:
        raise InputError(
            "pw.x reads the card SOLVENTS only with trism, which is not supported",
            code="not_supported",
            field="SOLVENTS",
        )
    system = pw_input.namelists["system"]
    found = [(_CARDS[card], f"the card {card}", card) for card in _CARDS if card in pw_input.cards]
    found += [
        (_BEFORE_THE_CARD, key, key) for key, value in system.items() if _is_set(key.split("(")[0], value)
    ]
    found += [
        (condition, f"{key} = {system[key]!r}", key)
        for key, (condition, values) in _VALUES.items()
        if str(system.get(key, "")).strip().lower() in values
    ]
    # Earlier versions look a label up whole, and keep only its first characters.
    found += [
        (">=7.3", f"the label {species.label}", "ATOMIC_SPECIES")
        for species in pw_input.species
        if len(species.label) > LABEL
    ]
    for namelist in SCF_GROUPS:
        for key in pw_input.namelists.get(namelist, {}):
            first, last = versions_of(namelist, key.split("(")[0]) or (None, None)
            found += [(f">={first}", key, key)] if first else []
            found += [(f"<={last}", key, key)] if last else []
    needs = []
    for condition, same in groupby(sorted(found), key=itemgetter(0)):
        _, what, fields = zip(*same, strict=True)
        needs.append(VersionNeed(condition, "for " + " and ".join(what), fields[0]))
    check_together(needs)
    return tuple(needs)


def check_together(needs: Iterable[VersionNeed]) -> None:
    """Refuse needs that no version of pw.x can fulfil together.

    Raises
    ------
    InputError
        ``no_such_version``.
    """
    needs = list(needs)
    for n, need in enumerate(needs):
        for other in needs[:n]:
            if not can_hold([need.condition, other.condition]):
                raise InputError(
                    f"no version of pw.x can run this: it needs {other}, and {need}",
                    code="no_such_version",
                    field=need.field,
                )


def _is_set(name: str, value: Any) -> bool:
    """Tell whether a key is one of those before the card HUBBARD, and asks for something."""
    if name not in _HUBBARD_KEYS:
        return False
    values = value if isinstance(value, list) else [value]
    if name == "lda_plus_u_kind":  # 0 is one of the kinds
        return any(isinstance(one, int) and one >= 0 for one in values)
    return any(bool(one.strip()) if isinstance(one, str) else bool(one) for one in values)
