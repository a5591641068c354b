"""How ASE Atoms are computed unless told otherwise: pseudopotentials, cutoffs, k-points, occupations."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from numbers import Real
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from ase import Atoms

from zpe_sdk.errors import InputError
from zpe_sdk.espresso.namelist import number
from zpe_sdk.espresso.vacuum import repeating
from zpe_sdk.wire import PseudopotentialHeader

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
    ecutwfc, ecutrho
        The cutoffs it suggests for wave functions and density in Ry; 0 if it suggests none.
    usual
        PBE, scalar-relativistic, and of a known kind: it may be chosen.
    """

    file: str
    symbol: str
    kind: str
    ecutwfc: float
    usual: bool = True
    ecutrho: float = 0.0


# Of these elements, those files: read where they are named, chosen where not.
Choose: TypeAlias = Callable[[set[str], Mapping[str, str] | None], dict[str, Pseudopotential]]


def choose(
    folder: Path, symbols: set[str], named: Mapping[str, str] | None = None
) -> dict[str, Pseudopotential]:
    """Read the files that are named, and choose one for each other element (:func:`best_of`).

    Parameters
    ----------
    folder
        Where the files are. Those older than UPF 2 are passed over.
    symbols
        Chemical symbols.
    named
        Chemical symbol -> file name; what cannot be read of these is left out.

    Raises
    ------
    InputError
        ``bad_structure``: there is none for an element, or no such folder.
    """
    named = named or {}
    read = {symbol: read_header(folder / str(named[symbol])) for symbol in symbols & set(named)}
    files = {symbol: file for symbol, file in read.items() if file}
    wanted = symbols - set(named)
    if not wanted:
        return files
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}", code="bad_structure", field="pseudo_dir")
    # Their names begin with the symbol, by custom and in every library: no need to open the others.
    begins = tuple(symbol.lower() for symbol in wanted)
    paths = [path for path in sorted(folder.iterdir()) if path.name.lower().startswith(begins)]
    return files | best_of(filter(None, map(read_header, paths)), wanted, where=str(folder))


def best_of(files: Iterable[Pseudopotential], symbols: set[str], *, where: str) -> dict[str, Pseudopotential]:
    """Choose a file for each element: PBE, scalar-relativistic, PAW before ultrasoft before norm-conserving.

    Parameters
    ----------
    files
        Those that there are; among several of a kind the first is taken.
    symbols
        Chemical symbols.
    where
        What has them, for the error.

    Raises
    ------
    InputError
        ``bad_structure``: there is none for an element.
    """
    found: dict[str, Pseudopotential] = {}
    for file in files:
        if not file.usual or file.symbol not in symbols:
            continue
        best = found.get(file.symbol)
        if best is None or _RANK[file.kind] < _RANK[best.kind]:
            found[file.symbol] = file
    if absent := symbols - set(found):
        raise InputError(
            f"{where} has no PBE pseudopotential of {', '.join(sorted(absent))}: give pseudopotentials=",
            code="bad_structure",
            field="pseudopotentials",
        )
    return found


def placeholders(symbols: set[str], named: Mapping[str, str] | None = None) -> dict[str, Pseudopotential]:
    """Return names for an engine that reads no pseudopotentials."""
    names = named or {}
    return {s: Pseudopotential(names.get(s, f"{s}.UPF"), s, "PAW", 0.0) for s in symbols}


def unnamed(symbols: Iterable[str], why: str | None = None) -> InputError:
    """Return the error that nobody has named the files of elements, and why none was chosen."""
    what = (
        f"name the pseudopotential file of {', '.join(sorted(symbols))} (pseudopotentials=), or the "
        "folder to choose it from (pseudo_dir= of the client, or ZPE_PSEUDO_DIR)"
    )
    return InputError(f"{why}: {what}" if why else what, code="bad_structure", field="pseudopotentials")


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
    if isinstance(named, Mapping | None) and (more := sorted(set(files) - set(named or {}))):
        chosen["pseudopotentials"] = {symbol: files[symbol].file for symbol in more}
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


def read_header(path: Path) -> Pseudopotential | None:
    """Read the header of a UPF 2 file; None if it is something else."""
    try:
        stat = path.stat()
        return _header(path, stat.st_mtime_ns, stat.st_size)
    except OSError:
        return None


def headers(paths: Iterable[Path]) -> dict[str, PseudopotentialHeader]:
    """Return the headers of files by name, as far as they can be read."""
    return {
        file.file: PseudopotentialHeader(
            symbol=file.symbol[:10],
            kind=file.kind,
            ecutwfc=_suggested(file.ecutwfc),
            ecutrho=_suggested(file.ecutrho),
            usual=file.usual,
        )
        for file in map(read_header, paths)
        if file
    }


def _suggested(cutoff: float) -> float:
    """Return a cutoff in Ry that a file suggests; 0 if it is none that anybody can mean."""
    return cutoff if 0 < cutoff < 1e6 else 0.0


def from_headers(found: Mapping[str, PseudopotentialHeader]) -> list[Pseudopotential]:
    """Return what :func:`headers` was made of, by name of the file."""
    return [
        Pseudopotential(name, h.symbol, h.kind, h.ecutwfc, h.usual, h.ecutrho)
        for name, h in sorted(found.items())
    ]


@lru_cache(maxsize=16_384)
def _header(path: Path, mtime_ns: int, size: int) -> Pseudopotential | None:
    with path.open("rb") as file:
        text = file.read(_HEADER_BYTES).decode(errors="replace")
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
        ecutrho=float(number(header.get("rho_cutoff", "")) or 0),
    )
