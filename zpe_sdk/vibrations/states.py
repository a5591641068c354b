"""Whether all SCFs of a plan ended in one electronic state.

An SCF may converge to another magnetic or orbital state than that of the equilibrium. Its forces are right
for that state, and wrong for the Hessian. Its energy and its magnetisation tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from zpe_sdk.vibrations.hessian import Forces
from zpe_sdk.vibrations.plan import Plan

# How far an energy may be from what the forces say, per Å of displacement: grids and pseudopotentials leave
# up to 0.005 eV/Å between energy and forces of one state, measured at low cutoffs (docs/formulas.md).
MISFIT_EV_ANG = 0.03
# The third order, c d³/12, as a multiple of d · (k d²): c/k is 3a for a Morse potential, with a around 2 / Å.
ANHARMONICITY = 3.0  # 1/Å
ENERGY_NOISE_EV = 1e-4
# Bohr magnetons: an own part, since pw.x prints two digits, and a share of what there is.
MOMENT_NOISE = 0.05
MOMENT_SHARE = 0.01


@dataclass(frozen=True)
class Moments:
    """Total and absolute magnetisation of an SCF, in Bohr magnetons per cell."""

    total: float
    absolute: float


@dataclass(frozen=True)
class StateChange:
    """An SCF that did not end in the equilibrium's electronic state.

    Attributes
    ----------
    task
        Its index in the plan.
    energy_ev, expected_ev
        Its energy, and the one that the energy at the equilibrium and the forces lead to.
    moments, rest_moments
        Its magnetisation and the equilibrium's; None without spin.
    """

    task: int
    energy_ev: float
    expected_ev: float
    moments: Moments | None = None
    rest_moments: Moments | None = None

    @property
    def sentence(self) -> str:
        """What differs, with both energies."""
        apart = self.energy_ev - self.expected_ev
        told = (
            f"the SCF of displacement {self.task} ended at {self.energy_ev:.6f} eV, "
            f"{1000 * abs(apart):.1f} meV {'above' if apart > 0 else 'below'} the {self.expected_ev:.6f} eV "
            "that the equilibrium's energy and the forces lead to"
        )
        if self.moments and self.rest_moments:
            told += (
                f"; magnetisation {self.moments.total:.2f} (absolute {self.moments.absolute:.2f}) Bohr "
                f"magnetons, {self.rest_moments.total:.2f} ({self.rest_moments.absolute:.2f}) at the "
                "equilibrium"
            )
        return told


def state_changes(
    plan: Plan, energies: Mapping[int, float], forces: Forces, moments: Mapping[int, Moments]
) -> list[StateChange]:
    """Return the SCFs that did not end in the electronic state of the equilibrium.

    Parameters
    ----------
    plan
        The plan whose SCFs were run.
    energies
        By task index, in eV.
    forces
        By task index, on all atoms in eV/Å, shape (nat, 3).
    moments
        By task index; SCFs without spin have none.

    Notes
    -----
    On one energy surface, E(d) = E(0) − ½ (F(0) + F(d))·d + c d³/12 + O(d⁴): the trapezoidal rule for the
    work of the forces, exact for a harmonic surface. Magnetisations count without their sign: turning all
    spins around changes neither energy nor forces.
    """
    rest = np.asarray(forces[0], dtype=float)
    found = []
    for task in plan.displacements[1:]:
        assert task.atom is not None
        step = np.array(task.displacement)
        before = rest[task.atom] @ step
        after = np.asarray(forces[task.index], dtype=float)[task.atom] @ step
        expected = energies[0] - float(before + after) / 2
        length = float(np.linalg.norm(step))
        tolerance = ENERGY_NOISE_EV + length * (MISFIT_EV_ANG + ANHARMONICITY * abs(float(after - before)))
        energy = energies[task.index]
        there, at_rest = moments.get(task.index), moments.get(0)
        if abs(energy - expected) > tolerance or _differ(there, at_rest):
            found.append(StateChange(task.index, energy, expected, there, at_rest))
    return found


def _differ(one: Moments | None, other: Moments | None) -> bool:
    if one is None or other is None:
        return False
    allowed = MOMENT_NOISE + MOMENT_SHARE * other.absolute
    return abs(abs(one.total) - abs(other.total)) > allowed or abs(one.absolute - other.absolute) > allowed
