"""Symmetry operations under which the forces on the atoms are equivalent.

spglib finds the operations of the periodic structure. One counts here only if it leaves all else that
decides the forces alone too: the species labels, the division into mobile and fixed atoms, the k-points,
an electric field. What remains maps a displaced structure onto another whose forces need not be computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zpe_sdk.errors import ConfigError, InputError

# Å. pw.x itself accepts 1e-5 in crystal coordinates, which is about this in a box. What asymmetry is left
# below it hardly touches the Hessian, because only differences to the equilibrium forces are rotated.
SYMPREC = 1e-4
# Å; how far from a point the atom on it may be. spglib has verified the images: this tells atoms apart.
REACH = 1e-3


@dataclass(frozen=True)
class Operation:
    """A symmetry operation, as far as forces on the mobile atoms need it.

    Attributes
    ----------
    rotation
        Cartesian 3 x 3 orthogonal matrix R, row by row: a vector v becomes R v.
    permutation
        ``permutation[k]`` is the place in the list of mobile atoms to which atom k of it is taken.
    """

    rotation: tuple[tuple[float, ...], ...]
    permutation: tuple[int, ...]

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The rotation as an array of shape (3, 3)."""
        return np.array(self.rotation)


@dataclass(frozen=True)
class SymmetryBreakers:
    """What decides the forces besides the atoms and may have a lower symmetry than they.

    Attributes
    ----------
    kmesh, kshift
        A regular k-point mesh and its shifts by half a step (0 or 1), as in ``K_POINTS automatic``.
    kpoints, kweights
        An explicit list of k-points in units of the reciprocal lattice vectors, and their weights.
    field_axis
        The lattice direction (0, 1, 2) along which a field or potential fixed in space varies: ``edir`` - 1
        of ``tefield`` (so of ``dipfield``), the third of ``assume_isolated='esm'`` or ``gate``.
        Coordinates along it must stay as they are.
    plane_axis
        The lattice direction normal to a truncated 2D system (``assume_isolated='2D'``), which may be
        turned around but not exchanged with another.
    """

    kmesh: tuple[int, int, int] | None = None
    kshift: tuple[int, int, int] = (0, 0, 0)
    kpoints: tuple[tuple[float, float, float], ...] | None = None
    kweights: tuple[float, ...] | None = None
    field_axis: int | None = None
    plane_axis: int | None = None

    def allow(
        self, rotations: NDArray[np.int_], translations: NDArray[np.float64], tolerance: float
    ) -> NDArray[np.bool_]:
        """Tell which operations x -> W x + w in crystal coordinates leave all of this as it is.

        Parameters
        ----------
        rotations, translations
            Each operation's W, integers of shape (n, 3, 3), and w, shape (n, 3).
        tolerance
            Of w along ``field_axis``, in crystal coordinates.
        """
        # A supercell repeats the same few rotations many times over.
        rows = [tuple(row) for row in rotations.reshape(-1, 9).tolist()]
        answers = {row: self._allows(np.array(row).reshape(3, 3)) for row in set(rows)}
        allowed = np.array([answers[row] for row in rows])
        if self.field_axis is not None:
            along = translations[:, self.field_axis]
            allowed &= np.abs(along - np.rint(along)) <= tolerance
        return allowed

    def _allows(self, rotation: NDArray[np.int_]) -> bool:
        unit = np.eye(3, dtype=int)
        axis = self.field_axis
        if axis is not None and not np.array_equal(rotation[axis], unit[axis]):
            return False
        axis = self.plane_axis
        if axis is not None and not np.array_equal(np.abs(rotation[axis]), unit[axis]):
            return False
        if self.kmesh is None and self.kpoints is None:
            return True
        reciprocal = np.rint(np.linalg.inv(rotation).T)
        return self._mesh_allows(reciprocal) and self._list_allows(reciprocal)

    def _mesh_allows(self, reciprocal: NDArray[np.float64]) -> bool:
        # Points k = D⁻¹(m + s/2), D the mesh, m any integers: m must stay integers. Time reversal adds
        # nothing, since every such mesh holds -k with k.
        if self.kmesh is None:
            return True
        mesh = np.array(self.kmesh)
        turned = mesh[:, None] * reciprocal / mesh[None, :]
        half = np.array(self.kshift) / 2
        return _integers(turned) and _integers(turned @ half - half)

    def _list_allows(self, reciprocal: NDArray[np.float64]) -> bool:
        if self.kpoints is None:
            return True
        weights = self.kweights or (1.0,) * len(self.kpoints)
        points = np.array(self.kpoints)
        before, after = (_weight_by_point(k, weights) for k in (points, points @ reciprocal.T))
        return before.keys() == after.keys() and all(abs(before[k] - after[k]) < 1e-6 for k in before)


