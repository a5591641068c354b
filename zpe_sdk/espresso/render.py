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
from numpy.typing import NDArray

from zpe_sdk.errors import InputError
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.namelist import apply, set_keys

VACUUM = 4.0  # Å on each side of a molecule that comes without a cell: 8 Å to its image
# pw.x up to 7.2 wants the moment as a share of the valence electrons, later versions take that too. It is
# where the SCF starts, no more, and a share below 1 whatever the atom.
MOMENT_TO_SHARE = 10.0


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
        (n, 4), crystal coordinates and weights. None: gamma, for a structure that repeats in no direction.
    koffset
        Shift of the mesh, 0 or 1 in each direction.
    input_data
        Further keys of pw.x, flat or by namelist, as ASE takes them.

    Raises
    ------
    InputError
        Something is missing or cannot be written; ``field`` names it.
    """
    symbols = list(atoms.get_chemical_symbols())
    for symbol in sorted(set(symbols)):
        if symbol not in (pseudopotentials or {}):
            raise _error(f"name the pseudopotential file of {symbol}", "pseudopotentials")
    for constraint in atoms.constraints:
        if not isinstance(constraint, FixAtoms | FixCartesian):
            raise _error(f"{type(constraint).__name__} has no flags in a pw.x input", "constraints")
    if kpts is None and atoms.pbc.any():
        raise _error("the structure is periodic: give kpts, be it kpts='gamma'", "kpts")
    boxed = _in_a_cell(atoms)
    written = io.StringIO()
    try:
        mesh, shift = _kpts(kpts, koffset, boxed)
        write_espresso_in(
            written,
            boxed,
            input_data=_with_cutoffs(input_data or {}, ecutwfc=ecutwfc, ecutrho=ecutrho),
            pseudopotentials=dict(pseudopotentials or {}),
            kpts=mesh,
            koffset=shift,
            rescale_magmom_fac=MOMENT_TO_SHARE,
        )
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, AssertionError) as error:
        raise _error(f"ASE cannot write this as a pw.x input: {error!r}", "input_data") from error
    text = _with_isotopes(PwInput.parse(written.getvalue()), atoms.get_masses())
    PwInput.parse(text)
    return text


def _in_a_cell(atoms: Atoms) -> Atoms:
    missing = [axis for axis in range(3) if not np.any(atoms.cell[axis])]
    if any(atoms.pbc[axis] for axis in missing):
        raise _error("the structure is periodic along a direction without a cell vector", "cell")
    boxed = atoms.copy()
    if missing:
        boxed.center(vacuum=VACUUM, axis=missing)
    return boxed


def _with_cutoffs(input_data: Mapping[str, Any], **cutoffs: float | None) -> dict[str, Any]:
    """Return keys for ASE, flat or by namelist as they came, with the cutoffs among them."""
    given = {name: value for name, value in cutoffs.items() if value is not None}
    if not any(isinstance(value, Mapping) for value in input_data.values()):
        return {**input_data, **given}
    nested = {name.lower(): dict(keys) for name, keys in input_data.items()}
    nested["system"] = {**nested.get("system", {}), **given}
    return nested


def _kpts(kpts: Any, koffset: Sequence[int], atoms: Atoms) -> tuple[Any, tuple[int, ...]]:
    """Return k-points and shift as ASE takes them; to it, None is the gamma point."""
    shift = tuple(int(x) for x in koffset)
    if isinstance(kpts, str) and kpts != "gamma":
        raise _error(f"kpts = {kpts!r}: give 'gamma', a mesh, a density or a list", "kpts")
    if kpts is None or isinstance(kpts, str):
        return None, shift
    if isinstance(kpts, Mapping):
        mesh, offsets = kpts2sizeandoffsets(atoms=atoms, **kpts)
        return [int(n) for n in mesh], tuple(int(x != 0) for x in offsets)
    values = np.asarray(kpts)
    return ([int(x) for x in values] if values.ndim == 1 else values), shift


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
