"""How the SCFs of one worker share this machine: cores and MPI ranks for each, and how pw.x is started."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Event

import structlog

from zpe_sdk.errors import ConfigError
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.mesh import kpoint_count
from zpe_sdk.espresso.run import has_environ, pw_command, pw_version
from zpe_sdk.worker.engines.cores import CorePool, available_cores, grid_lengths, ranks_for
from zpe_sdk.worker.engines.layout import Work, most_ranks_for, pools_for
from zpe_sdk.worker.settings import WorkerSettings

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Place:
    """Where one SCF runs.

    Attributes
    ----------
    command
        Argument list that starts pw.x.
    ranks
        MPI ranks that it starts.
    cpus
        Cores to pin it to; none: anywhere.
    """

    command: list[str]
    ranks: int
    cpus: Sequence[int]


class Machine:
    """The cores of this machine, and the pw.x on it.

    Parameters
    ----------
    settings
        Where pw.x is, and what the administrator has decided of cores and ranks.
    cores
        How many of the machine's cores are for this process; default: all, and each SCF is pinned to its own.
    """

    def __init__(self, settings: WorkerSettings, *, cores: int | None = None) -> None:
        self._settings = settings
        self.cores = available_cores() if cores is None else list(range(cores))
        self.slots = self._count_slots()
        # Which cores the machine's other processes use, nobody knows.
        self._pinned = cores is None and not settings.pw_command
        undecided = settings.slots == "auto" and settings.use_mpi is None and settings.np_core is None
        self._may_spread = self._pinned and undecided
        # More slots than cores: cores are shared out several times.
        self._pool = CorePool(
            [self.cores[i % len(self.cores)] for i in range(max(self.slots, len(self.cores)))]
        )
        self._announced = 0
        self._warned = False

    def version(self) -> str:
        """Ask pw.x for its version, and see to it that it runs as the settings want it to.

        Raises
        ------
        ConfigError
            ``pw_not_found``, ``mpi_unusable``: it does not.
        """
        s = self._settings
        version = _version(self.command(1))
        if s.use_mpi is False or s.pw_command:
            return version
        if s.use_mpi or s.np_core:
            ranks = self._wanted_ranks()
            _version(self.command(ranks), ranks)
        elif self._may_spread:
            self._most_ranks()
        return version

    def has_environ(self, pseudopotential: Path) -> bool:
        """Ask pw.x, once for each state of its file, whether it has Environ; see :func:`has_environ`."""
        return _has_environ(tuple(self.command(1)), pseudopotential, _program_time(self.command(1)))

    def programs(self) -> list[Path]:
        """List the files that the command which starts pw.x names: the program, and what launches it."""
        found = (shutil.which(word) for word in self.command(1))
        return [Path(path).resolve() for path in found if path]

    def command(self, ranks: int) -> list[str]:
        """Return the argument list that starts pw.x on so many ranks."""
        s = self._settings
        return pw_command(s.pw_path, pw_command=s.pw_command, mpi_cmd=s.mpi_cmd, ranks=ranks)

    def ranks(self, pw_input: PwInput) -> int:
        """Return how many MPI ranks an SCF of this input gets where there are others beside it."""
        s = self._settings
        if s.use_mpi is False or s.pw_command:
            return 1
        if s.use_mpi or s.np_core:
            return self._wanted_ranks()
        ranks = ranks_for(pw_input.cell, _ecutrho(pw_input), len(self.cores))
        return ranks if ranks == 1 else min(ranks, self._most_ranks())

    def slots_for(self, pw_input: PwInput) -> tuple[int, int]:
        """Return how many slots an SCF takes, and with how many it is still faster."""
        if not self._may_spread:
            return 1, 1
        ranks = self.ranks(pw_input)
        return ranks, max(ranks, most_ranks_for(_work(pw_input), self._most_ranks()))

    @contextmanager
    def take(
        self,
        pw_input: PwInput,
        stop: Event,
        *,
        slots: int | None = None,
        most: int = 1,
        symmetric: bool = False,
    ) -> Iterator[Place]:
        """Hold the cores of one SCF for the ``with`` block.

        Parameters
        ----------
        pw_input
            The job's input.
        stop
            Set it to wait for cores no longer.
        slots
            How many of :meth:`slots_for`; None: the least.
        most
            How many cores to take if they are free, as far as they make it faster.

        Raises
        ------
        ComputeError
            ``stopped``: ``stop`` was set before there were enough cores.
        ConfigError
            ``pw_not_found``: pw.x, or the launcher, is not there.
        """
        ranks = self.ranks(pw_input)
        self._announce(ranks)
        if slots and slots > ranks and self._may_spread:
            ranks = slots
        most = max(ranks, min(most, self.slots_for(pw_input)[1])) if self._may_spread else ranks
        with self._pool.take(self._cores_per_scf(ranks), stop, most=self._cores_per_scf(most)) as cpus:
            ranks = len(cpus) if most > ranks else ranks
            if ranks > self.ranks(pw_input):
                log.info("the SCF gets cores that are free", ranks=ranks)
            pin = self._pinned and self._uses_all_cores(ranks)
            yield Place([*self.command(ranks), *self._pools(pw_input, ranks)], ranks, cpus if pin else ())

    def _pools(self, pw_input: PwInput, ranks: int) -> list[str]:
        """Return pw.x's option that shares the k-points out; none for one pool."""
        if self._settings.pw_command or ranks == 1:
            return []
        pools = self._settings.pools or pools_for(_work(pw_input), ranks)
        return ["-nk", str(pools)] if pools > 1 else []

    def _count_slots(self) -> int:
        s = self._settings
        if s.slots != "auto":
            return s.slots
        if s.np_core is not None and s.use_mpi is not False:
            return max(1, len(self.cores) // s.np_core)
        # A command of the user's, or MPI wanted without a number, takes the machine as a whole.
        return 1 if s.pw_command or s.use_mpi else len(self.cores)

    def _wanted_ranks(self) -> int:
        """Return the number of ranks that the settings ask for."""
        return self._settings.np_core or max(1, len(self.cores) // self.slots)

    def _cores_per_scf(self, ranks: int) -> int:
        if self._settings.pw_command:
            return max(1, len(self.cores) // self.slots)
        return ranks

    def _uses_all_cores(self, ranks: int) -> bool:
        """Tell whether no core is left for others, such as a second worker, which would pin to the same."""
        return self.slots * self._cores_per_scf(ranks) >= len(self.cores)

    def _most_ranks(self) -> int:
        """Return on how many ranks the launcher runs one pw.x, up to one per core; say so if on fewer."""
        cores = len(self.cores)
        ranks, problem = _most_ranks(self._settings.pw_path, self._settings.mpi_cmd, cores)
        if problem and not self._warned:
            self._warned = True
            log.warning("MPI cannot use all cores for one SCF", cores=cores, ranks=ranks, reason=problem)
        return ranks

    def _announce(self, ranks: int) -> None:
        if ranks != self._announced:
            self._announced = ranks
            side_by_side = max(1, min(self.slots, len(self.cores) // max(1, self._cores_per_scf(ranks))))
            log.info(
                "cores shared out",
                cores=len(self.cores),
                scfs_side_by_side=side_by_side,
                ranks_per_scf=ranks,
            )


def _work(pw_input: PwInput) -> Work:
    """Return what there is of an SCF; displaced ones have the k-points of the equilibrium, or more."""
    lengths = grid_lengths(pw_input.cell, _ecutrho(pw_input))
    kpoints = kpoint_count(pw_input)
    return Work(points=float(lengths.prod()), planes=max(1, round(lengths[2])), kpoints=kpoints)


def _ecutrho(pw_input: PwInput) -> float:
    """Return the cutoff of the density in Ry, as pw.x takes it."""
    system = pw_input.namelists.get("system", {})
    ecutwfc, ecutrho = system.get("ecutwfc"), system.get("ecutrho")
    wave_functions = float(ecutwfc) if isinstance(ecutwfc, int | float) else 30.0
    return float(ecutrho) if isinstance(ecutrho, int | float) else 4 * wave_functions


def _version(command: Sequence[str], ranks: int = 1) -> str:
    """Ask pw.x for its version once for each state of its file; see :func:`pw_version`."""
    return _version_of(tuple(command), ranks, _program_time(command))


def _program_time(command: Sequence[str]) -> int:
    """Return when pw.x was last changed, in ns."""
    program = shutil.which(command[-1]) or shutil.which(command[0]) or command[0]
    return Path(program).stat().st_mtime_ns


@lru_cache(maxsize=8)
def _version_of(command: tuple[str, ...], ranks: int, mtime_ns: int) -> str:
    return pw_version(command, ranks=ranks)


@lru_cache(maxsize=8)
def _has_environ(command: tuple[str, ...], pseudopotential: Path, mtime_ns: int) -> bool:
    return has_environ(command, pseudopotential)


@lru_cache(maxsize=8)
def _most_ranks(pw_path: str, mpi_cmd: str, cores: int) -> tuple[int, str | None]:
    """Try MPI once: on all cores, half of them and so on, since a batch system may give it fewer slots.

    Returns
    -------
    tuple
        The number of ranks that one pw.x runs on, and why not on all cores, if so.
    """
    ranks, problem = cores, None
    while ranks > 1:
        try:
            _version(pw_command(pw_path, mpi_cmd=mpi_cmd, ranks=ranks), ranks)
        except ConfigError as error:
            problem = problem or error.message
            ranks //= 2
        else:
            break
    return ranks, problem