class Symmetry:
    """The operations that take the mobile atoms to one another and leave the forces equivalent.

    A supercell has thousands of operations, of which a plan needs few; so what an operation does to the
    atoms is worked out only where it is asked for.

    Parameters
    ----------
    scaled
        Crystal coordinates of the mobile atoms, shape (M, 3).
    cell
        Lattice vectors in Å, one per row, shape (3, 3).
    rotations, translations
        W and w of each operation x -> W x + w in crystal coordinates, shapes (n, 3, 3) and (n, 3).
    """

    def __init__(
        self,
        scaled: NDArray[np.float64],
        cell: NDArray[np.float64],
        rotations: NDArray[np.int_],
        translations: NDArray[np.float64],
    ) -> None:
        self._scaled = scaled
        self._cell = cell
        self._rotations = rotations
        self._translations = translations
        self._sites = _Sites(scaled, cell)

    @property
    def order(self) -> int:
        """Number of operations, the identity and pure translations included."""
        return len(self._rotations)

    def images(self, place: int) -> NDArray[np.int_]:
        """Return to which place in the list of mobile atoms each operation takes the one at ``place``."""
        return self._sites.find(self._rotations @ self._scaled[place] + self._translations)

    def operations(self, numbers: NDArray[np.int_]) -> list[Operation]:
        """Return the operations of these numbers."""
        rotations = self._rotations[numbers]
        points = self._scaled @ rotations.swapaxes(1, 2) + self._translations[numbers, None]
        images = self._sites.find(points.reshape(-1, 3)).reshape(len(numbers), len(self._scaled))
        matrices = _cartesian(rotations, self._cell).tolist()
        return [
            Operation(tuple(tuple(row) for row in matrix), tuple(places))
            for matrix, places in zip(matrices, images.tolist(), strict=True)
        ]


def no_symmetry(positions: NDArray[np.float64], cell: NDArray[np.float64], mobile: Sequence[int]) -> Symmetry:
    """Return the identity alone; parameters as of :func:`find_symmetry`."""
    scaled = (positions @ np.linalg.inv(cell))[list(mobile)]
    return Symmetry(scaled, cell, np.eye(3, dtype=int)[None], np.zeros((1, 3)))


