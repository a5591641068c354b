"""How ASE Atoms are computed unless told otherwise: pseudopotentials, cutoffs, k-points, occupations."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from ase import Atoms

from zpe_sdk.errors import InputError
from zpe_sdk.espresso.namelist import number
from zpe_sdk.espresso.vacuum import repeating

# Ry. What the files suggest is enough for energies; forces that are differentiated want somewhat more.
ECUTWFC = 50.0
ECUTWFC_NORM_CONSERVING = 80.0
KPOINT_DENSITY = 3.5  # k-points per Å⁻¹ along each direction that repeats
# A metal needs it, and to an insulator a width this small does nothing.
SMEARING = {"occupations": "smearing", "smearing": "cold", "degauss": 0.01}
# The first lines of a file hold its header; a large one has megabytes of numbers after it.
_HEADER_BYTES = 20_000
WHOLE = 1e-3  # e; initial charges add up to a whole number within this, rounded as they may be
_PBE = re.compile(r"\s*(PBE|SLA\s+PW\s+PB[XE]\s+PB[CE])\s*$")
_RANK = {"PAW": 0, "US": 1, "USPP": 1, "NC": 2}


@dataclass(frozen=True)
class Pseudopotential:
    """A pseudopotential file, by its own header.

    Attributes
    ----------
    file
        Name of the file.
    symbol
        Chemical symbol.
    kind
        ``PAW``, ``US`` or ``NC``.
    ecutwfc
        The wave-function cutoff it suggests in Ry; 0 if it suggests none.
    usual
        PBE, scalar-relativistic, and of a known kind: it may be chosen.
    """

    file: str
    symbol: str
    kind: str
    ecutwfc: float
    usual: bool = True


# Of these elements, those files: chosen where none is named.
Choose: TypeAlias = Callable[[set[str], Mapping[str, str] | None], dict[str, Pseudopotential]]


def choose(
    folder: Path, symbols: set[str], named: Mapping[str, str] | None = None
) -> dict[str, Pseudopotential]:
    """Choose a file for each element: PBE, scalar-relativistic, PAW before ultrasoft before norm-conserving.

    Among several of a kind the first by name is taken; files older than UPF 2 are passed over.

    Parameters
    ----------
    folder
        Where the files are.
    symbols
        Chemical symbols.
    named
        Chemical symbol -> file name: nothing is chosen, these are read, and what cannot be is left out.

    Raises
    ------
    InputError
        ``bad_structure``: there is none for an element, or no such folder.
    """
    if named is not None:
        read = {symbol: _read(folder / str(named[symbol])) for symbol in symbols & set(named)}
        return {symbol: file for symbol, file in read.items() if file}
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}", code="bad_structure", field="pseudo_dir")
    found: dict[str, Pseudopotential] = {}
    for path in sorted(folder.iterdir()):
        # Their names begin with the symbol, by custom and in every library: no need to open the others.
        if not any(path.name.lower().startswith(symbol.lower()) for symbol in symbols):
            continue
        file = _read(path)
        if file is None or not file.usual or file.symbol not in symbols:
            continue
        best = found.get(file.symbol)
        if best is None or _RANK[file.kind] < _RANK[best.kind]:
            found[file.symbol] = file
    if absent := symbols - set(found):
        raise InputError(
            f"{folder} has no PBE pseudopotential of {', '.join(sorted(absent))}: give pseudopotentials=",
            code="bad_structure",
            field="pseudopotentials",
        )
    return found


def placeholders(symbols: set[str], named: Mapping[str, str] | None = None) -> dict[str, Pseudopotential]:
    """Return names for an engine that reads no pseudopotentials."""
    names = named or {}
    return {s: Pseudopotential(names.get(s, f"{s}.UPF"), s, "PAW", 0.0) for s in symbols}


def defaults(atoms: Atoms, choose: Choose | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is not ``given`` of how the input of some Atoms is made.

    Parameters
    ----------
    atoms
        The structure.
    choose
        Chooses and reads the pseudopotentials of a set of symbols; None: they have to be named.
    given
        What the user said, see :func:`zpe_sdk.espresso.render.render_input`; ``input_data`` by namelist.

    Returns
    -------
    dict
        Of ``input_data`` only the keys that are to be added.
    """
    chosen: dict[str, Any] = {}
    system = given.get("input_data", {}).get("system", {})
    symbols, named = set(atoms.get_chemical_symbols()), given.get("pseudopotentials")
    # What is no dict of files is refused when the input is written.
    files = choose(symbols, named) if choose is not None and isinstance(named, Mapping | None) else {}
    if named is None and files:
        chosen["pseudopotentials"] = {symbol: p.file for symbol, p in sorted(files.items())}
    chosen |= _cutoffs(files.values(), bool(files) and symbols == set(files), {**system, **given})
    repeats = bool(repeating(atoms).any())
    if "kpts" not in given:
        chosen["kpts"] = {"density": KPOINT_DENSITY} if repeats else "gamma"
    keys: dict[str, Any] = {}
    magnetic = bool(np.any(atoms.get_initial_magnetic_moments()))
    wanted = repeats or magnetic or "smearing" in system or "degauss" in system
    if wanted and "occupations" not in system:
        keys = {key: value for key, value in SMEARING.items() if key not in system}
    charge = float(atoms.get_initial_charges().sum())
    # Charges that add up to no whole number are no charge of the cell but somebody's analysis of a density.
    if "tot_charge" not in system and np.round(charge) and abs(charge - np.round(charge)) < WHOLE:
        keys["tot_charge"] = round(charge)
    if keys:
        chosen["input_data"] = {"system": keys}
    return chosen


