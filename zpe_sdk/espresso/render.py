"""A pw.x input from ASE Atoms, written by ``ase.io.espresso``; isotopes and boxes are ours."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import kpts2sizeandoffsets
from ase.constraints import FixAtoms, FixCartesian
from ase.io.espresso import write_espresso_in
from ase.io.espresso_namelist.keys import ALL_KEYS
from numpy.typing import NDArray

from zpe_sdk.errors import InputError
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.namelist import apply, set_keys
from zpe_sdk.espresso.pseudopotentials import WHOLE, unnamed
from zpe_sdk.espresso.vacuum import VACUUM, emptiness, repeating

MARGIN = 4.0  # Å on each side of a molecule that comes without a cell: 8 Å to its image
# pw.x up to 7.2 wants the moment as a share of the valence electrons, later versions take that too. It is
# where the SCF starts, no more, and a share below 1 whatever the atom.
MOMENT_TO_SHARE = 10.0
# Keys of &SYSTEM that the structure itself decides, and what of it does.
_OF_ATOMS = {
    "nat": "number of atoms",
    "ntyp": "species",
    "starting_magnetization": "initial magnetic moments",
}


def render_input(
    atoms: Atoms,
    *,
    pseudopotentials: Mapping[str, str] | None = None,
    ecutwfc: float | None = None,
    ecutrho: float | None = None,
    kpts: str | Sequence[int] | Mapping[str, Any] | NDArray[np.float64] | None = None,
    koffset: Sequence[int] = (0, 0, 0),
    input_data: Mapping[str, Any] | None = None,
) -> str:
    """Return a pw.x input for a structure.

    Parameters
    ----------
    atoms
        The structure. ``FixAtoms`` becomes ``0 0 0`` flags, initial magnetic moments become species such as
        ``Fe`` and ``Fe1``, masses other than the standard ones (isotopes) species of their own. Directions
        without a cell get 4 Å of vacuum on both sides.
    pseudopotentials
        Chemical symbol -> file name.
    ecutwfc, ecutrho
        Cutoffs in Ry.
    kpts
        ``"gamma"``; a mesh of three numbers; a dict such as ``{"density": 3.5}``; or an array of shape
        (n, 4), crystal coordinates and weights. None: gamma, for a structure that repeats in no direction
        (:func:`zpe_sdk.espresso.vacuum.repeating`). A density is one along directions that repeat.
    koffset
        Shift of the mesh, 0 or 1 in each direction.
    input_data
        Further keys of pw.x, see :func:`by_namelist`. Initial charges of the Atoms have to add up to
        ``tot_charge``.

    Raises
    ------
    InputError
        Something is missing or cannot be written; ``field`` names it.
    """
    _check_atoms(atoms)
    files = _checked_files(atoms, pseudopotentials or {})
    for constraint in atoms.constraints:
        if not isinstance(constraint, FixAtoms | FixCartesian):
            raise _error(f"{type(constraint).__name__} has no flags in a pw.x input", "constraints")
    if kpts is None and repeating(atoms).any():
        raise _error("the structure repeats: give kpts, for example kpts='gamma'", "kpts")
    boxed = _in_a_cell(atoms)
    namelists = by_namelist(input_data or {})
    _check_system(namelists, atoms)
    for name, value in by_namelist({"ecutwfc": ecutwfc, "ecutrho": ecutrho})["system"].items():
        if value is not None and namelists.setdefault("system", {}).setdefault(name, value) != value:
            raise _error(f"{name} is given twice, by itself and in input_data", name)
    if not namelists.get("system", {}).get("ecutwfc"):
        raise _error("give ecutwfc, the cutoff of the wave functions in Ry", "ecutwfc")
    mesh, shift = _kpts(kpts, koffset, boxed)
    written = io.StringIO()
    try:
        write_espresso_in(
            written,
            boxed,
            input_data=namelists,
            pseudopotentials=files,
            kpts=mesh,
            koffset=shift,
            rescale_magmom_fac=MOMENT_TO_SHARE,
        )
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, AssertionError) as error:
        raise _error(f"ASE cannot write this as a pw.x input: {error!r}", "input_data") from error
    text = _with_isotopes(PwInput.parse(written.getvalue()), atoms.get_masses())
    PwInput.parse(text)
    return text


def by_namelist(input_data: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return keys of pw.x by namelist, all names in lower case.

    Parameters
    ----------
    input_data
        Keys as ASE takes them: ``{"vdw_corr": "dft-d3"}``, for those that it knows the namelist of;
        ``{"system": {"lda_plus_u": True}}`` for any.

    Raises
    ------
    InputError
        ``bad_structure``: ASE does not know a key, or one is there twice.
    """
    if not isinstance(input_data, Mapping):
        raise _error(f"give a dict of pw.x's keys, not {input_data!r}", "input_data")
    found: dict[str, dict[str, Any]] = {}
    whole = [str(name).lower() for name, value in input_data.items() if isinstance(value, Mapping)]
    for name in whole:
        if whole.count(name) > 1:
            raise _error(f"the namelist {name} is there twice", "input_data")
    for name, value in input_data.items():
        nested = isinstance(value, Mapping)
        keys = found.setdefault(str(name).lower() if nested else _namelist_of(str(name)), {})
        for key, content in value.items() if nested else [(name, value)]:
            if str(key).lower() in keys:
                raise _error(f"{key} is there twice", "input_data")
            # The repr of numpy's numbers, which ASE writes, is not how Fortran has them.
            keys[str(key).lower()] = content.item() if isinstance(content, np.generic) else content
    return found


