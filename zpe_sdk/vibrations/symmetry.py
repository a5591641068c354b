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
# Atoms from which on it saves time to look at their neighbours first, and at how many.
MANY, NEIGHBOURS = 64, 12


Rotation = tuple[tuple[float, ...], ...]


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

    rotation: Rotation
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
        first, which = _distinct(rotations)
        allowed = np.array([self._allows(rotation) for rotation in rotations[first]])[which]
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

    A supercell has thousands of operations, which follow from a few. So what an operation does to all the
    atoms is worked out only for those.

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

    def site(self, place: int) -> NDArray[np.int_]:
        """Return the numbers of the operations that leave the mobile atom at ``place`` where it is."""
        point = self._scaled[place]
        moves = self._rotations @ point + self._translations - point
        apart = np.linalg.norm((moves - np.rint(moves)) @ self._cell, axis=1)
        return np.flatnonzero(apart <= REACH)

    def rotations(self, numbers: NDArray[np.int_]) -> tuple[Rotation, ...]:
        """Return the Cartesian rotations of these operations."""
        matrices = _cartesian(self._rotations[numbers], self._cell).tolist()
        return tuple(tuple(tuple(row) for row in matrix) for matrix in matrices)

    def generators(self, numbers: NDArray[np.int_]) -> list[int]:
        """Return some of these operations from which the others follow; together they must be a site's."""
        found: list[int] = []
        known = {np.eye(3, dtype=int).tobytes()}
        for number in numbers.tolist():
            if self._rotations[number].astype(int).tobytes() not in known:
                found.append(number)
                products = closure([self._rotations[n].astype(int) for n in found])
                known = {product.tobytes() for product in products}
        return found

    def orbits(self) -> tuple[NDArray[np.int_], list[int]]:
        """Find which mobile atoms are equivalent.

        Returns
        -------
        orbits
            For each mobile atom the number of its set of equivalent ones, shape (M,).
        connecting
            Operations that take every atom to all its equivalents, one after the other.
        """
        orbits: NDArray[np.int_] = np.arange(len(self._scaled))
        connecting: list[int] = []
        # Pure translations take the first atom to as many places as there are of them, so its images tell
        # which of them follow from others. They are tried from the shortest on: that leaves the fewest.
        pure = np.flatnonzero((self._rotations == np.eye(3, dtype=int)).all(axis=(1, 2)))
        moves = self._translations[pure]
        lengths = np.linalg.norm((moves - np.rint(moves)) @ self._cell, axis=1)
        images = self._sites.find(self._scaled[0] + moves)
        for n in np.argsort(lengths.round(6), kind="stable").tolist():
            if orbits[images[n]] != orbits[0]:
                connecting.append(int(pure[n]))
                orbits = _joined(orbits, self.permutation(connecting[-1]))
        # An operation takes what they connect to what they connect: one atom of each stands for all.
        some = np.unique(orbits, return_index=True)[1]
        for number in sorted(_distinct(self._rotations)[0]):
            points = self._scaled[some] @ self._rotations[number].T + self._translations[number]
            if np.any(orbits[self._sites.find(points)] != orbits[some]):
                connecting.append(number)
                orbits = _joined(orbits, self.permutation(number))
        return orbits, connecting

    def permutation(self, number: int) -> NDArray[np.int_]:
        """Return to which place in the list of mobile atoms an operation takes each of them."""
        return self._sites.find(self._scaled @ self._rotations[number].T + self._translations[number])

    def operations(self, numbers: Sequence[int]) -> list[Operation]:
        """Return the operations of these numbers."""
        return [
            Operation(self.rotations(np.array([number]))[0], tuple(self.permutation(number).tolist()))
            for number in numbers
        ]


