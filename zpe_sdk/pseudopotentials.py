"""How ASE Atoms are computed unless told otherwise: pseudopotentials, cutoffs, k-points, occupations."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from ase import Atoms

from zpe_sdk.errors import InputError

# Ry. What the files suggest is enough for energies; forces that are differentiated want somewhat more.
ECUTWFC = 50.0
ECUTWFC_NORM_CONSERVING = 80.0
KPOINT_DENSITY = 3.5  # k-points per Å⁻¹ along each direction that repeats
# A metal needs it, and to an insulator a width this small does nothing.
SMEARING = {"occupations": "smearing", "smearing": "cold", "degauss": 0.01}
# The first lines of a file hold its header; a large one has megabytes of numbers after it.
_HEADER_BYTES = 20_000
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
    """

    file: str
    symbol: str
    kind: str
    ecutwfc: float


Choose: TypeAlias = Callable[[set[str]], dict[str, Pseudopotential]]


def choose(folder: Path, symbols: set[str]) -> dict[str, Pseudopotential]:
    """Choose a file for each element: PBE, scalar-relativistic, PAW before ultrasoft before norm-conserving.

    Among several of a kind the first by name is taken; files older than UPF 2 are passed over.

    Parameters
    ----------
    folder
        Where the files are.
    symbols
        Chemical symbols.

    Raises
    ------
    InputError
        ``bad_structure``: there is none for an element, or no such folder.
    """
    found: dict[str, Pseudopotential] = {}
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    for path in files:
        # Their names begin with the symbol, by custom and in every library: no need to open the others.
        if not any(path.name.lower().startswith(symbol.lower()) for symbol in symbols):
            continue
        read = _read(path)
        if read is None or read.symbol not in symbols:
            continue
        best = found.get(read.symbol)
        if best is None or _RANK[read.kind] < _RANK[best.kind]:
            found[read.symbol] = read
    if absent := symbols - set(found):
        raise InputError(
            f"{folder} has no PBE pseudopotential of {', '.join(sorted(absent))}: give pseudopotentials=",
            code="bad_structure",
            field="pseudopotentials",
        )
    return found


def placeholders(symbols: set[str]) -> dict[str, Pseudopotential]:
    """Return names for an engine that reads no pseudopotentials."""
    return {symbol: Pseudopotential(f"{symbol}.UPF", symbol, "PAW", 0.0) for symbol in symbols}


def defaults(atoms: Atoms, choose: Choose | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is not ``given`` of how the input of some Atoms is made.

    Parameters
    ----------
    atoms
        The structure.
    choose
        Chooses the pseudopotentials of a set of symbols; None: they and the cutoffs are not chosen.
    given
        What the user said, see :func:`zpe_sdk.espresso.render.render_input`.
    """
    chosen: dict[str, Any] = {}
    input_data = given.get("input_data") or {}
    keys = _flat(input_data)
    if "pseudopotentials" not in given and choose is not None:
        files = choose(set(atoms.get_chemical_symbols()))
        chosen["pseudopotentials"] = {symbol: p.file for symbol, p in sorted(files.items())}
        chosen |= _cutoffs(files, keys | dict(given))
    if "kpts" not in given:
        chosen["kpts"] = {"density": KPOINT_DENSITY} if atoms.pbc.any() else "gamma"
    magnetic = bool(np.any(atoms.get_initial_magnetic_moments()))
    if (atoms.pbc.any() or magnetic) and "occupations" not in keys:
        nested = any(isinstance(value, Mapping) for value in input_data.values())
        system = {**input_data.get("system", {}), **SMEARING}
        chosen["input_data"] = {**input_data, **({"system": system} if nested else SMEARING)}
    return chosen


def in_words(chosen: Mapping[str, Any]) -> str:
    """Say what :func:`defaults` has chosen; empty if that is nothing."""
    words = list(chosen.get("pseudopotentials", {}).values())
    words += [f"{key} = {chosen[key]:g} Ry" for key in ("ecutwfc", "ecutrho") if key in chosen]
    if "kpts" in chosen:
        gamma = chosen["kpts"] == "gamma"
        words.append("gamma point" if gamma else f"k-points at a density of {KPOINT_DENSITY:g} per Å⁻¹")
    if "input_data" in chosen:
        words.append(f"cold smearing of {SMEARING['degauss']:g} Ry")
    return ", ".join(words)


def _cutoffs(files: Mapping[str, Pseudopotential], given: Mapping[str, Any]) -> dict[str, float]:
    soft = any(p.kind != "NC" for p in files.values())
    chosen = {}
    ecutwfc = given.get("ecutwfc")
    if ecutwfc is None:
        suggested = 5.0 * math.ceil(max(p.ecutwfc for p in files.values()) / 5)
        ecutwfc = chosen["ecutwfc"] = max(ECUTWFC if soft else ECUTWFC_NORM_CONSERVING, suggested)
    if "ecutrho" not in given:
        # Augmentation charges are harder than the square of the wave functions, for which 4 is exact.
        chosen["ecutrho"] = (8 if soft else 4) * ecutwfc
    return chosen


def _flat(input_data: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in input_data.items():
        flat |= _flat(value) if isinstance(value, Mapping) else {key.lower(): value}
    return flat


def _read(path: Path) -> Pseudopotential | None:
    """Read the header of a UPF 2 file; None if it is something else or another functional's."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        text = file.read(_HEADER_BYTES).decode(errors="replace")
    found = re.search(r"<PP_HEADER(.*?)/?>", text.replace("&lt;", "").replace("&gt;", ""), re.DOTALL)
    if found is None:
        return None
    header = {name: value.strip() for name, value in re.findall(r"(\w+)\s*=\s*[\"']([^\"']*)[\"']", found[1])}
    kind = header.get("pseudo_type", "").upper()
    true = ("T", ".T.", "TRUE", ".TRUE.")
    if (
        kind not in _RANK
        or not _PBE.match(header.get("functional", ""))
        or header.get("has_so", "F").upper() in true
    ):
        return None
    cutoff = header.get("wfc_cutoff", "0").lower().replace("d", "e")
    return Pseudopotential(path.name, header.get("element", ""), kind, float(cutoff))
