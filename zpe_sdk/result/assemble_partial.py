"""What the SCFs that are in tell of a job that goes on: the modes of some of its mobile atoms."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from zpe_sdk.errors import InputError
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.result.masses import masses_of
from zpe_sdk.vibrations.analysis import Settings, Structure, analyse
from zpe_sdk.vibrations.hessian import assemble_hessian, pairs
from zpe_sdk.vibrations.plan import Plan
from zpe_sdk.vibrations.symmetry import Operation
from zpe_sdk.wire import JobPayload, PartialReply, TaskReport


def partial_spectrum(
    payload: JobPayload, pw_input: PwInput, plan: Plan, reports: Mapping[int, TaskReport]
) -> PartialReply:
    """Return the modes of the mobile atoms whose SCFs are in, with all other atoms held in place.

    Parameters
    ----------
    payload, pw_input, plan
        The job, its parsed input and its plan.
    reports
        The outcome of each SCF that is in, by task index.

    Raises
    ------
    InputError
        ``too_few_scfs``: there is no such atom yet; ``forces_invalid``.
    """
    part, tasks = partial_plan(plan, reports)
    hessian = assemble_hessian(part, {n: reports[task].forces_ev_ang for n, task in enumerate(tasks)})
    atoms = list(part.mobile)
    masses, _ = masses_of(pw_input)
    displaced = {d.atom for d in part.displacements}
    missing = sum(d.atom in displaced for d in plan.displacements) - len(tasks)
    structure = Structure(pw_input.symbols, pw_input.positions, pw_input.cell, atoms, masses[atoms])
    modes = analyse(hessian, structure, Settings(payload.low_cut_cm, payload.temperature)).modes
    return PartialReply(
        freqs_cm=modes.frequencies_cm.tolist(),
        mode_kinds=list(modes.kinds),
        atoms=atoms,
        symbols=[pw_input.symbols[atom] for atom in atoms],
        scf_done=len(reports),
        scf_total=len(plan.displacements),
        differences="forward" if missing else "central",
        detail=_meaning(len(atoms), len(plan.mobile), missing),
        engine=payload.engine,
    )


def partial_plan(plan: Plan, done: Collection[int]) -> tuple[Plan, tuple[int, ...]]:
    """Return the plan that the SCFs done complete: that of fewer mobile atoms.

    Of every pair of opposite displacements of an atom one at least must be done, and the equilibrium. With
    both, the difference is central; with one it is that to the equilibrium, whose error is of first order in
    the displacement and not of second. With a displaced atom come all that symmetry takes it to.

    Parameters
    ----------
    plan
        The plan of all mobile atoms.
    done
        Indices of the tasks whose forces are known.

    Returns
    -------
    plan
        The plan of some of the mobile atoms, in the order of ``plan.mobile``; its SCFs count from 0.
    tasks
        The task in ``plan`` of each of its SCFs.

    Raises
    ------
    InputError
        ``too_few_scfs``: no atom is complete.
    """
    needed = pairs(plan)
    lacking = {a.atom for a, b in needed if a.index not in done and (b is None or b.index not in done)}
    displaced = {a.atom for a, _ in needed} - lacking if 0 in done else set()
    starts = [k for k, atom in enumerate(plan.mobile) if atom in displaced]
    places = sorted({*starts, *(target for k in starts for _, _, target in plan.paths(k))})
    if not places:
        raise InputError(
            f"{len(done)} of {len(plan.displacements)} SCFs are done, too few for a partial spectrum: it "
            "takes the equilibrium and all displacements of an atom, or their opposites",
            code="too_few_scfs",
        )
    kept = [d for d in plan.displacements if d.index in done and (d.atom is None or d.atom in displaced)]
    numbers = {place: number for number, place in enumerate(places)}
    part = Plan(
        displacements=tuple(replace(d, index=number) for number, d in enumerate(kept)),
        mobile=tuple(plan.mobile[place] for place in places),
        delta=plan.delta,
        full_count=6 * len(places) + 1,
        order=plan.order,
        # No operation leads from these atoms to others: they are whole sets of equivalent ones.
        operations=tuple(
            Operation(o.rotation, tuple(numbers[o.permutation[place]] for place in places))
            for o in plan.operations
        ),
    )
    return part, tuple(d.index for d in kept)


def _meaning(covered: int, mobile: int, missing: int) -> str:
    which = "all" if covered == mobile else f"{covered} of {mobile}"
    text = f"Partial: the modes of {which} mobile atoms"
    if covered < mobile:
        text += ", with all other atoms held in place; they will shift and mix when these move too"
    if missing:
        text += (
            f"{';' if covered < mobile else ','} from one-sided differences, less accurate until the "
            f"{missing} opposite displacement{'s' if missing > 1 else ''} of these atoms are in"
        )
    return text + "."