def _distinct(rotations: NDArray[np.int_]) -> tuple[list[int], NDArray[np.int_]]:
    """Return where each matrix comes first, and which of those each one is: a supercell repeats a few."""
    # A number for each matrix, modulo 2⁶⁴, sorts faster than nine.
    numbers = rotations.reshape(-1, 9).astype(np.int64) @ (1_000_003 ** np.arange(9, dtype=np.int64))
    _, first, which = np.unique(numbers, return_index=True, return_inverse=True)
    assert np.array_equal(rotations, rotations[first][which])
    return first.tolist(), which


def closure(generators: Sequence[NDArray[np.int_]]) -> list[NDArray[np.int_]]:
    """Return all products of some matrices of integers that make a finite group, the identity first."""
    products = [np.eye(3, dtype=int)]
    known = {products[0].tobytes()}
    for product in products:  # which grows
        for generator in generators:
            following = generator @ product
            if following.tobytes() not in known:
                known.add(following.tobytes())
                products.append(following)
    return products


def _joined(orbits: NDArray[np.int_], permutation: NDArray[np.int_]) -> NDArray[np.int_]:
    """Return the orbits that are left when an operation takes atoms from one to another."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    size = len(orbits)
    numbers = orbits.astype(np.int32)  # the only ones that older versions of SciPy count with
    edges = (np.ones(size, dtype=bool), (numbers, numbers[permutation]))
    parts = connected_components(coo_array(edges, shape=(size, size)), directed=False)[1].astype(int)
    joined: NDArray[np.int_] = parts[orbits]
    return joined


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
    vibrating = set(mobile)
    surroundings = _surroundings(positions, cell) if len(labels) > MANY else [0] * len(labels)
    kinds = [
        (label, atom in vibrating, around)
        for atom, (label, around) in enumerate(zip(labels, surroundings, strict=True))
    ]
    numbers = {kind: number for number, kind in enumerate(dict.fromkeys(kinds))}
    try:
        found = spglib.get_symmetry((cell, scaled, [numbers[kind] for kind in kinds]), symprec=SYMPREC)
    except spglib.SpglibError:
        found = None  # as spglib 2 itself says it unless told otherwise
    if found is None:
        raise _not_found("no symmetry could be determined; are two atoms on the same place?")
    rotations, translations = found["rotations"], found["translations"]
    tolerances = SYMPREC / np.linalg.norm(cell, axis=1)
    kept = breakers.allow(rotations, translations, float(tolerances[breakers.field_axis or 0]))
    return Symmetry(scaled[list(mobile)], cell, rotations[kept], translations[kept])


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


def _surroundings(positions: NDArray[np.float64], cell: NDArray[np.float64]) -> list[int]:
    """Tell atoms apart by the distances of their neighbours, as far as no symmetry can take one to the other.

    spglib tries the atoms of the rarest kind one after the other, with every rotation. In a supercell with a
    vacancy all would be of one kind; by their distances, those next to it are few.
    """
    from scipy.spatial import KDTree

    # As far as about two shells of a dense crystal reach.
    volume = abs(np.linalg.det(cell)) / len(positions)
    reach = 2 * volume ** (1 / 3)
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    scaled = _wrapped(positions @ np.linalg.inv(cell))
    margin = reach / heights
    steps = [np.arange(-np.ceil(m), np.ceil(m) + 1) for m in margin]
    shifts = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
    images = [
        moved[np.all((moved > -margin) & (moved < 1 + margin), axis=1)] @ cell
        for moved in (scaled + shift for shift in shifts)
    ]
    near = KDTree(np.concatenate(images)).query(scaled @ cell, k=NEIGHBOURS + 1, distance_upper_bound=reach)
    kinds = np.zeros(len(positions), dtype=int)
    for distances in np.minimum(np.asarray(near[0]), reach).T[1:]:
        # A symmetry keeps them within twice the tolerance: what has a larger gap between them is different.
        order = np.argsort(distances)
        ranks = np.empty_like(kinds)
        ranks[order] = np.cumsum(np.diff(distances[order], prepend=distances[order[0]]) > 4 * SYMPREC)
        kinds = np.unique(kinds * (ranks.max() + 1) + ranks, return_inverse=True)[1]
    return [int(kind) for kind in kinds]


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
