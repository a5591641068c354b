"""A free molecule: its atoms in one piece, its spin, the kind of rotor that it is, its symmetry number."""

from __future__ import annotations

from itertools import permutations
from typing import Literal

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from zpe_sdk.errors import InputError
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.result.data import ResultData
from zpe_sdk.vibrations.kinds import LINEAR_SHARE
from zpe_sdk.vibrations.molecule import find_molecule
from zpe_sdk.wire import ZPEResultDocument

Geometry = Literal["monatomic", "linear", "nonlinear"]
Array = NDArray[np.float64]

UNPAIRED = 0.1  # Bohr magnetons; a total magnetisation this near to a whole number is one
# tot_magnetization where it is not given, as older and newer pw.x have it.
UNSET_MAGNETIZATION = (-1, -10000)
_SAME = 0.1  # Å; a turned molecule whose atoms are this near to where others were is the same


def gas_molecule(result: ResultData) -> Atoms:
    """Return the molecule in one piece, without its box.

    Raises
    ------
    InputError
        ``no_molecule``: atoms are fixed, or it repeats.
    """
    document = result.document
    molecule = find_molecule(document.symbols, np.array(document.positions), np.array(document.cell))
    if molecule is None or len(document.mobile_indices) < len(document.symbols):
        raise InputError(
            "an ideal gas is made of molecules: all atoms mobile, and no bonds to periodic images",
            code="no_molecule",
            field="model",
        )
    return Atoms(document.symbols, molecule.positions, masses=result.atoms.get_masses())


def electronic_spin(document: ZPEResultDocument) -> float:
    """Return the total electronic spin: half the number of unpaired electrons.

    That number is the total magnetisation that pw.x reports, or else ``tot_magnetization`` of the input.
    Without spin polarisation it is 0, be the number of electrons odd or even.

    Raises
    ------
    InputError
        ``bad_spin``: neither tells, or the magnetisation is not that of whole electrons.
    """
    # A document that was not made from an input has none.
    system = PwInput.parse(document.pw_input).namelists["system"] if document.pw_input else {}
    unpaired = document.total_magnetization
    if unpaired is None:
        if system.get("nspin", 1) == 1 and not system.get("noncolin", False):
            return 0.0
        unpaired = system.get("tot_magnetization")
        if not isinstance(unpaired, int | float) or unpaired in UNSET_MAGNETIZATION:
            raise InputError(
                "the calculation is spin-polarised and nothing says how many electrons are unpaired: give "
                "spin=, half their number",
                code="bad_spin",
                field="spin",
            )
    whole = round(abs(unpaired))
    if abs(abs(unpaired) - whole) > UNPAIRED:
        raise InputError(
            f"the total magnetisation is {unpaired:g} Bohr magnetons, no whole number of unpaired electrons: "
            "give spin=, half their number",
            code="bad_spin",
            field="spin",
        )
    return whole / 2


def geometry(molecule: Atoms) -> Geometry:
    """Tell the kind of rotor: ``monatomic``, ``linear`` or ``nonlinear``."""
    if len(molecule) == 1:
        return "monatomic"
    moments = molecule.get_moments_of_inertia()
    return "linear" if moments[0] < LINEAR_SHARE * moments[2] else "nonlinear"


def count_rotations(molecule: Atoms) -> int:
    """Return the symmetry number: how many rotations take the molecule to itself, isotopes included."""
    masses = molecule.get_masses()
    places = molecule.positions - molecule.get_center_of_mass()
    kinds = list(zip(molecule.numbers.tolist(), np.round(masses, 3).tolist(), strict=True))
    if len(molecule) == 1:
        return 1
    if geometry(molecule) == "linear":
        return 2 if _maps(-np.eye(3), places, kinds) else 1
    # Two atoms that are not in line with the centre say how the molecule is turned: see where they can go.
    first = int(np.argmax(np.linalg.norm(places, axis=1)))
    second = int(np.argmax(np.linalg.norm(np.cross(places, places[first]), axis=1)))
    frame = _frame(places[first], places[second])
    found: list[Array] = []
    for i, j in permutations(range(len(molecule)), 2):
        if kinds[i] != kinds[first] or kinds[j] != kinds[second]:
            continue
        if np.linalg.norm(np.cross(places[i], places[j])) < _SAME**2:
            continue
        rotation = _frame(places[i], places[j]).T @ frame
        if _maps(rotation, places, kinds) and not any(np.allclose(rotation, r, atol=0.05) for r in found):
            found.append(rotation)
    return len(found)


def _frame(first: Array, second: Array) -> Array:
    """Return three orthonormal rows, made from two vectors."""
    x = first / np.linalg.norm(first)
    z = np.cross(first, second)
    z = z / np.linalg.norm(z)
    return np.array([x, np.cross(z, x), z])


def _maps(rotation: Array, places: Array, kinds: list[tuple[int, float]]) -> bool:
    apart = np.linalg.norm((places @ rotation.T)[:, None] - places[None], axis=2)
    nearest = np.argmin(apart, axis=1)
    return bool(np.all(apart[np.arange(len(places)), nearest] < _SAME)) and all(
        kinds[i] == kinds[j] for i, j in enumerate(nearest)
    )
