"""How the engine of pw.x relaxes a structure: step by step, and gently where an SCF does not converge."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import numpy as np
import structlog
from numpy.typing import NDArray

from zpe_sdk.errors import ComputeError
from zpe_sdk.espresso import density, environ
from zpe_sdk.espresso.contacts import lost_atom
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.ionic_steps import IonicResult
from zpe_sdk.espresso.relaxation import relaxation_text
from zpe_sdk.espresso.run import run_relaxation
from zpe_sdk.espresso.structure import position_unit
from zpe_sdk.wire import Fingerprint, IonicStep, RelaxationEnd, RelaxationState, RelaxOptions, Vector
from zpe_sdk.wire.relaxation import Ending
from zpe_sdk.worker.engines import OnIteration, OnStep, StepTaken
from zpe_sdk.worker.engines.machine import Place

# What a RelaxationState holds. With more atoms, whoever goes on does so without the history.
LONGEST_HISTORY = 4_000_000

log = structlog.get_logger(__name__)


class _AtomLost(Exception):  # noqa: N818 - it ends pw.x and is no failure
    """An atom has left all others."""


@dataclass(frozen=True)
class Surroundings:
    """Where and how pw.x runs.

    Attributes
    ----------
    place
        The cores.
    version
        Of pw.x.
    folder
        A folder for the run, which is removed.
    pseudo_dir
        Where the pseudopotentials are.
    environ, nosym
        Environ's input, if it takes part; and whether it breaks the symmetry of the atoms.
    electrons, gentle
        Keys of ``&ELECTRONS``: for the first try, and for an SCF that has not converged.
    """

    place: Place
    version: str
    folder: Path
    pseudo_dir: Path
    environ: str | None
    nosym: bool
    electrons: Mapping[str, object]
    gentle: Mapping[str, object]


@dataclass(frozen=True)
class Relaxed:
    """A relaxation that is over: its last step, and how it ended."""

    last: IonicResult
    end: RelaxationEnd


class Relaxing:
    """One relaxation on this machine.

    Parameters
    ----------
    pw_input, options, state
        What to relax, until when, and from where on.
    surroundings
        Where and how.
    fingerprint
        Returns what decided the forces of a step.
    on_step
        Told of each step.
    prefix
        pw.x's ``prefix``.
    max_seconds
        The longest that a step may take.
    on_iteration
        Told of each iteration of a step's SCF.
    """

    def __init__(
        self,
        pw_input: PwInput,
        options: RelaxOptions,
        state: RelaxationState,
        surroundings: Surroundings,
        *,
        fingerprint: Callable[[IonicResult], Fingerprint],
        on_step: OnStep,
        prefix: str,
        max_seconds: float | None = None,
        on_iteration: OnIteration | None = None,
    ) -> None:
        self._pw_input = pw_input
        self._options = options
        self._state = state
        self._where = surroundings
        self._fingerprint = fingerprint
        self._on_step = on_step
        self._prefix = prefix
        self._max_seconds = max_seconds
        self._on_iteration = on_iteration
        self._free = pw_input.free
        self._last: IonicResult | None = None
        self._lost: str | None = None

    def run(self, stop: Event, *, keep_density: Path) -> Relaxed:
        """Relax; an SCF that does not converge is tried once more from there, with gentler mixing.

        Parameters
        ----------
        stop
            When it is set, pw.x is ended at once.
        keep_density
            Folder for the density of the relaxed structure.

        Raises
        ------
        ZPEError
            The relaxation failed.
        """
        where = self._where
        try:
            reason: Ending | None = None
            tried_at: int | None = None
            while reason is None:
                gentle = tried_at == self._state.done
                try:
                    reason = self._go_on(where.gentle if gentle else where.electrons, stop)
                except ComputeError as error:
                    if error.code != "scf_not_converged" or gentle:
                        raise
                    tried_at = self._state.done
                    log.warning("the step is tried again with gentler mixing", reason=error.message)
            if reason == "converged":
                try:
                    density.keep(where.folder / f"{self._prefix}.save", keep_density)
                except OSError as error:  # a full disk: what was computed counts all the same
                    log.warning("the density could not be kept for other SCFs", reason=str(error))
            assert self._last is not None  # pw.x ends no relaxation before its first step
            detail = self._detail(reason)
            end = RelaxationEnd(positions=rows(self._last.positions), reason=reason, detail=detail)
            return Relaxed(self._last, end)
        finally:
            shutil.rmtree(where.folder, ignore_errors=True)

    def _go_on(self, electrons: Mapping[str, object], stop: Event) -> Ending:
        where, state, pw_input = self._where, self._state, self._pw_input
        shutil.rmtree(where.folder, ignore_errors=True)
        where.folder.mkdir(parents=True)
        positions = pw_input.positions if state.positions is None else np.array(state.positions)
        text = relaxation_text(
            pw_input,
            self._options,
            prefix=self._prefix,
            outdir="./",
            pseudo_dir=str(where.pseudo_dir),
            electrons=electrons,
            steps=state.steps,
            positions=None if state.positions is None else positions,
            nosym=where.nosym,
        )
        card = pw_input.cards["ATOMIC_POSITIONS"]
        try:
            return run_relaxation(
                where.place.command,
                text,
                where.folder,
                prefix=self._prefix,
                positions=positions,
                unit=position_unit(card.unit, pw_input.alat, pw_input.cell),
                on_step=self._step,
                history=_history_for(where.version, state.history),
                ranks=where.place.ranks,
                cpus=where.place.cpus,
                environ=environ.run_text(where.environ, restart=False) if where.environ else None,
                stop=stop,
                max_seconds=self._max_seconds,
                on_iteration=self._on_iteration,
            )
        except _AtomLost:
            return "atom_lost"

    def _step(self, result: IonicResult) -> None:
        index = self._state.done
        force = max_force(result.forces_ev_ang, self._free)
        following = None if result.next_positions is None else rows(result.next_positions)
        history = _marked(result)
        step = IonicStep(
            index=index,
            positions=rows(result.positions),
            energy_ev=result.energy_ev,
            forces_ev_ang=rows(result.forces_ev_ang),
            max_force_ev_ang=force,
            scf_seconds=result.seconds,
            scf_iterations=result.iterations,
            total_magnetization=result.total_magnetization,
            absolute_magnetization=result.absolute_magnetization,
        )
        self._last = result
        self._state = _further(self._state, following, history)
        if result.next_positions is not None:
            self._lost = self._name_lost(result.next_positions)
        log.info("ionic step done", step=index, energy_ev=result.energy_ev, max_force_ev_ang=round(force, 5))
        self._on_step(
            StepTaken(
                step,
                None if self._lost else following,
                None if self._lost else history,
                self._fingerprint(result),
            )
        )
        if self._lost:
            raise _AtomLost

    def _name_lost(self, positions: NDArray[np.float64]) -> str | None:
        pw_input = self._pw_input
        lost = lost_atom(pw_input.symbols, pw_input.positions, positions, pw_input.cell)
        if lost is None:
            return None
        return f"atom {lost + 1} ({pw_input.symbols[lost]}) is leaving all others"

    def _detail(self, reason: Ending) -> str | None:
        match reason:
            case "atom_lost":
                return self._lost
            case "stuck":
                return "pw.x's BFGS found no lower energy although the forces are above the threshold"
            case "steps":
                return f"not there after {self._state.done} steps"
        return None


def rows(array: NDArray[np.float64]) -> list[Vector]:
    """Return an array of shape (nat, 3) as messages have it."""
    return [(float(x), float(y), float(z)) for x, y, z in array]


def max_force(forces: NDArray[np.float64], free: NDArray[np.bool_]) -> float:
    """Return the largest force on an atom, of the components that are free to move."""
    return float(np.linalg.norm(np.where(free, forces, 0.0), axis=1).max(initial=0.0))


def _marked(result: IonicResult) -> str | None:
    """Return the history of a step with the version of pw.x in front; None if it is too long."""
    history = f"{result.version}\n{result.history}"
    return history if result.history and len(history) <= LONGEST_HISTORY else None


def _history_for(version: str, history: str | None) -> str | None:
    """Return what a version of pw.x can read of a history: the file of another one may make it stop."""
    written_by, _, text = (history or "").partition("\n")
    if history and written_by != version:
        log.warning("the optimiser begins anew", history_of=written_by[:20], version=version)
    return text if text and written_by == version else None


def _further(state: RelaxationState, positions: list[Vector] | None, history: str | None) -> RelaxationState:
    """Return a state one step further."""
    return RelaxationState(
        done=state.done + 1, positions=positions, history=history, steps=max(0, state.steps - 1)
    )
