"""How many MPI ranks one SCF deserves, and in how many pools: a model of the time it takes.

A pool (``pw.x -nk``) has a share of the k-points, the ranks in it a share of the planes of the FFT grid. What
is done for each k-point (diagonalisation, sum over bands) is shared out both ways, what is done for the
density (potential, mixing) among the ranks of a pool alone, and costs as much as one k-point more:

    T(n, p) / T(1, 1) = (⌈K/p⌉ + 1) / (K + 1) · g(n/p),    g(m) = (1 - s) ⌈N₃/m⌉/N₃ (1 + c log₂ m) + s

with n ranks in p pools, K k-points (each spin counts) and N₃ planes. c = 0.11 is what communication costs: H2
in 8 Å takes 0.75 s of 1.35 s on two ranks, without the start of MPI (docs/engine.md); that it grows with the
logarithm is how messages among m ranks go at best. s = 0.02, what each rank does for itself, and the k-point
more fit 40 published times best, on 36 to 4096 ranks (tests/worker/pw_scaling.csv).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

COMMUNICATION = 0.11
SERIAL_SHARE = 0.02
# Where cores would be idle otherwise, shares of the grid pay down to this many points; and no ranks more than
# use half of their time.
FEWEST_POINTS_PER_RANK = 200_000
FEWEST_EFFICIENCY = 0.5


@dataclass(frozen=True)
class Work:
    """What there is to share out of one SCF: points of the FFT grid, its planes, k-points (of each spin)."""

    points: float
    planes: int
    kpoints: int = 1


def relative_time(work: Work, ranks: int, pools: int) -> float:
    """Return T(n, p) / T(1, 1)."""
    each = ranks // pools
    planes = math.ceil(work.planes / each) / work.planes * (1 + COMMUNICATION * math.log2(each))
    shared = (math.ceil(work.kpoints / pools) + 1) / (work.kpoints + 1)
    return shared * ((1 - SERIAL_SHARE) * planes + SERIAL_SHARE)


def pools_for(work: Work, ranks: int) -> int:
    """Return the number of pools with which an SCF on so many ranks is fastest."""
    possible = [pools for pools in range(1, min(ranks, work.kpoints) + 1) if ranks % pools == 0]
    # Small grids are not worth sharing, where pools can be had instead.
    fit = [pools for pools in possible if ranks // pools <= _most_in_a_pool(work)]
    return min(fit or possible, key=lambda pools: (relative_time(work, ranks, pools), pools))


def most_ranks_for(work: Work, cores: int) -> int:
    """Return on how many ranks, of at most ``cores``, an SCF is fastest without waste."""
    best, shortest = 1, 1.0
    for ranks in range(2, cores + 1):
        pools = pools_for(work, ranks)
        time = relative_time(work, ranks, pools)
        if (
            ranks // pools <= _most_in_a_pool(work)
            and time < shortest
            and time * ranks <= 1 / FEWEST_EFFICIENCY
        ):
            best, shortest = ranks, time
    return best


def _most_in_a_pool(work: Work) -> int:
    return max(1, int(work.points / FEWEST_POINTS_PER_RANK))