def in_words(chosen: Mapping[str, Any]) -> str:
    """Say what :func:`defaults` has chosen; empty if that is nothing."""
    words = list(chosen.get("pseudopotentials", {}).values())
    words += [f"{key} = {chosen[key]:g} Ry" for key in ("ecutwfc", "ecutrho") if key in chosen]
    if "kpts" in chosen:
        gamma = chosen["kpts"] == "gamma"
        words.append("gamma point" if gamma else f"k-points at a density of {KPOINT_DENSITY:g} per Å⁻¹")
    keys = chosen.get("input_data", {}).get("system", {})
    if "occupations" in keys:
        kind = "cold smearing" if "smearing" in keys else "smearing"
        words.append(f"{kind} of {keys['degauss']:g} Ry" if "degauss" in keys else kind)
    if "tot_charge" in keys:
        words.append(f"tot_charge = {keys['tot_charge']:+d}")
    return ", ".join(words)


def _cutoffs(files: Collection[Pseudopotential], known: bool, given: Mapping[str, Any]) -> dict[str, float]:
    """Choose what is not given; files that are not known may be of any kind, and suggest nothing."""
    soft = not known or any(p.kind != "NC" for p in files)
    chosen = {}
    ecutwfc = given.get("ecutwfc")
    if ecutwfc is None and known:
        suggested = 5.0 * math.ceil(max(p.ecutwfc for p in files) / 5)
        ecutwfc = chosen["ecutwfc"] = max(ECUTWFC if soft else ECUTWFC_NORM_CONSERVING, suggested)
    if "ecutrho" not in given and isinstance(ecutwfc, Real):
        # Augmentation charges are harder than the square of the wave functions, for which 4 is exact.
        chosen["ecutrho"] = (8 if soft else 4) * float(ecutwfc)
    return chosen


def _read(path: Path) -> Pseudopotential | None:
    """Read the header of a UPF 2 file; None if it is something else."""
    try:
        with path.open("rb") as file:
            text = file.read(_HEADER_BYTES).decode(errors="replace")
    except OSError:
        return None
    found = re.search(r"<PP_HEADER(.*?)/?>", text.replace("&lt;", "").replace("&gt;", ""), re.DOTALL)
    if found is None:
        return None
    header = {name: value.strip() for name, value in re.findall(r"(\w+)\s*=\s*[\"']([^\"']*)[\"']", found[1])}
    if "pseudo_type" not in header:
        return None
    kind = header["pseudo_type"].upper()
    true = ("T", ".T.", "TRUE", ".TRUE.")
    return Pseudopotential(
        path.name,
        header.get("element", ""),
        # Files of semilocal form, and bare Coulomb potentials, have no augmentation charges either.
        kind if kind in _RANK else "NC",
        float(number(header.get("wfc_cutoff", "")) or 0),
        usual=kind in _RANK
        and bool(_PBE.match(header.get("functional", "")))
        and header.get("has_so", "F").upper() not in true,
    )
