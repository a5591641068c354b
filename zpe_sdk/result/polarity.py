"""Dipole and polar tensors of a job, from what its SCFs report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zpe_sdk.vibrations.analysis import Structure
from zpe_sdk.vibrations.intensities import obeying_sum_rule, polar_tensors, sum_rule_residual
from zpe_sdk.vibrations.molecule import find_molecule
from zpe_sdk.vibrations.plan import Plan
from zpe_sdk.wire import TaskReport

Array = NDArray[np.float64]

# e; what the tensors may miss of their sum rule before it is told.
RESIDUAL = 0.05


@dataclass(frozen=True)
class Polarity:
    """What the dipoles of all SCFs of a job come to.

    Attributes
    ----------
    dipole
        Of the equilibrium in e Å, shape (3,); None if it is not known.
    tensors
        Atomic polar tensors of the mobile atoms in e, shape (M, 3, 3); None if a dipole is not known.
    residual
        What the tensors as measured miss of their sum rule, in e; None where atoms are held.
    """

    dipole: Array | None
    tensors: Array | None
    residual: float | None

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of a result document, by name."""
        return {
            "dipole_e_ang": None if self.dipole is None else self.dipole.tolist(),
            "born_charges": None if self.tensors is None else np.round(self.tensors, 8).tolist(),
        }

    @property
    def warnings(self) -> list[str]:
        """What is to be told of it."""
        if self.residual is None or self.residual <= RESIDUAL:
            return []
        return [
            f"the dipole derivatives miss their sum rule by {self.residual:.2f} e, which is shared out among "
            "the atoms: intensities are good to some percent only. A larger box or a higher ecutrho is better"
        ]


def polarity(plan: Plan, reports: Mapping[int, TaskReport], structure: Structure, charge: float) -> Polarity:
    """Return dipole and polar tensors.

    Parameters
    ----------
    plan, reports
        The plan of a job, and the outcomes of its SCFs by task index.
    structure
        Its atoms.
    charge
        Of the cell in e.
    """
    dipoles = {index: report.dipole_e_ang for index, report in reports.items()}
    known = {index: dipole for index, dipole in dipoles.items() if dipole is not None}
    dipole = np.array(known[0]) if 0 in known else None
    if len(known) < len(plan.displacements):
        return Polarity(dipole, None, None)
    tensors = polar_tensors(plan, known)
    # Of a charged slab only the row along the normal is known, and the rule is about all three.
    if not structure.is_free or (charge and not _is_molecule(structure)):
        return Polarity(dipole, tensors, None)
    residual = float(np.abs(sum_rule_residual(tensors, charge)).max())
    return Polarity(dipole, obeying_sum_rule(tensors, charge), residual)


def _is_molecule(structure: Structure) -> bool:
    return find_molecule(structure.symbols, structure.positions, structure.cell) is not None
