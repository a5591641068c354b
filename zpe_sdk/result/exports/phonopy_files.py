"""Files of phonopy: ``phonopy.yaml`` and ``FORCE_SETS``."""

from __future__ import annotations

import numpy as np

from zpe_sdk.errors import InputError
from zpe_sdk.result.data import ResultData


def phonopy_yaml(result: ResultData) -> str:
    """Return the cell of a calculation as phonopy knows it; the calculation's own cell is its supercell.

    With ``FORCE_SETS`` beside it, ``phonopy.load("phonopy.yaml", force_sets_filename="FORCE_SETS")`` has
    the force constants. Lengths are in Å, masses in u.
    """
    atoms = result.atoms
    lines = [
        "phonopy:",
        '  version: "2.0"',
        "physical_unit:",
        '  atomic_mass: "AMU"',
        '  length: "angstrom"',
        '  force_constants: "eV/angstrom^2"',
        "primitive_matrix:",
        *_rows(np.eye(3)),
        "supercell_matrix:",
        *_rows(np.eye(3, dtype=int)),
    ]
    for cell in ("primitive_cell", "unit_cell", "supercell"):
        lines += [f"{cell}:", "  lattice:", *("  " + row for row in _rows(atoms.cell[:])), "  points:"]
        for n, (symbol, place, mass) in enumerate(
            zip(
                atoms.get_chemical_symbols(),
                atoms.get_scaled_positions(wrap=False),
                atoms.get_masses(),
                strict=True,
            ),
            start=1,
        ):
            lines += [f"  - symbol: {symbol}", f"    coordinates: {_list(place)}", f"    mass: {mass:.6f}"]
            lines += [] if cell == "primitive_cell" else [f"    reduced_to: {n}"]
    return "\n".join(lines) + "\n"


def force_sets(result: ResultData) -> str:
    """Return a ``FORCE_SETS``: for displacements of each atom along x, y and z, the forces of the Hessian.

    The forces (eV/Å) are F = −H d for d of ``document.delta`` (Å), not those of the SCFs, which were fewer.

    Raises
    ------
    InputError
        ``atoms_fixed``: phonopy takes the forces on all atoms, and of fixed ones they are not known.
    """
    document, nat = result.document, len(result.document.symbols)
    if document.mobile_indices != list(range(nat)):
        raise InputError(
            "phonopy takes the force constants of all atoms; some are fixed here",
            code="atoms_fixed",
            field="mobile_indices",
        )
    hessian = result.hessian.reshape(nat, 3, nat, 3)
    lines = [str(nat), str(3 * nat)]
    for atom in range(nat):
        for axis in range(3):
            step = document.delta * np.eye(3)[axis]
            lines += ["", str(atom + 1), _numbers(step)]
            lines += [_numbers(force) for force in -document.delta * hessian[atom, axis]]
    return "\n".join(lines) + "\n"


def _rows(matrix: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> list[str]:
    return [f"- {_list(row)}" for row in matrix]


def _list(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    return "[" + ", ".join(f"{value:.15g}" for value in values) + "]"


def _numbers(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    return " ".join(f"{value:.16f}" for value in values)