def _namelist_of(key: str) -> str:
    # ASE drops a key that it does not know and says nothing.
    for namelist, keys in ALL_KEYS["pw"].items():
        if key.partition("(")[0].strip().lower() in keys:
            return str(namelist)
    raise _error(
        f'ASE knows no key {key} of pw.x: name its namelist, {{"system": {{"{key}": …}}}} takes any key',
        "input_data",
    )


def _check_atoms(atoms: Atoms) -> None:
    if not len(atoms):
        raise _error("the structure has no atoms", "structure")
    if not np.all(np.isfinite(atoms.positions)):
        raise _error("the positions of the atoms are not all finite numbers", "positions")
    if not np.all(np.isfinite(atoms.cell)):
        raise _error("the cell vectors are not all finite numbers", "cell")
    if np.ndim(atoms.get_initial_magnetic_moments()) != 1:
        raise _error("a pw.x input of Atoms has collinear moments only, one number each", "initial_magmoms")


def _checked_files(atoms: Atoms, files: Mapping[str, str]) -> dict[str, str]:
    if not isinstance(files, Mapping):
        raise _error(f'give a dict such as {{"H": "H.UPF"}}, not {files!r}', "pseudopotentials")
    for symbol in sorted(set(atoms.get_chemical_symbols())):
        if symbol not in files:
            raise unnamed([symbol])
    return dict(files)


def _check_system(namelists: Mapping[str, Mapping[str, Any]], atoms: Atoms) -> None:
    """Refuse keys of &SYSTEM that contradict the structure."""
    system = namelists.get("system", {})
    for key in system:
        if part := _OF_ATOMS.get(key.partition("(")[0].strip()):
            raise _error(f"{key} follows from the {part} of the Atoms: leave it out", "input_data")
    if system.get("ibrav", 0) != 0:
        raise _error("the cell is that of the Atoms: leave ibrav out", "input_data")
    charge, total = float(atoms.get_initial_charges().sum()), system.get("tot_charge", 0)
    agree = isinstance(total, int | float) and abs(charge - total) <= WHOLE
    if not agree and not abs(charge) <= WHOLE:
        raise _error(
            f"the initial charges of the Atoms add up to {charge:g}, but tot_charge is {total}: "
            "mend the one that is not meant",
            "initial_charges",
        )


