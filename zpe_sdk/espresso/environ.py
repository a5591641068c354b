"""Environ's input, ``environ.in``: read as the plug-in reads it, and held against what its versions know.

What the plug-in would pass over, or what could not be carried out faithfully, is refused.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from zpe_sdk.errors import InputError
from zpe_sdk.espresso.limits import is_path
from zpe_sdk.espresso.namelist import Group, apply, number, read_groups, set_keys
from zpe_sdk.espresso.physics import digest, normal
from zpe_sdk.espresso.text import check_text

MAX_CHARACTERS = 100_000
MAX_OBJECTS = 100  # external charges, dielectric regions
# The plug-in adds its potential once the SCF is as near to its end as this (Ry). With less, an SCF could end
# before that.
MIN_ENVIRON_THR = 1e-8

VERSIONS = ("1.0", "1.1", "2", "3")
_FIRST, _LAST = VERSIONS[0], VERSIONS[-1]
# What the namelists of Environ 1.0, 1.1, 2.0 to 2.0.3 and 3.0 to 3.1 declare: (first, last version) -> keys.
_KEYS: dict[str, dict[tuple[str, str], str]] = {
    "environ": {
        (_FIRST, _LAST): "atomicspread cion cionmax env_dielectric_regions env_electrolyte_ntyp "
        "env_electrostatic env_external_charges env_optical_permittivity env_pressure "
        "env_static_permittivity env_surface_tension environ_nskip environ_restart environ_thr environ_type "
        "rion system_axis system_dim system_ntyp verbose zion",
        ("1.0", "1.0"): "solvent_temperature stern_entropy",
        ("1.0", "1.1"): "add_jellium oldenviron",
        ("1.1", "1.1"): "ion_adsorption ion_adsorption_energy",
        ("1.1", _LAST): "electrolyte_entropy electrolyte_linearized env_confine temperature",
        ("2", _LAST): "env_nrep environ_debug sc_carrier_density sc_chg_thr sc_electrode_chg sc_permittivity "
        "system_pos",
        ("3", _LAST): "env_ecut lsurface lvolume no_electrostatics",
    },
    "boundary": {
        (_FIRST, _LAST): "alpha corespread filling_spread filling_threshold radial_scale radial_spread "
        "radius_mode rhomax rhomin softness solvationrad solvent_distance solvent_mode solvent_radius "
        "solvent_spread",
        ("1.0", "1.0"): "stern_alpha stern_distance stern_mode stern_rhomax stern_rhomin stern_softness "
        "stern_spread stern_tbeta",
        ("1.0", "1.1"): "boundary_core",
        ("1.0", "2"): "ifdtype nfdpoint stype tbeta",
        ("1.1", "2"): "electrolyte_tbeta",
        ("1.1", _LAST): "electrolyte_alpha electrolyte_distance electrolyte_mode electrolyte_rhomax "
        "electrolyte_rhomin electrolyte_softness electrolyte_spread",
        ("2", "2"): "charge_asymmetry derivatives field_awareness",
        ("2", _LAST): "field_max field_min sc_distance sc_spread",
        ("3", _LAST): "deriv_core deriv_method field_asymmetry field_aware field_factor",
    },
    "electrostatic": {
        (_FIRST, _LAST): "auxiliary core maxstep mix mix_type ndiis pbc_axis pbc_correction pbc_dim "
        "preconditioner problem screening screening_type solver step step_type tol",
        ("1.1", _LAST): "inner_maxstep inner_mix inner_solver inner_tol",
        ("3", _LAST): "inner_core pbc_core",
    },
}

# They say how a run is told of and where it starts, not what comes out.
_STEERING = {"environ_restart", "verbose", "environ_debug"}

# A continuum that follows the atoms alone keeps their symmetry. These keys describe such a one. Whatever is
# not here (a position, an axis, a correction for slabs, what nobody has looked into) is taken to break it.
_ISOTROPIC = {
    "environ": "environ_restart verbose environ_debug environ_thr environ_nskip environ_type "
    "env_electrostatic no_electrostatics env_static_permittivity env_optical_permittivity "
    "env_surface_tension env_pressure env_confine env_electrolyte_ntyp electrolyte_linearized "
    "electrolyte_entropy cion cionmax rion zion temperature solvent_temperature stern_entropy "
    "atomicspread lsurface lvolume",
    "boundary": "radius_mode alpha softness solvationrad rhomax rhomin tbeta stype corespread "
    "electrolyte_rhomax electrolyte_rhomin electrolyte_tbeta electrolyte_alpha electrolyte_softness "
    "stern_rhomax stern_rhomin stern_tbeta stern_alpha stern_softness deriv_method deriv_core",
    "electrostatic": "problem tol solver auxiliary step maxstep mix_type mix ndiis preconditioner "
    "screening_type screening core inner_core inner_tol inner_solver inner_maxstep inner_mix",
}
# Keys that keep it with some of their values.
_FOLLOWS_ATOMS = ("electronic", "ionic", "full")
_HARMLESS: dict[str, tuple[object, ...]] = {
    "solvent_mode": _FOLLOWS_ATOMS,
    "electrolyte_mode": _FOLLOWS_ATOMS,
    "stern_mode": _FOLLOWS_ATOMS,
    "step_type": ("optimal", "input"),
    "pbc_correction": ("none",),
    "solvent_radius": (0,),
    "field_aware": (False,),
    "env_external_charges": (0,),
    "env_dielectric_regions": (0,),
}

# Card -> the key that says how many rows it has, and how many numbers a row may have.
_CARDS = {
    "EXTERNAL_CHARGES": ("env_external_charges", 4, 7),
    "DIELECTRIC_REGIONS": ("env_dielectric_regions", 6, 9),
}
# The plug-in looks for the name in capital letters, and takes what is glued to it for a part of it.
_CARD = re.compile(r"([A-Z_]+)(?:\s+[({]?\s*(bohr|angstrom)\s*[)}]?)?\s*", re.I)


@dataclass(frozen=True, eq=False)
class EnvironInput:
    """An ``environ.in``.

    Attributes
    ----------
    text
        The input as it came.
    namelists
        Namelists and their keys, in lower case.
    cards
        Name of each card with its unit and its rows of numbers.
    groups
        Namelists with their places in ``text``.
    """

    text: str
    namelists: dict[str, dict[str, Any]]
    cards: dict[str, tuple[str, list[list[float]]]]
    groups: Mapping[str, Group] = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> EnvironInput:
        """Read an input.

        Raises
        ------
        InputError
            Of the field ``environ``, naming the key or card at fault.
        """
        check_text(text, limit=MAX_CHARACTERS, what="the Environ input", field="environ")
        try:
            groups, behind = read_groups(text)
        except InputError as error:
            raise _error(error.message, error.code) from None
        namelists: dict[str, dict[str, Any]] = {name: group.values() for name, group in groups.items()}
        _check_names(namelists)
        _check_values(namelists)
        return cls(text, namelists, _read_cards(text[behind:], namelists["environ"]), groups)

    @property
    def keeps_symmetry(self) -> bool:
        """Whether the environment is known to have all the symmetry that the atoms have."""
        return not self.cards and all(
            key.split("(")[0] in _ISOTROPIC[name].split() or normal(value) in _HARMLESS.get(key, ())
            for name, keys in self.namelists.items()
            for key, value in keys.items()
        )

    def physics_hash(self) -> str:
        """Return the SHA-256 of all in this input that decides the forces, whatever the layout."""
        return self._physics

    @cached_property
    def _physics(self) -> str:
        namelists = {
            name: {key: normal(value) for key, value in keys.items() if key not in _STEERING}
            for name, keys in self.namelists.items()
        }
        return digest({"namelists": namelists, "cards": self.cards})


# For those who meet the same input again: when a job comes in, and for each of its tasks.
parse = lru_cache(maxsize=32)(EnvironInput.parse)


def run_text(text: str, *, restart: bool) -> str:
    """Return the ``environ.in`` of one SCF: the same text with only the run control changed.

    An SCF that starts from a density wants the environment's potential from its first iteration on
    (``environ_restart``). Files for looking at are not written.

    Parameters
    ----------
    text
        The input; one that cannot be read here, from a worker's own folder, stays as it is.
    restart
        Whether the SCF starts from the density of another one.
    """
    try:
        groups, _ = read_groups(text)
    except InputError:
        return text
    if "environ" not in groups:
        return text
    keys = {"environ_restart": True if restart else None, "verbose": None, "environ_debug": None}
    return apply(text, set_keys(text, groups["environ"], keys))


def _known(name: str) -> dict[str, set[str]]:
    """Return the keys of a namelist with the versions that know them."""
    return {
        key: set(VERSIONS[VERSIONS.index(first) : VERSIONS.index(last) + 1])
        for (first, last), keys in _KEYS[name].items()
        for key in keys.split()
    }


def _check_names(namelists: Mapping[str, Mapping[str, Any]]) -> None:
    if "environ" not in namelists:
        raise _error("it needs the namelist &ENVIRON")
    for name in namelists:
        if name not in _KEYS:
            raise _error(
                f"Environ has no namelist &{name.upper()}{_nearest(name.upper(), map(str.upper, _KEYS))}"
            )
    order = [name for name in _KEYS if name in namelists]
    if list(namelists) != order:
        wanted = ", ".join(f"&{name.upper()}" for name in order)
        raise _error(f"Environ reads the namelists in this order only: {wanted}")
    common, rare = set(VERSIONS), []
    for name, keys in namelists.items():
        known = _known(name)
        for key in sorted({key.split("(")[0] for key in keys}):
            if key not in known:
                raise _error(f"&{name.upper()} has no key {key}{_nearest(key, known)}")
            common &= known[key]
            if known[key] != set(VERSIONS):
                rare.append(f"{key} ({', '.join(sorted(known[key]))})")
    if not common:
        raise _error(f"no version of Environ knows all of its keys: {', '.join(rare)}")


def _nearest(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; {near[0]}?" if near else ""


def _check_values(namelists: Mapping[str, Mapping[str, Any]]) -> None:
    for keys in namelists.values():
        for key, value in keys.items():
            if any(is_path(item) for item in (value if isinstance(value, list) else [value])):
                raise _error(f"{key} = {str(value)[:60]!r} looks like a path", "path_in_input")
    environ = namelists["environ"]
    for key in ("env_external_charges", "env_dielectric_regions"):
        count = environ.get(key, 0)
        if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= MAX_OBJECTS:
            raise _error(f"{key} is a number from 0 to {MAX_OBJECTS}", "out_of_bounds")
    threshold = environ.get("environ_thr", 0.1)
    if not isinstance(threshold, int | float) or isinstance(threshold, bool) or threshold < MIN_ENVIRON_THR:
        raise _error(
            f"environ_thr is at least {MIN_ENVIRON_THR:g}: with less, an SCF could end without the medium",
            "out_of_bounds",
        )


def _read_cards(text: str, environ: Mapping[str, Any]) -> dict[str, tuple[str, list[list[float]]]]:
    cards: dict[str, tuple[str, list[list[float]]]] = {}
    lines = [line.strip() for line in text.splitlines()]
    rest = [line for line in lines if line and line[0] not in "!#"]
    while rest:
        header = rest.pop(0)
        found = _CARD.fullmatch(header)
        if found is None or found[1] not in _CARDS:
            raise _error(
                f"{header[:60]!r} is no card that Environ knows{_nearest(header.split()[0], _CARDS)}"
            )
        name, unit = found[1], (found[2] or "bohr").lower()
        count_key, fewest, most = _CARDS[name]
        count = environ.get(count_key, 0)
        if name in cards:
            raise _error(f"the card {name} is there twice")
        if not count:
            raise _error(f"the card {name} is passed over without {count_key}, its number of rows")
        if len(rest) < count:
            raise _error(f"the card {name} has fewer than the {count} rows that {count_key} tells")
        cards[name] = unit, [_row(rest.pop(0), name, fewest, most) for _ in range(count)]
    for name, (count_key, _, _) in _CARDS.items():
        if environ.get(count_key, 0) and name not in cards:
            raise _error(f"{count_key} needs the card {name}")
    return cards


def _row(line: str, card: str, fewest: int, most: int) -> list[float]:
    """Return the numbers of a row; the last two, if they are there, are dimension and axis."""
    words = line.split()
    numbers = [value for word in words if (value := number(word)) is not None]
    if len(numbers) < len(words) or not fewest <= len(words) <= most:
        raise _error(f"the card {card} has {fewest} to {most} numbers in a row, not {line[:60]!r}")
    if any(abs(value) > 1e6 for value in numbers):
        raise _error(f"the card {card} has numbers up to 1e6, not {line[:60]!r}", "out_of_bounds")
    for place, values in ((most - 2, (0, 1, 2)), (most - 1, (1, 2, 3))):
        if len(numbers) > place and numbers[place] not in values:
            what = "dimension" if place == most - 2 else "axis"
            raise _error(
                f"the card {card}: the {what} is one of {values}, not {words[place]}", "out_of_bounds"
            )
    return [float(value) for value in numbers]


def _error(message: str, code: str = "bad_input") -> InputError:
    return InputError(f"the Environ input: {message}", code=code, field="environ")
