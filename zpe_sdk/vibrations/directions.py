"""Along which directions to displace an atom, so that its site symmetry supplies the others.

An operation R that leaves the atom where it is turns the forces after a displacement v into those after
R v. Wanted is a set of directions whose images span space, at the lowest count of SCFs: a direction costs
one if some R takes v to -v, else two, because central differences need both. A direction in general
position has the most images: the oxygen of water (C2v) needs only ±(1, 1, 1)/√3 in the axes of the
molecule, two SCFs in place of six. Mixing directions leaves the order of the error as it is: terms even in
v cancel between v and -v, and |v| is the same as for a displacement along an axis.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

# A direction set is good enough if its images see every direction of space with at least this share of
# |v|² (1/3 is the most that one direction can give). Noise in the forces grows by 1/√share.
SUFFICIENT_SHARE = 0.3
SAME = 1e-3  # relative; vectors nearer than this are equal: far above symprec, far below distinct ones


@lru_cache(maxsize=256)
def site_directions(
    rotations: tuple[tuple[tuple[float, ...], ...], ...],
) -> tuple[tuple[tuple[float, float, float], bool], ...]:
    """Choose the directions along which to displace an atom.

    Among the sets of one, two or three directions of a frame adapted to the site, take the one with the
    fewest SCFs; among those the one that leaves most symmetry to the displaced structures, which makes
    k-point sums shorter; among those the one whose images are spread most evenly.

    Parameters
    ----------
    rotations
        Cartesian matrices (3 x 3, rows) of the operations that leave the atom in its place.

    Returns
    -------
    tuple
        Pairs of a unit vector and whether its opposite has to be computed too.
    """
    group = np.array(rotations)
    vectors = _candidates(group)
    images = np.einsum("gab,nb->nga", group, vectors)
    mirrored = _any_equal(images, -vectors)
    costs = np.where(mirrored, 1, 2)
    # How much of |v|² the images of v have along each direction, as a quadratic form.
    shares = np.einsum("nga,ngb->nab", images, images) / len(group)
    kept = np.sum(np.linalg.norm(images - vectors[:, None], axis=2) < SAME, axis=1)

    best: tuple[tuple[float, ...], tuple[int, ...]] | None = None
    for size in (1, 2, 3):
        sets = np.array(list(combinations(range(len(vectors)), size)))
        spread = np.linalg.eigvalsh(shares[sets].sum(axis=1))[:, 0].round(6)
        cost = costs[sets].sum(axis=1)
        symmetry = (costs * kept)[sets].sum(axis=1)
        order = np.lexsort((-spread, -symmetry, cost, spread < SUFFICIENT_SHARE))
        first = int(order[0])
        key = (spread[first] < SUFFICIENT_SHARE, cost[first], size, -spread[first])
        if best is None or key < best[0]:
            best = key, tuple(int(n) for n in sets[first])
    assert best is not None
    return tuple(
        ((float(vectors[n, 0]), float(vectors[n, 1]), float(vectors[n, 2])), not bool(mirrored[n]))
        for n in best[1]
    )


def _candidates(group: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return unit vectors, one of each ± pair: axes of the group, those across, and mixtures."""
    frame, axes = _frame(group)
    principal = frame[2]
    across = [v for axis in axes if abs(axis @ principal) < SAME for v in (axis, np.cross(principal, axis))]
    across += [frame[0], frame[1], frame[0] + frame[1], frame[0] - frame[1]]
    unit = [v / np.linalg.norm(v) for v in across]
    # tan = √2 spreads the images evenly where a threefold or higher axis turns them.
    mixtures = [a * p + s * principal for p, a, s in product(unit, (1.0, np.sqrt(2)), (1, -1))]
    vectors: list[NDArray[np.float64]] = []
    for vector in [*frame, *axes, *unit, *mixtures]:
        # Cleaned of -0 and 1e-17: the plan is read by people.
        v = np.round(vector / np.linalg.norm(vector), 14) + 0.0
        if all(min(np.linalg.norm(v - w), np.linalg.norm(v + w)) > SAME for w in vectors):
            vectors.append(v)
    return np.array(vectors)


def _frame(group: NDArray[np.float64]) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Return an orthonormal frame, its third vector along the axis of highest order, and all axes."""
    axes: list[NDArray[np.float64]] = []
    orders: list[int] = []
    for rotation in group:
        # A mirror is a twofold turn times -1: its axis is the normal.
        proper = rotation * np.sign(np.linalg.det(rotation))
        cosine = (np.trace(proper) - 1) / 2
        if cosine > 1 - 1e-6:
            continue
        values, vectors = np.linalg.eigh((proper + proper.T) / 2)
        axis = vectors[:, np.argmax(values)]
        axis = axis * np.sign(axis[np.argmax(np.abs(axis) > 1e-6)])
        order = round(2 * np.pi / np.arccos(max(cosine, -1.0)))
        for n, known in enumerate(axes):
            if min(np.linalg.norm(axis - known), np.linalg.norm(axis + known)) < SAME:
                orders[n] = max(orders[n], order)
                break
        else:
            axes.append(axis)
            orders.append(order)
    if not axes:
        return np.eye(3), []
    third = axes[int(np.argmax(orders))]
    across = [axis for axis in axes if abs(axis @ third) < SAME]
    # Without an axis across, the Cartesian one most nearly across, so that the choice is reproducible.
    start = across[0] if across else np.eye(3)[np.argmin(np.abs(third).round(6))]
    first = start - (start @ third) * third
    first /= np.linalg.norm(first)
    return np.array([first, np.cross(third, first), third]), axes


def _any_equal(images: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.any(np.linalg.norm(images - targets[:, None], axis=2) < SAME, axis=1)
    return found