def find_symmetry(
    positions: NDArray[np.float64],
    cell: NDArray[np.float64],
    labels: Sequence[str],
    mobile: Sequence[int],
    breakers: SymmetryBreakers,
) -> Symmetry:
    """Return the operations under which the forces are equivalent.

    Parameters
    ----------
    positions
        Cartesian positions in Å, shape (nat, 3).
    cell
        Lattice vectors in Å, one per row, shape (3, 3).
    labels
        One per atom; atoms with different labels (spin, Hubbard U, pseudopotential) are different.
    mobile
        Indices of the atoms that vibrate; an operation must take them to one another.
    breakers
        What else the operations have to keep.

    Raises
    ------
    InputError
        ``symmetry_not_found``: spglib cannot make sense of the structure.
    ConfigError
        ``spglib_missing``.
    """
    try:
        import spglib
    except ImportError as error:
        raise ConfigError(
            "symmetry needs spglib: pip install 'zpe[server]'", code="spglib_missing", field="symmetry"
        ) from error
    scaled = positions @ np.linalg.inv(cell)
    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    kinds = [numbers[label] for label in labels]
    try:
        found = spglib.get_symmetry((cell, scaled, kinds), symprec=SYMPREC)
    except spglib.SpglibError:
        found = None  # as spglib 2 itself says it unless told otherwise
    if found is None:
        raise _not_found("no symmetry could be determined; are two atoms on the same place?")
    rotations, translations = found["rotations"], found["translations"]
    tolerances = SYMPREC / np.linalg.norm(cell, axis=1)
    kept = breakers.allow(rotations, translations, float(tolerances[breakers.field_axis or 0]))
    rotations, translations = rotations[kept], translations[kept]

    if len(mobile) < len(scaled):
        # What takes the mobile atoms to one another does so to the others: it is enough to follow the fewer.
        is_mobile = np.isin(np.arange(len(scaled)), mobile)
        sites = _Sites(scaled, cell)
        for atom in np.flatnonzero(is_mobile == (2 * is_mobile.sum() <= len(scaled))):
            kept = is_mobile[sites.find(rotations @ scaled[atom] + translations)] == is_mobile[atom]
            rotations, translations = rotations[kept], translations[kept]
    return Symmetry(scaled[list(mobile)], cell, rotations, translations)


class _Sites:
    """Finds the atom at a point of the crystal."""

    def __init__(self, scaled: NDArray[np.float64], cell: NDArray[np.float64]) -> None:
        self._scaled = scaled
        self._cell = cell
        from scipy.spatial import KDTree  # slow to import, and needed only once a job is planned

        self._tree = KDTree(_wrapped(scaled), boxsize=np.ones(3))

    def find(self, points: NDArray[np.float64]) -> NDArray[np.int_]:
        """Return the index of the atom at each point, given in crystal coordinates, shape (n, 3)."""
        found = np.asarray(self._tree.query(_wrapped(points))[1])
        apart = points - self._scaled[found]
        if np.any(np.linalg.norm((apart - np.rint(apart)) @ self._cell, axis=1) > REACH):
            raise _not_found("the symmetry found does not take atoms to atoms.")
        return found


def _wrapped(scaled: NDArray[np.float64]) -> NDArray[np.float64]:
    # Twice, since -1e-17 % 1 is 1.
    wrapped: NDArray[np.float64] = scaled % 1.0 % 1.0
    return wrapped


def _not_found(message: str) -> InputError:
    return InputError(
        f"{message} If the structure is meant as it is, submit it with symmetry=False",
        code="symmetry_not_found",
        field="ATOMIC_POSITIONS",
    )


def _cartesian(rotations: NDArray[np.int_], cell: NDArray[np.float64]) -> NDArray[np.float64]:
    # A lattice within symprec of the symmetric one gives a matrix within symprec of orthogonal: the
    # nearest orthogonal one (polar decomposition) keeps lengths exactly.
    u, _, vt = np.linalg.svd(cell.T @ rotations @ np.linalg.inv(cell.T))
    # Rounded so that -0 and 1e-17 do not travel; the error is far below any force's.
    rounded: NDArray[np.float64] = np.round(u @ vt, 15) + 0.0
    return rounded


def _integers(values: NDArray[np.float64]) -> bool:
    return bool(np.all(np.abs(values - np.rint(values)) < 1e-6))


def _weight_by_point(points: NDArray[np.float64], weights: Sequence[float]) -> dict[tuple[float, ...], float]:
    """Return the share of each k-point, where k, -k and k + G are the same point."""
    shares: dict[tuple[float, ...], float] = {}
    for point, weight in zip(points, weights, strict=True):
        # Rounding before and after the modulus: 0.9999999 is 0.
        one, other = (tuple(np.round(np.round(k, 5) % 1.0, 5) % 1.0) for k in (point, -point))
        key = min(one, other)
        shares[key] = shares.get(key, 0.0) + weight / sum(weights)
    return shares
