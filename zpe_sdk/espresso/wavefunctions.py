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
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zpe_sdk.espresso.fortran import marked, records
from zpe_sdk.espresso.mesh import Operation, Point

_SAME = 1e-6  # of k-points, in units of the reciprocal lattice vectors
_HEADER = np.dtype([("ik", "<i4"), ("xk", "<f8", 3), ("spin", "<i4"), ("gamma", "<i4"), ("scale", "<f8")])
_DENSITY, _DESCRIPTION = "charge-density.dat", "data-file-schema.xml"


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
        False, and nothing is written, if there are none, they are of another kind (HDF5), or do not match.
    """
    try:
        for name, states in _at(centre, points, operations):
            if displaced is not None:
                states.extrapolate(States.read(displaced / name))
            states.write(save / name)
    except (OSError, ValueError, KeyError, ET.ParseError):
        for path in save.glob("wfc*"):
            path.unlink()
        return False
    return any(save.glob("wfc*"))


@dataclass
class States:
    """The states at one k-point: one of pw.x's files wfc*.dat (QE's io_base.f90, write_wfc).

    Attributes
    ----------
    header
        Number of the k-point, k in 1/bohr, spin, whether half of the plane waves are there (Γ), a scale.
    counts
        Plane waves in all, plane waves here, components of a state, states.
    lattice
        Reciprocal lattice vectors in 1/bohr, one per row.
    millers
        Miller indices of the plane waves, shape (n, 3).
    coefficients
        Shape (states, components * n).
    """

    header: NDArray[np.void]
    counts: NDArray[np.int32]
    lattice: NDArray[np.float64]
    millers: NDArray[np.int32]
    coefficients: NDArray[np.complex128]

    @classmethod
    def read(cls, path: Path) -> States:
        """Read a file; ``ValueError`` if it is of another kind."""
        header, counts, lattice, millers, *bands = records(path.read_bytes())
        return cls(
            np.frombuffer(header, _HEADER).copy(),
            np.frombuffer(counts, "<i4"),
            np.frombuffer(lattice, "<f8").reshape(3, 3),
            np.frombuffer(millers, "<i4").reshape(-1, 3),
            np.array([np.frombuffer(band, "<c16") for band in bands]),
        )

    def write(self, path: Path) -> None:
        """Write a file as pw.x reads it."""
        with path.open("wb") as file:
            for part in (self.header, self.counts, self.lattice, self.millers, *self.coefficients):
                file.write(marked(np.ascontiguousarray(part).tobytes()))

    def extrapolate(self, displaced: States) -> None:
        """Become 2 ψ - ψ(displaced)."""
        same_k = np.allclose(self.header["xk"], displaced.header["xk"], atol=1e-5)
        if not same_k or not np.array_equal(self.millers, displaced.millers):
            raise ValueError("the wave functions are on different plane waves")
        overlaps = self.coefficients @ displaced.coefficients.conj().T
        if self.header["gamma"][0]:  # the other half of the plane waves adds the complex conjugate
            overlaps = overlaps + overlaps.conj()
        left, _, right = np.linalg.svd(overlaps)
        self.coefficients = 2 * self.coefficients - (left @ right) @ displaced.coefficients

    def moved(
        self, operation: Operation, point: Point, ranks: Ranks, *, reverse: bool, number: int
    ) -> States:
        """Return what an operation, and time reversal, makes of the states, at ``point``."""
        inverse = np.linalg.inv(operation.rotation)
        waves = (self.millers + self.header["xk"][0] @ np.linalg.inv(self.lattice)) @ inverse
        coefficients = self.coefficients * np.exp(-2j * np.pi * (waves @ operation.translation))
        if reverse:
            waves, coefficients = -waves, coefficients.conj()
        millers = (waves - point).round().astype(np.int32)
        order = np.argsort(ranks.of(millers))
        header = self.header.copy()
        header["ik"], header["xk"] = number, point @ self.lattice
        return States(header, self.counts, self.lattice, millers[order], coefficients[:, order])


class Ranks:
    """The order of plane waves, which all files of a calculation have in common: that of its density."""

    def __init__(self, save: Path) -> None:
        millers = np.frombuffer(records((save / _DENSITY).read_bytes())[2], "<i4").reshape(-1, 3)
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
) -> Iterator[tuple[str, States]]:
    """Yield the name and content of each file of the equilibrium's states at ``points``."""
    spins = ("up", "dw") if (centre / "wfcup1.dat").exists() else ("",)
    if points is None:
        for path in sorted(centre.glob("wfc*.dat")):
            yield path.name, States.read(path)
        return
    known, ranks = _points(centre), Ranks(centre)
    for number, point in enumerate(points, start=1):
        source, operation, reverse = _source(known, point, operations)
        for spin in spins:
            states = States.read(centre / f"wfc{spin}{source + 1}.dat")
            yield (
                f"wfc{spin}{number}.dat",
                states.moved(operation, point, ranks, reverse=reverse, number=number),
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
