"""The ionic steps of a relaxation, read while pw.x runs."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zpe_sdk.errors import ComputeError
from zpe_sdk.espresso import said
from zpe_sdk.espresso.banner import version_in
from zpe_sdk.espresso.environ_output import check_environ, environ_in
from zpe_sdk.espresso.fortran import real
from zpe_sdk.espresso.output import check_numbers, printed
from zpe_sdk.espresso.process import Output

# Of a relaxation that pw.x has ended by itself.
Ending = Literal["converged", "steps", "stuck"]
_SCF = "     Self-consistent Calculation"
_OVER = "End of BFGS Geometry Optimization"
_NO_MORE_STEPS = "The maximum number of steps has been reached."
_CYCLES = re.compile(r"^ +number of scf cycles += +(\d{1,9})$", re.M)
# Before 7.0, and since.
_STUCK = ("history already reset at previous step: stopping", "bfgs failed after")


@dataclass(frozen=True)
class IonicResult:
    """An ionic step that is done.

    Attributes
    ----------
    positions
        The structure that was computed, in Å, shape (nat, 3).
    energy_ev, forces_ev_ang
        Its energy (with smearing: the free energy) and its forces, on fixed atoms too.
    seconds
        Wall-clock time of the step.
    iterations, total_magnetization, absolute_magnetization, warnings, version, environ
        See :class:`zpe_sdk.espresso.output.ScfResult`.
    next_positions
        Where pw.x goes from there; None: it ends here.
    history
        pw.x's ``.bfgs`` file as of this step; None if there is none that belongs to it.
    """

    positions: NDArray[np.float64]
    energy_ev: float
    forces_ev_ang: NDArray[np.float64]
    seconds: float
    iterations: int | None
    version: str
    environ: str | None
    total_magnetization: float | None
    absolute_magnetization: float | None
    warnings: tuple[str, ...]
    next_positions: NDArray[np.float64] | None
    history: str | None


class StepReader:
    """Listens to pw.x and tells of each ionic step when pw.x has decided where to go from there.

    Parameters
    ----------
    positions
        Where the relaxation begins, in Å, shape (nat, 3).
    unit
        The vectors (Å) of which pw.x prints the multiples: see
        :func:`zpe_sdk.espresso.structure.position_unit`.
    bfgs_file
        Where pw.x keeps the history of its optimiser.
    environ
        Environ's input, if it has to take part.
    on_step
        Called with each step; an exception of its ends pw.x.
    """

    def __init__(
        self,
        positions: NDArray[np.float64],
        unit: NDArray[np.float64],
        bfgs_file: Path,
        *,
        environ: str | None,
        on_step: Callable[[IonicResult], None],
    ) -> None:
        self._positions = positions
        self._unit = unit
        self._bfgs_file = bfgs_file
        self._environ = environ
        self._on_step = on_step
        self._head: int | None = None  # how long the output is before the first SCF
        self._rows: list[list[float]] | None = None  # of ATOMIC_POSITIONS, while they come
        self._since = time.monotonic()
        self.ending: Ending | None = None

    def listen(self, line: str, output: Output) -> None:
        """Take a line of the output."""
        if self._head is None and line.startswith(_SCF):
            self._head = output.place
        elif self._rows is not None:
            row = [real(word) for word in line.split()[1:4]]
            if len(row) < 3 or not np.all(np.isfinite(row)):
                raise ComputeError("pw.x went on to places that are no numbers", code="pw_crashed")
            self._rows.append(row)
            if len(self._rows) == len(self._positions):
                following = np.array(self._rows) @ self._unit
                self._rows = None
                self._done(output.so_far, following)
                output.forget(self._head or 0)
        elif line.startswith("ATOMIC_POSITIONS"):
            self._rows = []

    def _done(self, text: str, following: NDArray[np.float64]) -> None:
        if error := said.ignored(text):
            raise error
        found = printed(text)
        if found is None:
            raise ComputeError("pw.x took an ionic step without converged forces", code="pw_crashed")
        check_numbers(found)
        if self._environ is not None:
            check_environ(text, self._environ)
        self.ending = _ending(text)
        goes_on = self.ending in (None, "steps")
        total, absolute = found.moments or (None, None)
        result = IonicResult(
            self._positions,
            found.energy,
            found.forces,
            time.monotonic() - self._since,
            found.iterations,
            version_in(text) or "unknown",
            environ_in(text),
            total,
            absolute,
            tuple(said.warnings(text)),
            following if goes_on else None,
            self._history(text) if goes_on else None,
        )
        self._positions, self._since = following, time.monotonic()
        self._on_step(result)

    def _history(self, text: str) -> str | None:
        """Return what is in pw.x's file, which it writes before it prints where it goes from here.

        None if it cannot be read, or is of another step.
        """
        try:
            history = self._bfgs_file.read_text(errors="replace")
        except OSError:
            return None
        cycles = _CYCLES.search(text)
        if cycles is None or scf_cycles(history, len(self._positions)) != int(cycles[1]):
            return None
        return history


def scf_cycles(history: str, nat: int) -> int | None:
    """Return of which step a ``.bfgs`` file is, from 1 on; None if it is no whole file of so many atoms.

    Its numbers (bfgs_module.f90, write_bfgs_file) are: positions and gradient (n each); steps, accepted
    steps, steps for GDIIS; energy; old positions and old gradients (n each, ``bfgs_ndim`` times); inverse
    Hessian (n²); whether the history has been reset; length of the Newton step. n is 3 nat + 9 before 6.8,
    and 3 nat + 10 since.
    """
    longest = 3 * nat + 10
    words: list[str] = []
    for word in history.split():
        count, star, value = word.partition("*")  # some compilers write equal numbers once
        if star and not (count.isdecimal() and len(count) < 10 and int(count) <= longest**2):
            return None
        words += [value] * int(count) if star else [word]
    for n in (longest - 1, longest):
        old = len(words) - (2 * n + 4 + n * n + 2)
        if old > 0 and old % (2 * n) == 0:
            steps = words[2 * n]
            return int(steps) if steps.isdecimal() and len(steps) < 10 else None
    return None


def _ending(text: str) -> Ending | None:
    if _OVER not in text:
        return None
    if _NO_MORE_STEPS in text:
        return "steps"
    return "stuck" if any(sign in text for sign in _STUCK) else "converged"
