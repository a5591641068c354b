"""The displacements of a vibrational calculation: which SCFs it takes, and how they give the Hessian."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zpe_sdk.errors import InputError
from zpe_sdk.task import Task, Vector
from zpe_sdk.vibrations.directions import SAME, site_directions
from zpe_sdk.vibrations.symmetry import Operation, SymmetryBreakers, find_symmetry, no_symmetry


@dataclass(frozen=True)
class Plan:
    """The SCFs of a vibrational calculation and the symmetry that completes them.

    Attributes
    ----------
    displacements
        The SCFs: the equilibrium, one displacement of each pair, then their opposites.
    mobile
        0-based indices of the atoms that vibrate; rows of the Hessian follow this order.
    delta
        Length of each displacement in Å.
    full_count
        SCFs needed without symmetry: 6 per mobile atom and the equilibrium.
    order
        Number of symmetry operations found, pure translations included.
    operations
        Some of them, from which those follow that the Hessian needs: :meth:`site`, :meth:`paths`.
    """

    displacements: tuple[Task, ...]
    mobile: tuple[int, ...]
    delta: float
    full_count: int
    order: int
    operations: tuple[Operation, ...]

    def site(self, place: int) -> list[Operation]:
        """Return all operations that leave the mobile atom at ``place`` where it is, the identity first."""
        size = len(self.mobile)
        found = [(np.eye(3), np.arange(size))]
        staying = [
            (o.matrix, np.array(o.permutation)) for o in self.operations if o.permutation[place] == place
        ]
        for rotation, permutation in found:  # which grows
            for another, onwards in staying:
                product = another @ rotation
                if all(np.abs(product - known).max() > SAME for known, _ in found):
                    found.append((product, onwards[permutation]))
        return [Operation(tuple(map(tuple, r.tolist())), tuple(p.tolist())) for r, p in found]

    def paths(self, place: int) -> Iterator[tuple[int, Operation, int]]:
        """Yield by which operation one gets from an atom to each of its equivalents.

        Parameters
        ----------
        place
            Where the paths begin, in the list of mobile atoms.

        Yields
        ------
        source, operation, target
            The operation takes ``source``, which is ``place`` or a target of before, to ``target``.
        """
        reached = {place}
        ends = [place]
        for source in ends:  # which grows
            for operation in self.operations:
                target = operation.permutation[source]
                if target not in reached:
                    reached.add(target)
                    ends.append(target)
                    yield source, operation, target

    def to_json(self) -> dict[str, Any]:
        """Return the plan as what JSON can hold; :meth:`from_json` gives back an equal plan."""
        return {
            "displacements": [task.to_json() for task in self.displacements],
            "mobile": self.mobile,
            "delta": self.delta,
            "full_count": self.full_count,
            "order": self.order,
            "operations": [{"rotation": o.rotation, "permutation": o.permutation} for o in self.operations],
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Plan:
        """Return the plan that :meth:`to_json` wrote, also after a passage through JSON text."""
        return cls(
            displacements=tuple(Task.from_json(task) for task in document["displacements"]),
            mobile=tuple(document["mobile"]),
            delta=document["delta"],
            full_count=document["full_count"],
            order=document["order"],
            operations=tuple(
                Operation(tuple(tuple(row) for row in o["rotation"]), tuple(o["permutation"]))
                for o in document["operations"]
            ),
        )


def plan_displacements(
    positions: ArrayLike,
    cell: ArrayLike,
    labels: Sequence[str],
    mobile: Sequence[int],
    *,
    delta: float,
    symmetry: bool = True,
    breakers: SymmetryBreakers | None = None,
) -> Plan:
    """Plan the SCFs that give the Hessian of the mobile atoms by central differences.

    Parameters
    ----------
    positions
        Cartesian positions of all atoms in Å, shape (nat, 3).
    cell
        Lattice vectors in Å, one per row, shape (3, 3).
    labels
        Species label of each atom. Atoms that differ in anything but their position (magnetisation,
        Hubbard U, mass) must have different labels.
    mobile
        0-based indices of the atoms that vibrate.
    delta
        Length of each displacement in Å.
    symmetry
        False: all ±x, ±y, ±z of every mobile atom. Use it for noncollinear spins, whose symmetry is not
        that of the positions and labels.
    breakers
        k-points, fields and whatever else may have a lower symmetry than the atoms.

    Raises
    ------
    InputError
        A field has the wrong shape or range, or no symmetry can be determined.
    ConfigError
        ``spglib_missing``: symmetry is asked for, and spglib is not installed.
    """
    positions, cell = np.array(positions, dtype=float), np.array(cell, dtype=float)
    _check(positions, cell, labels, mobile, delta)
    if symmetry:
        group = find_symmetry(positions, cell, labels, mobile, breakers or SymmetryBreakers())
    else:
        group = no_symmetry(positions, cell, mobile)

    # Opposites come last: when they are run, the density of the first gives them a start (docs/engine.md).
    steps: list[tuple[int, Vector]] = []
    opposites: list[tuple[int, Vector]] = []
    orbits, connecting = group.orbits()
    needed = dict.fromkeys(connecting)
    for place in np.sort(np.unique(orbits, return_index=True)[1]).tolist():
        site = group.site(place)
        needed.update(dict.fromkeys(group.generators(site)))
        for direction, both in site_directions(group.rotations(site)):
            x, y, z = (delta * component + 0.0 for component in direction)
            steps.append((mobile[place], (x, y, z)))
            if both:
                opposites.append((mobile[place], (-x + 0.0, -y + 0.0, -z + 0.0)))
    return Plan(
        displacements=(
            Task(0),
            *(Task(n, atom, step) for n, (atom, step) in enumerate(steps + opposites, start=1)),
        ),
        mobile=tuple(mobile),
        delta=float(delta),
        full_count=6 * len(mobile) + 1,
        order=group.order,
        operations=tuple(group.operations(list(needed))),
    )


def _check(
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    labels: Sequence[str],
    mobile: Sequence[int],
    delta: float,
) -> None:
    nat = len(labels)
    if positions.shape != (nat, 3) or not np.all(np.isfinite(positions)):
        raise InputError(
            f"positions must be {nat} finite points", code="bad_positions", field="ATOMIC_POSITIONS"
        )
    if cell.shape != (3, 3) or not np.all(np.isfinite(cell)) or abs(np.linalg.det(cell)) < 1e-6:
        raise InputError(
            "the three lattice vectors must span space", code="bad_cell", field="CELL_PARAMETERS"
        )
    if not mobile or len(set(mobile)) != len(mobile) or min(mobile) < 0 or max(mobile) >= nat:
        raise InputError(
            f"mobile_indices must be different numbers from 0 to {nat - 1}, at least one",
            code="bad_mobile_indices",
            field="mobile_indices",
        )
    if not delta > 0:
        raise InputError("delta must be positive", code="bad_delta", field="delta")
