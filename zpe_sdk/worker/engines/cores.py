"""The machine's cores and memory, and how SCFs share the cores."""

from __future__ import annotations

import contextlib
import math
import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Condition, Event

import numpy as np
from numpy.typing import NDArray

from zpe_sdk.errors import ComputeError

# Below this many points in the FFT grid of the density, one core per SCF and several SCFs side by side
# use a machine better than MPI does; above it, one MPI rank for every half million points.
SMALL_GRID = 1_000_000
POINTS_PER_RANK = 500_000
# Where a container reads its limits.
CGROUP = Path("/sys/fs/cgroup")


def available_cores() -> list[int]:
    """Return the ids of the cores this process may use, one per physical core.

    Affinity (batch systems, ``taskset``) and the CPU quota of a container both count.
    """
    if hasattr(os, "sched_getaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
    else:
        allowed = list(range(os.cpu_count() or 1))
    cores: dict[str, int] = {}
    for cpu in allowed:
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        with contextlib.suppress(OSError):
            cores.setdefault(siblings.read_text().strip(), cpu)
            continue
        cores[f"cpu{cpu}"] = cpu
    return sorted(cores.values())[: _quota()]


def _quota() -> int | None:
    with contextlib.suppress(OSError, ValueError):
        quota, period = (CGROUP / "cpu.max").read_text().split()
        return max(1, math.floor(int(quota) / int(period)))  # "max" is no number: no quota
    return None


def available_memory_gb() -> float:
    """Return the memory that this process may use, in GB (10⁹ bytes): the machine's, or its container's."""
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):
        size = min(size, int((CGROUP / "memory.max").read_text()))  # "max" is no number
    return round(size / 1e9, 1)


def memory_free_gb() -> float | None:
    """Return the memory that programs may still take, in GB (10⁹ bytes); None where that is not told.

    The least of what Linux says of the machine (``MemAvailable``) and what the limit of the container leaves.
    """
    machine = _table(Path("/proc/meminfo"))
    if "MemAvailable:" not in machine:
        return None
    free = 1024 * machine["MemAvailable:"]  # told in units of 1024 bytes
    with contextlib.suppress(OSError, ValueError, KeyError):
        used = int((CGROUP / "memory.current").read_text())
        # The cache of files counts as used, and gives way.
        used -= _table(CGROUP / "memory.stat")["inactive_file"]
        free = min(free, int((CGROUP / "memory.max").read_text()) - used)
    return round(max(0, free) / 1e9, 1)


def _table(file: Path) -> dict[str, int]:
    """Return the numbers of a file that has a name and a number in each line; none without the file."""
    with contextlib.suppress(OSError):
        return {name: int(number) for name, number, *_ in map(str.split, file.read_text().splitlines())}
    return {}


def ranks_for(cell: NDArray[np.float64], ecutrho: float, cores: int) -> int:
    """Return how many MPI ranks one SCF deserves: 1 for small cells, more for large ones.

    Parameters
    ----------
    cell
        Lattice vectors in Å, shape (3, 3), one per row.
    ecutrho
        Cutoff of the density in Ry: the grid holds plane waves up to sqrt(ecutrho) per bohr.
    cores
        Number of cores; the answer divides it.
    """
    points = grid_points(cell, ecutrho)
    if points <= SMALL_GRID:
        return 1
    wanted = math.ceil(points / POINTS_PER_RANK)
    return next((ranks for ranks in range(wanted, cores) if cores % ranks == 0), cores)


def grid_points(cell: NDArray[np.float64], ecutrho: float) -> float:
    """Return about how many points the FFT grid of the density has; see :func:`ranks_for`."""
    return float(np.prod(grid_lengths(cell, ecutrho)))


def grid_lengths(cell: NDArray[np.float64], ecutrho: float) -> NDArray[np.float64]:
    """Return about how many points the FFT grid has along each lattice vector, shape (3,)."""
    from ase.units import Bohr

    lengths = np.linalg.norm(cell, axis=1) / Bohr
    return np.asarray(2 * np.sqrt(ecutrho) * lengths / (2 * np.pi))


class CorePool:
    """Hands out cores, first come, first served, so that small SCFs never starve a large one.

    Parameters
    ----------
    cores
        Ids of the cores.
    """

    def __init__(self, cores: Sequence[int]) -> None:
        self._free = deque(cores)
        self._size = len(cores)
        self._waiting: deque[object] = deque()
        self._changed = Condition()

    @contextmanager
    def take(self, count: int, stop: Event, *, most: int = 0) -> Iterator[list[int]]:
        """Hold ``count`` cores (or all, if there are fewer) for the ``with`` block.

        When their turn has come, up to ``most`` that are free then.

        Raises
        ------
        ComputeError
            ``stopped``: ``stop`` was set before there were enough.
        """
        count = min(count, self._size)
        turn = object()
        with self._changed:
            self._waiting.append(turn)
            try:
                while self._waiting[0] is not turn or len(self._free) < count:
                    if stop.is_set():
                        raise ComputeError("the run was stopped on request", code="stopped")
                    self._changed.wait(0.2)
                taken = [self._free.popleft() for _ in range(min(max(count, most), len(self._free)))]
            finally:
                self._waiting.remove(turn)
                self._changed.notify_all()
        try:
            yield taken
        finally:
            with self._changed:
                self._free.extend(taken)
                self._changed.notify_all()
