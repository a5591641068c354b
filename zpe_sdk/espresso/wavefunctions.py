"""The wave functions an SCF starts from, made of those of SCFs already done.

Those of the equilibrium, at the k-points that its symmetry leaves, give those at every point of the mesh:
an operation {W|f} of the crystal takes the plane wave k + G of a state to q = (k + G) W⁻¹ and its
coefficient c to c exp(-2πi q·f), time reversal takes q to -q and c to its complex conjugate.

The states of a displacement -d are, like its density, to first order those of the equilibrium plus what d
does to them with the opposite sign: ψ(-d) = 2 ψ(0) - ψ(d). States are defined only up to a unitary
transformation among themselves. The one that brings ψ(d) nearest to ψ(0) is found from their overlaps
(orthogonal Procrustes problem; the same as in T. A. Arias et al., Phys. Rev. B 45, 1538 (1992), for
molecular dynamics).

A start changes nothing of the result: pw.x goes on to its threshold as ever.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zpe_sdk.espresso.mesh import Operation, Point
from zpe_sdk.espresso.plane_waves import PlaneWaves, StatePoint, find, readable

_SAME = 1e-6  # of k-points, in units of the reciprocal lattice vectors
_DESCRIPTION = "data-file-schema.xml"


def prepare(
    centre: Path,
    save: Path,
    points: Sequence[Point] | None,
    operations: Sequence[Operation],
    *,
    displaced: Path | None = None,
) -> bool:
    """Write the wave functions that an SCF starts from into its ``.save`` folder.

    Parameters
    ----------
    centre
        The ``.save`` folder of the equilibrium.
    save
        The folder to write into, which is there.
    points
        The k-points of the SCF; None: those of the equilibrium.
    operations
        Those of the equilibrium's crystal.
    displaced
        The ``.save`` folder of the opposite displacement, run with ``points``, to extrapolate from.

    Returns
    -------
    bool
        False, and nothing is written, if there are none, they cannot be read, or do not match.
    """
    if not readable(centre):
        return False
    try:
        for name, states in _at(centre, points, operations):
            if displaced is not None:
                _extrapolate(states, PlaneWaves.read(displaced / name))
            states.write(save / name)
    except (OSError, ValueError, KeyError, ET.ParseError):
        for path in save.glob("wfc*"):
            path.unlink()
        return False
    return any(save.glob("wfc*"))


def _extrapolate(states: PlaneWaves, displaced: PlaneWaves) -> None:
    """Make 2 ψ - ψ(displaced) of states."""
    here, there = _point(states), _point(displaced)
    if not np.allclose(here.k, there.k, atol=1e-5) or not states.same_waves(displaced):
        raise ValueError("the wave functions are on different plane waves")
    overlaps = states.rows @ displaced.rows.conj().T
    if here.gamma:  # the other half of the plane waves adds the complex conjugate
        overlaps = overlaps + overlaps.conj()
    left, _, right = np.linalg.svd(overlaps)
    states.rows = 2 * states.rows - (left @ right) @ displaced.rows


def _moved(
    states: PlaneWaves, operation: Operation, point: Point, ranks: Ranks, *, reverse: bool, number: int
) -> PlaneWaves:
    """Return what an operation, and time reversal, makes of states, at ``point``."""
    here = _point(states)
    waves = (states.millers + here.k @ np.linalg.inv(states.lattice)) @ np.linalg.inv(operation.rotation)
    rows = states.rows * np.exp(-2j * np.pi * (waves @ operation.translation))
    if reverse:
        waves, rows = -waves, rows.conj()
    millers = (waves - point).round().astype(np.int32)
    order = np.argsort(ranks.of(millers))
    there = replace(here, number=number, k=point @ states.lattice)
    return replace(states, millers=millers[order], rows=rows[:, order], point=there)


def _point(states: PlaneWaves) -> StatePoint:
    if states.point is None:
        raise ValueError("a density, not states")
    return states.point


class Ranks:
    """The order of plane waves, which all files of a calculation have in common: that of its density."""

    def __init__(self, save: Path) -> None:
        millers = PlaneWaves.read(find(save)).millers
        self._half = int(np.abs(millers).max()) + 1
        codes = self._codes(millers)
        self._order = np.argsort(codes)
        self._sorted = codes[self._order]

    def of(self, millers: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the places of plane waves; ``ValueError`` if the density has not all of them."""
        codes = self._codes(millers)
        places = np.minimum(np.searchsorted(self._sorted, codes), len(self._sorted) - 1)
        if np.abs(millers).max() >= self._half or not np.array_equal(self._sorted[places], codes):
            raise ValueError("a plane wave of a state is none of the density")
        return self._order[places]

    def _codes(self, millers: NDArray[np.int32]) -> NDArray[np.int64]:
        base = 2 * self._half
        one, two, three = (millers.astype(np.int64) + self._half).T
        return np.asarray((one * base + two) * base + three)


def _at(
    centre: Path, points: Sequence[Point] | None, operations: Sequence[Operation]
) -> Iterator[tuple[str, PlaneWaves]]:
    """Yield the name and content of each file of the equilibrium's states at ``points``."""
    spins = ("up", "dw") if find(centre, "wfcup1").exists() else ("",)
    if points is None:
        for path in sorted(centre.glob("wfc*")):
            yield path.name, PlaneWaves.read(path)
        return
    known, ranks = _points(centre), Ranks(centre)
    for number, point in enumerate(points, start=1):
        source, operation, reverse = _source(known, point, operations)
        for spin in spins:
            path = find(centre, f"wfc{spin}{source + 1}")
            states = PlaneWaves.read(path)
            yield (
                f"wfc{spin}{number}{path.suffix}",
                _moved(states, operation, point, ranks, reverse=reverse, number=number),
            )


def _source(
    known: NDArray[np.float64], point: Point, operations: Sequence[Operation]
) -> tuple[int, Operation, bool]:
    """Return which of the known k-points becomes ``point``, by which operation, with time reversal or not."""
    for operation in operations:
        turned = known @ np.linalg.inv(operation.rotation)
        for sign in (1, -1):
            off = sign * turned - point
            same = np.flatnonzero(np.abs(off - off.round()).max(axis=1) < _SAME)
            if len(same):
                return int(same[0]), operation, sign < 0
    raise ValueError(f"no state of the equilibrium becomes one at {point}")


def _points(save: Path) -> NDArray[np.float64]:
    """Return the k-points of an SCF in units of the reciprocal lattice vectors, shape (n, 3)."""
    output = ET.parse(save / _DESCRIPTION).getroot().find("output")
    if output is None:
        raise ValueError("no output of pw.x")
    lattice = np.array([_row(output.find(f"basis_set/reciprocal_lattice/b{i}")) for i in (1, 2, 3)])
    rows = [_row(row) for row in output.iterfind("band_structure/ks_energies/k_point")]
    return np.array(rows).reshape(-1, 3) @ np.linalg.inv(lattice)


def _row(element: ET.Element | None) -> list[float]:
    if element is None:
        raise ValueError("the description of the wave functions is not complete")
    return [float(word) for word in (element.text or "").split()]
