"""Springs that pull a structure to the bond lengths of the covalent radii, for relaxations without pw.x.

Bonds are the pairs of atoms that the input's structure has within ``BOND`` of the sum of their covalent
radii. Each step depends on the input and the present positions alone, so that whoever goes on takes the same
path.
"""

from __future__ import annotations

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from ase.neighborlist import primitive_neighbor_list
from numpy.typing import NDArray

from zpe_sdk.espresso.input import PwInput

BOND = 1.5
STIFFNESS = 30.0  # eV/Å²
# Of Newton's step: the forces fall to a third each time, so that there are a few steps to watch.
DAMPING = 0.65
LONGEST_STEP = 0.2  # Å
SOFTEST = 0.1  # eV/Å²: in softer directions there is no step
RYDBERG_EV = 13.6


class Bonds:
    """The bonds of an input's structure.

    Attributes
    ----------
    free
        Which Cartesian components may move, shape (nat, 3).
    """

    def __init__(self, pw_input: PwInput) -> None:
        numbers = np.array([atomic_numbers[symbol] for symbol in pw_input.symbols])
        radii = covalent_radii[numbers]
        self._rest_energy = -RYDBERG_EV * float(numbers.sum())
        self._start = pw_input.positions
        # Each bond from both of its ends, periodic images included.
        self._i, self._j, self._vectors = primitive_neighbor_list(
            "ijD", (True, True, True), pw_input.cell, pw_input.positions, BOND * radii
        )
        self._lengths = radii[self._i] + radii[self._j]
        self.free = pw_input.free

    def forces(self, positions: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return the energy in eV and the forces in eV/Å, shape (nat, 3)."""
        distances, directions = self._bonds(positions)
        stretch = distances - self._lengths
        energy = self._rest_energy + 0.25 * STIFFNESS * float(np.sum(stretch**2))
        forces = np.zeros_like(positions)
        np.add.at(forces, self._i, STIFFNESS * stretch[:, None] * directions)
        # Rounded: the last bits depend on the machine's arithmetic.
        return round(energy, 10), np.round(forces, 10) + 0.0

    def step(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where a damped step of Newton's method leads; it never walks uphill."""
        distances, directions = self._bonds(positions)
        along = directions[:, :, None] * directions[:, None, :]
        across = (1 - self._lengths / distances)[:, None, None] * (np.eye(3) - along)
        blocks = STIFFNESS * (along + across)
        of_pairs = np.zeros((len(positions), len(positions), 3, 3))
        np.add.at(of_pairs, (self._i, self._i), blocks)
        np.add.at(of_pairs, (self._i, self._j), -blocks)
        free = self.free.ravel()
        hessian = of_pairs.transpose(0, 2, 1, 3).reshape(free.size, free.size)
        values, modes = np.linalg.eigh(hessian[np.ix_(free, free)])
        _, forces = self.forces(positions)
        pulls = modes.T @ forces.ravel()[free]
        stiff = np.abs(values) > SOFTEST
        move = np.zeros(free.size)
        move[free] = modes[:, stiff] @ (DAMPING * pulls[stiff] / np.abs(values[stiff]))
        longest = np.linalg.norm(move.reshape(-1, 3), axis=1).max()
        move *= min(1.0, LONGEST_STEP / longest) if longest else 0.0
        following: NDArray[np.float64] = np.round(positions + move.reshape(-1, 3), 10)
        return following

    def _bonds(self, positions: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        moves = positions - self._start
        vectors = self._vectors + moves[self._j] - moves[self._i]
        distances = np.linalg.norm(vectors, axis=1)
        return distances, vectors / distances[:, None]
