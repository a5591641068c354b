"""A relaxation: the structures on its way, their energies and largest forces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from numpy.typing import NDArray

from zpe_sdk.errors import InputError
from zpe_sdk.result.plots import drawing
from zpe_sdk.result.structure_text import ENDINGS
from zpe_sdk.wire import RelaxationRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]


class Relaxation:
    """The way of a relaxation, from the structure as given to its last one.

    Parameters
    ----------
    record
        Its steps, and how it ended.
    atoms
        The structure with flags and moments; each step has other positions.
    mock
        Whether its forces are those of springs, which all that is shown of it says.
    """

    def __init__(self, record: RelaxationRecord, atoms: Atoms, *, mock: bool) -> None:
        self._record = record
        self._atoms = atoms
        self._of = ("MOCK " if mock else "") + str(atoms.get_chemical_formula())

    @property
    def reason(self) -> str:
        """Why it ended: ``converged``, ``steps``, ``stuck`` or ``atom_lost``."""
        return self._record.reason

    @property
    def converged(self) -> bool:
        """Whether the forces are as small as was asked for."""
        return self._record.reason == "converged"

    @property
    def energies(self) -> Array:
        """Energy of each step in eV, shape (steps,)."""
        return np.array([step.energy_ev for step in self._record.steps])

    @property
    def max_forces(self) -> Array:
        """Largest force of each step in eV/Å, on an atom, of what is free to move; shape (steps,)."""
        return np.array([step.max_force_ev_ang for step in self._record.steps])

    @property
    def trajectory(self) -> list[Atoms]:
        """The structure of each step, with its energy (eV) and forces (eV/Å) as ASE keeps them."""
        found = []
        for step in self._record.steps:
            atoms = self._atoms.copy()
            atoms.set_positions(step.positions, apply_constraint=False)
            atoms.calc = SinglePointCalculator(
                atoms,
                energy=step.energy_ev,
                forces=np.array(step.forces_ev_ang),
                magmom=step.total_magnetization,
            )
            found.append(atoms)
        return found

    def write(self, file: Path | str) -> None:
        """Write all steps through ASE: ``.extxyz``, ``.traj`` or whatever else holds several structures.

        Raises
        ------
        InputError
            ``file_unwritable``: the folder is not there, or ASE knows no such format.
        """
        from ase.io import write  # slow to import

        try:
            write(file, self.trajectory)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{file} cannot be written: {error}", code="file_unwritable", field="file"
            ) from error

    def plot(self, *, axes: Axes | None = None) -> Axes:
        """Draw how the energy falls and the largest force gets small; needs matplotlib.

        Parameters
        ----------
        axes
            Where to draw; default: a new figure.
        """
        axes = drawing(axes)
        steps = np.arange(len(self.energies))
        axes.plot(steps, 1000 * (self.energies - self.energies[-1]), "o-", color="tab:blue")
        axes.set_xlabel("step")
        axes.set_ylabel("energy above the last / meV", color="tab:blue")
        axes.locator_params(axis="x", integer=True)
        forces = axes.twinx()
        forces.semilogy(steps, np.maximum(self.max_forces, 1e-6), "s--", color="tab:red")
        forces.set_ylabel("largest force / (eV/Å)", color="tab:red")
        axes.set_title(f"{self._of}: {ENDINGS[self._record.reason]}")
        return axes

    def __repr__(self) -> str:
        return f"<Relaxation {self._of}: {self._told()}>"

    def _told(self) -> str:
        return f"{len(self._record.steps)} steps, largest force {self.max_forces[-1]:.4f} eV/Å, {self.reason}"
