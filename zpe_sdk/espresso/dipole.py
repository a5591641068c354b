"""The dipole moment of a cell, from the density that an SCF leaves behind.

The dipole is that of the ions minus that of the electrons, both taken between two planes that cut the cell in
the vacuum. With s the coordinate along a lattice vector, from -1/2 to 1/2 between the planes, the electrons
have ∫ρ(r) s d³r, for which the plane waves along that one reciprocal vector b suffice:

    ∫ρ(r) s d³r = Ω Σ_{n>0} (-1)ⁿ/(πn) Im[ρ(nb) exp(2πi n s₀)],    s₀ the middle between the planes,

since the sawtooth s has the Fourier coefficients (-1)ⁿ i/(2πn). The integral is exact for the density that
pw.x has, augmentation charges of ultrasoft and PAW pseudopotentials included, which keep the moments of what
they stand for (P. E. Blöchl, Phys. Rev. B 50, 17953 (1994)).

Where no plane is free of electrons there is no dipole along that direction: a crystal has none, a slab that
of its normal alone (R. D. King-Smith, D. Vanderbilt, Phys. Rev. B 47, 1651 (1993)).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase.data import atomic_masses, atomic_numbers
from ase.units import Bohr
from numpy.typing import NDArray

from zpe_sdk.errors import ComputeError
from zpe_sdk.espresso.fortran import real
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.patch import displaced
from zpe_sdk.espresso.plane_waves import PlaneWaves, find
from zpe_sdk.task import Task

Array = NDArray[np.float64]
Indices = NDArray[np.int32]

# e; by how much, in e Å, the dipole changes for each Å by which the plane is shifted: the electrons on it.
# CO2 in a box of 6 Å has 0.1, graphite between its layers 1.1, and a vacuum of 8 Å less than 0.001.
VACUUM = 0.3
# e; by how much ions and electrons may miss the charge of the cell: less than any ion that is left out.
CHARGE = 1e-3
_VALENCES = re.compile(
    r"^ +atomic species +valence +mass +pseudopotential *\n((?: +\S+ +\d+\.\d+ +\d+\.\d+ .*\n)+)", re.M
)


@dataclass(frozen=True)
class AxialDensity:
    """The Fourier coefficients of a density along the three reciprocal lattice vectors.

    Attributes
    ----------
    mean
        ρ(0), in electrons per bohr³.
    coefficients
        ρ(nb) for n = 1, 2, … along each of the vectors b, complex.
    """

    mean: float
    coefficients: tuple[NDArray[np.complex128], NDArray[np.complex128], NDArray[np.complex128]]


def cell_dipole(
    density: AxialDensity,
    valences: Sequence[float],
    symbols: Sequence[str],
    positions: Array,
    cell: Array,
    *,
    at_rest: Array,
    charge: float = 0.0,
) -> Array | None:
    """Return the dipole moment of a cell in e Å, shape (3,), or None for a crystal.

    Of a slab it is the component along the normal, of a chain those across it; the others are 0.

    Parameters
    ----------
    density
        Of the SCF, see :func:`read_density`.
    valences
        Charge of each ion (nucleus and core electrons), shape (nat,), see :func:`read_valences`.
    symbols
        Chemical symbol of each atom.
    positions
        Of the atoms of this SCF in Å, shape (nat, 3).
    cell
        Lattice vectors in Å, one per row, shape (3, 3).
    at_rest
        Positions of the atoms before any was displaced, in Å, shape (nat, 3). They decide where the cell is
        cut, and the dipole of a charged cell is that about their centre of mass (of the standard masses): all
        SCFs of a plan have both in common.
    charge
        Of the cell, in e.

    Raises
    ------
    ComputeError
        ``density_unreadable``: ions and electrons do not make the charge of the cell.
    """
    bohr_volume = float(abs(np.linalg.det(cell)) / Bohr**3)
    electrons = density.mean * bohr_volume
    found = float(np.sum(valences)) - electrons
    if abs(found - charge) > CHARGE:
        raise ComputeError(
            f"ions and electrons make a charge of {found:.4f}, not {charge:g}", code="density_unreadable"
        )
    to_scaled = np.linalg.inv(cell)
    rest, moved = at_rest @ to_scaled, positions @ to_scaled
    masses = atomic_masses[[atomic_numbers[symbol] for symbol in symbols]]
    along, moments = [], []
    for axis, coefficients in enumerate(density.coefficients):
        middle = _middle(rest[:, axis])
        orders = np.arange(1, len(coefficients) + 1)
        signs = (-1.0) ** orders
        turned = coefficients * np.exp(2j * np.pi * orders * middle)
        at_cut = density.mean + 2 * float(np.sum(signs * turned.real))
        if abs(at_cut) * bohr_volume > VACUUM:
            continue
        electronic = bohr_volume * float(np.sum(signs / (np.pi * orders) * turned.imag))
        ionic = float(np.dot(valences, _within(moved[:, axis] - middle)))
        centre = float(masses @ _within(rest[:, axis] - middle) / masses.sum())
        along.append(to_scaled[:, axis])
        moments.append(ionic - electronic - charge * centre)
    if not along:
        return None
    # The component along each reciprocal vector is known; in the directions across all of them it is 0.
    dipole: Array = np.linalg.pinv(np.array(along)) @ np.array(moments)
    return dipole


def run_dipole(pw_input: PwInput, task: Task, save: Path, valences: Sequence[float]) -> Array | None:
    """Return the dipole of the cell after the SCF of a task in e Å, shape (3,), or None for a crystal.

    Parameters
    ----------
    pw_input, task
        The job's input and the task.
    save
        The folder that pw.x has left.
    valences
        Charges of the ions by species, in the order of the input.

    Raises
    ------
    ComputeError
        ``density_unreadable``.
    """
    if len(valences) != len(pw_input.species):
        raise ComputeError("pw.x did not print the valences of all species", code="density_unreadable")
    by_label = {species.label: value for species, value in zip(pw_input.species, valences, strict=True)}
    charge = pw_input.namelists["system"].get("tot_charge", 0.0)
    return cell_dipole(
        read_density(save),
        [by_label[label] for label in pw_input.labels],
        pw_input.symbols,
        displaced(pw_input, task),
        pw_input.cell,
        at_rest=pw_input.positions,
        charge=float(charge) if isinstance(charge, int | float) else 0.0,
    )


def read_density(save: Path) -> AxialDensity:
    """Read what :func:`cell_dipole` needs from pw.x's ``.save`` folder.

    Parameters
    ----------
    save
        The folder, with the density as plane waves, in Fortran's binary format or in HDF5.

    Raises
    ------
    ComputeError
        ``density_unreadable``: there is no density, or not one of a format known here; to read HDF5 takes the
        package h5py.
    """
    try:
        density = PlaneWaves.read(find(save))
        return _axial(density.millers, density.rows[0])
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ComputeError(
            f"the density that pw.x left cannot be read: {error}", code="density_unreadable"
        ) from None


def read_valences(stdout: str) -> list[float]:
    """Return the charges of the ions as pw.x prints them, by species, in the order of ATOMIC_SPECIES.

    Empty if pw.x was cut off before it came to print them.
    """
    table = _VALENCES.search(stdout)
    return [real(line.split()[1]) for line in table[1].splitlines()] if table else []


def _middle(scaled: Array) -> float:
    """Return the middle of the atoms along an axis, 1/2 away from the middle of the widest gap."""
    places = np.sort(scaled % 1.0)
    gaps = np.diff(np.append(places, places[0] + 1))
    widest = int(np.argmax(np.round(gaps, 6)))
    return float(places[widest] + gaps[widest] / 2 + 0.5)


def _within(apart: Array) -> Array:
    """Return the images of coordinates that are from -1/2 to 1/2."""
    return apart - np.rint(apart)


def _axial(miller: Indices, values: NDArray[np.complex128]) -> AxialDensity:
    """Sort out the plane waves along the axes; of G and -G, which are conjugate, one may be missing."""
    lines = []
    zero = miller == 0
    (mean,) = values[zero.all(axis=1)].real
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        on_axis = zero[:, others].all(axis=1) & ~zero[:, axis]
        orders, found = miller[on_axis, axis], values[on_axis]
        line = np.zeros(np.abs(orders).max(initial=0), dtype=np.complex128)
        line[np.abs(orders) - 1] = np.where(orders > 0, found, found.conj())
        lines.append(line)
    return AxialDensity(float(mean), (lines[0], lines[1], lines[2]))
