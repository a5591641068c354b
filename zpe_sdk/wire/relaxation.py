"""Relaxations: what is asked of one, its ionic steps, and how it ended."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from zpe_sdk.task import Vector
from zpe_sdk.wire.messages import (
    Fingerprint,
    Force,
    Id,
    Line,
    Magnetization,
    Many,
    Message,
    Number,
    TaskIndex,
)
from zpe_sdk.wire.names import JobState

# More steps than that are no relaxation but a search.
MAX_STEPS = 1000
# Of a job whose request and input say no number.
DEFAULT_STEPS = 100
StepCount = Annotated[int, Field(strict=True, ge=1, le=MAX_STEPS)]


class RelaxOptions(Message):
    """How to relax.

    Attributes
    ----------
    fmax
        The relaxation has ended well when no atom that is free to move feels a larger force (eV/Å, the
        length of the vector, as in ASE). Null: pw.x's ``forc_conv_thr``, for each component, of 1e-4 Ry/bohr
        (0.0026 eV/Å), or of the input if that is less.
    steps
        How many ionic steps to take at most; null: the input's ``nstep``, or 100.
    """

    # A wish that nobody understands would pass for granted.
    model_config = ConfigDict(extra="forbid")

    fmax: Annotated[float, Number, Field(ge=1e-4, le=1.0)] | None = None
    steps: StepCount | None = None


class IonicStep(Message):
    """One structure on the way of a relaxation, with the energy and the forces that it has.

    ``index`` counts from 0 over the whole relaxation, whoever computes it. ``positions`` (Å) and
    ``forces_ev_ang`` have one row per atom of the input, (nat, 3). ``max_force_ev_ang`` is the largest force
    on an atom, of components that are free to move.
    """

    index: Annotated[int, Field(ge=0, le=10 * MAX_STEPS)]
    positions: Annotated[list[Vector], Many]
    energy_ev: Annotated[float, Field(ge=-1e12, le=1e12)]
    forces_ev_ang: Annotated[list[tuple[Force, Force, Force]], Many]
    max_force_ev_ang: Annotated[float, Field(ge=0, le=1e9)]
    scf_seconds: Annotated[float, Field(ge=0, le=1e9)]
    scf_iterations: Annotated[int, Field(ge=0, le=10**9)] | None = None
    total_magnetization: Magnetization | None = None
    absolute_magnetization: Magnetization | None = None


class RelaxationState(Message):
    """Where a relaxation goes on.

    Attributes
    ----------
    done
        How many steps are stored: the next one has this index.
    positions
        Where the next step is to be computed (Å); null: at the input's own positions.
    history
        What the optimiser remembers of the steps so far, as the engine that wrote it understands it (of pw.x
        its ``.bfgs`` file); null: nothing.
    steps
        How many more steps may be taken.
    """

    done: Annotated[int, Field(ge=0, le=10 * MAX_STEPS)] = 0
    positions: list[Vector] | None = None
    history: Annotated[str, Field(max_length=4_000_000)] | None = None
    steps: Annotated[int, Field(ge=0, le=10 * MAX_STEPS)]


class StepRequest(Message):
    """An ionic step of a relaxation that a worker has just computed, and where it goes from there.

    ``next_positions`` and ``history`` are those of a :class:`RelaxationState` for whoever goes on.
    """

    lease_id: Id
    task: TaskIndex
    step: IonicStep
    next_positions: Annotated[list[Vector], Many] | None = None
    history: Annotated[str, Field(max_length=4_000_000)] | None = None
    fingerprint: Fingerprint


class StepReply(Message):
    """``idempotent``: the step was there already. Without ``lease_held`` the relaxation is to stop.

    ``reason`` is the code of a refusal, as in a TaskReportReply, and ``detail`` says it in words.
    """

    ok: bool = True
    idempotent: bool = False
    lease_held: bool = True
    reason: Line | None = None
    detail: Line | None = None
    job_status: JobState


# ``steps``: as many as allowed, and not there yet; ``stuck``: the optimiser found no way down although the
# forces are still too large; ``atom_lost``: an atom left all others.
Ending = Literal["converged", "steps", "stuck", "atom_lost"]


class RelaxationEnd(Message):
    """How a relaxation ended: the last structure (Å), and why it is the last one."""

    positions: Annotated[list[Vector], Many]
    reason: Ending
    detail: Annotated[Line, Field(max_length=500)] | None = None

    @property
    def converged(self) -> bool:
        """Whether the structure is what was asked for."""
        return self.reason == "converged"


class RelaxationRecord(Message):
    """A relaxation that is over: its steps, from the structure as given on, and why it ended."""

    steps: list[IonicStep]
    reason: Ending
    detail: Line | None = None
