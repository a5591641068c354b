"""What a pw.x input may not ask for, and why.

It may neither read nor write outside its run folder, nor ask for what displaced SCFs cannot carry out
faithfully.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zpe_sdk.errors import InputError
from zpe_sdk.espresso import keys
from zpe_sdk.espresso.namelist import SCF_GROUPS

MAX_ATOMS = 10_000
MAX_SPECIES = 1_000
MAX_ECUTWFC = 1_000.0  # Ry
MAX_ECUTRHO = 20_000.0  # Ry
MAX_BANDS = 1_000_000

CARRIERS = ("scf", "relax", "vc-relax")
_NAMELISTS = ("control", "system", "electrons", "ions", "cell", "fcp", "rism")

_BERRY = "Berry phases and their electric field are no ground state of one SCF that could be displaced"
_ELECTRONS_VARY = "the number of electrons would differ from one displaced structure to the next"
_FILES = "it reads or writes files that are no part of the input"
_WITHOUT: dict[str, dict[str, str]] = {
    "control": {
        "lelfield": _BERRY,
        "lberry": _BERRY,
        "lorbm": _BERRY,
        "lfcp": _ELECTRONS_VARY,
        "lfcpopt": _ELECTRONS_VARY,
        "lfcpdyn": _ELECTRONS_VARY,
        "trism": "the solvent's own files and thresholds are not carried along",
        "use_wannier": _FILES,
        "tqmmm": "it waits for another program",
        "lecrpa": "it gives no forces",
        "input_xml_schema_file": _FILES,
        "vdw_table_name": _FILES + "; pw.x makes or finds its own table",
    },
    "system": {
        "lgcscf": _ELECTRONS_VARY,
        "la2f": _FILES,
        "dmft": _FILES,
        "dmft_prefix": _FILES,
        "hubbard_parameters": _FILES + ": give Hubbard_V or the card HUBBARD",
    },
}
# Values that ask for nothing, besides .false. and an empty string.
_NOTHING = {"hubbard_parameters": "input"}
# Overwritten or taken out in every task (see `zpe_sdk.espresso.patch`), so what they hold does not matter.
OURS = {
    "control": {"prefix", "outdir", "wfcdir", "pseudo_dir", "calculation", "restart_mode", "disk_io"},
    "electrons": {"startingpot"},
}


def check_namelists(namelists: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse what pw.x cannot read, and what is beyond all bounds.

    Raises
    ------
    InputError
        ``bad_input``, ``unknown_key``, ``not_supported`` or ``out_of_bounds``, naming the key.
    """
    for name in namelists:
        if name not in _NAMELISTS:
            raise _error(f"pw.x has no namelist &{name.upper()}", name.upper(), "bad_input")
    order = [name for name in _NAMELISTS if name in namelists]
    if list(namelists) != order:
        wanted = ", ".join(f"&{name.upper()}" for name in order)
        raise _error(f"pw.x reads the namelists in this order only: {wanted}", order[0].upper(), "bad_input")
    _check_keys(namelists)
    _check_bounds(namelists.get("system", {}))
    if (group := namelists.get("system", {}).get("space_group")) not in (None, 0):
        raise _error(
            f"space_group = {group} is not supported: give all atoms", "space_group", "not_supported"
        )


def check_supported(namelists: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse what displaced SCFs cannot carry out.

    Raises
    ------
    InputError
        ``not_supported`` or ``path_in_input``, naming the key.
    """
    calculation = namelists.get("control", {}).get("calculation", "scf")
    if calculation not in CARRIERS:
        raise _error(
            f"calculation = {calculation!r}: forces are computed for the structure of an input of "
            f"{', '.join(CARRIERS)}, in small letters",
            "calculation",
            "not_supported",
        )
    for group, reasons in _WITHOUT.items():
        for key, why in reasons.items():
            value = namelists.get(group, {}).get(key)
            if value not in (None, False, "", _NOTHING.get(key)):
                raise _error(f"{key} is not supported: {why}", key, "not_supported")
    _check_paths(namelists)


def _check_keys(namelists: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse keys that no version of pw.x has; which worker has a version that knows them is seen later."""
    for namelist in SCF_GROUPS:
        for full in namelists.get(namelist, ()):
            key = full.split("(")[0]
            if keys.versions_of(namelist, key):
                continue
            near, place = keys.nearest(namelist, key), keys.namelist_of(key)
            hint = f"; it belongs to &{place.upper()}" if place else f"; {near}?" if near else ""
            raise _error(f"&{namelist.upper()} of pw.x has no key {key}{hint}", key, "unknown_key")


def _check_paths(namelists: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse values that lead out of the run folder, whatever the key."""
    for group, given in namelists.items():
        for key, value in given.items():
            if key == "title" or key in OURS.get(group, ()):
                continue
            for text in value if isinstance(value, list) else [value]:
                if is_path(text):
                    raise _error(f"{key} = {text[:60]!r} looks like a path", key, "path_in_input")


def is_path(value: object) -> bool:
    """Tell whether a value is text that may lead out of the run folder."""
    return isinstance(value, str) and bool(set(value) & set("/\\~$") or ".." in value)


def _check_bounds(system: Mapping[str, Any]) -> None:
    for key, highest in (("nat", MAX_ATOMS), ("ntyp", MAX_SPECIES)):
        value = system.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= highest:
            raise _error(f"&SYSTEM needs {key}, a number from 1 to {highest}", key, "out_of_bounds")
    for key in ("ibrav", "nspin", "edir", "nqx1", "nqx2", "nqx3"):
        value = system.get(key, 1)
        if (
            not isinstance(value, int)
            or isinstance(value, bool)
            or (key == "edir" and value not in (1, 2, 3))
        ):
            raise _error(f"{key} = {value!r} is not one of its values", key, "out_of_bounds")
    for key, most in (("ecutwfc", MAX_ECUTWFC), ("ecutrho", MAX_ECUTRHO), ("nbnd", MAX_BANDS)):
        value = system.get(key)
        if not value:
            continue  # as pw.x sees fit: for the cutoffs, what the pseudopotentials suggest
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= most:
            unit = " Ry" if key != "nbnd" else ""
            raise _error(f"&SYSTEM needs {key} above 0 and up to {most:g}{unit}", key, "out_of_bounds")


def _error(message: str, field: str, code: str) -> InputError:
    return InputError(message, code=code, field=field)