def _in_a_cell(atoms: Atoms) -> Atoms:
    missing = [axis for axis in range(3) if not np.any(atoms.cell[axis])]
    if any(atoms.pbc[axis] for axis in missing):
        raise _error("the structure is periodic along a direction without a cell vector", "cell")
    boxed = atoms.copy()
    if missing:
        boxed.center(vacuum=MARGIN, axis=missing)
    # To pw.x everything repeats: what is not meant to has to be alone.
    for axis in np.flatnonzero(~boxed.pbc).tolist():
        empty = emptiness(boxed.positions, boxed.cell.array, axis)
        if empty < VACUUM:
            raise _error(
                f"the structure does not repeat along axis {axis} (pbc), but its image is only {empty:.1f} Å "
                f"away there: make it {VACUUM:g} at least, as with atoms.center(vacuum=4, axis={axis}), "
                "or set pbc",
                "cell",
            )
    return boxed


def _kpts(kpts: Any, koffset: Any, atoms: Atoms) -> tuple[Any, tuple[int, ...]]:
    """Return k-points and shift as ASE takes them; to it, None is the gamma point."""
    shift = _whole(koffset)
    if shift is None or not set(shift) <= {0, 1}:
        raise _error(f"koffset = {koffset!r}: give three numbers, each 0 or 1", "koffset")
    if kpts is None or (isinstance(kpts, str) and kpts == "gamma"):
        return None, shift
    try:
        if isinstance(kpts, Mapping):
            sampled = atoms.copy()
            sampled.pbc = repeating(atoms)
            kpts_, offsets = kpts2sizeandoffsets(atoms=sampled, **kpts)
            shift = tuple(int(x != 0) for x in offsets)
        else:
            kpts_ = kpts
        points = np.asarray(kpts_, dtype=np.float64)
    except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError):
        points = np.empty(0)
    if points.ndim == 2 and points.shape[1] == 4:
        return points, shift
    mesh = _whole(points)
    if mesh is None:
        raise _error(
            f"kpts = {kpts!r}: give 'gamma', a mesh of three whole numbers, a dict such as "
            '{"density": 3.5}, or an array with three coordinates and a weight in each row',
            "kpts",
        )
    return list(mesh), shift


def _whole(values: Any) -> tuple[int, ...] | None:
    """Return three whole numbers; None if that is not what they are."""
    found = np.asarray(values)
    if found.shape != (3,) or found.dtype.kind not in "iuf" or not np.all(np.isfinite(found)):
        return None
    if np.any(found != np.round(found)):
        return None
    return tuple(int(x) for x in found)


def _with_isotopes(pw_input: PwInput, masses: NDArray[np.float64]) -> str:
    """Give atoms whose mass is not that of their species a species of their own."""
    by_label = {species.label: species for species in pw_input.species}
    system = pw_input.namelists["system"]
    moments = list(system.get("starting_magnetization", []))
    labels: dict[tuple[str, float], str] = {
        (label, species.mass): label for label, species in by_label.items()
    }
    rows = pw_input.cards["ATOMIC_POSITIONS"].rows
    lines: list[str] = []
    keys: dict[str, object] = {}
    edits = []
    for row, label, mass in zip(rows, pw_input.labels, masses, strict=False):
        # ASE gives every species the mass of its first atom.
        if (label, float(mass)) not in labels:
            species = by_label[label]
            symbol = label.rstrip("0123456789")
            number = next(n for n in range(1, 1000) if f"{symbol}{n}" not in labels.values())
            labels[label, float(mass)] = f"{symbol}{number}"
            lines.append(f"{symbol}{number} {float(mass)!r} {species.pseudopotential}\n")
            place = pw_input.species.index(species)
            if place < len(moments):
                keys[f"starting_magnetization({len(labels)})"] = moments[place]
        new = labels[label, float(mass)]
        if new != label:
            edits.append((*row.spans[0], new))
    if not lines:
        return pw_input.text
    last = pw_input.cards["ATOMIC_SPECIES"].rows[len(by_label) - 1]
    end = pw_input.text.index("\n", last.spans[-1][1]) + 1
    edits.append((end, end, "".join(lines)))
    edits += set_keys(pw_input.text, pw_input.groups["system"], {"ntyp": len(labels), **keys})
    return apply(pw_input.text, edits)


def _error(message: str, field: str) -> InputError:
    return InputError(message, code="bad_structure", field=field)
