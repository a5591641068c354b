"""From the SCFs of a finished job to its result."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

import numpy as np

from zpe_sdk.errors import ComputeError
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.result.derived import derived_fields
from zpe_sdk.result.masses import masses_of
from zpe_sdk.result.polarity import polarity
from zpe_sdk.vibrations.analysis import Settings, Structure, analyse
from zpe_sdk.vibrations.hessian import mobile_forces, raw_hessian
from zpe_sdk.vibrations.irreps import point_operations
from zpe_sdk.vibrations.plan import Plan
from zpe_sdk.wire import (
    Fingerprint,
    JobPayload,
    SymmetryOperation,
    TaskReport,
    TaskRun,
    ZPEResultDocument,
)

RELAXED_EV_ANG = 0.05


def make_result(
    payload: JobPayload,
    pw_input: PwInput,
    plan: Plan,
    reports: Mapping[int, TaskReport],
    *,
    workers: Mapping[int, str],
    started_at: datetime,
    finished_at: datetime,
    reused: Collection[int] = (),
    relaxed_ev_ang: float = RELAXED_EV_ANG,
) -> ZPEResultDocument:
    """Return the result of a job all of whose SCFs are done.

    Parameters
    ----------
    payload, pw_input, plan
        The job, its parsed input and its plan.
    reports
        The outcome of each SCF, by task index.
    workers
        Name of the worker that ran it, by task index.
    started_at, finished_at
        When the first SCF was given out and the last came in; with a time zone.
    reused
        Indices of the tasks whose outcome was taken from an earlier job.
    relaxed_ev_ang
        Above this force on a mobile atom, in eV/Å, the structure is reported as not relaxed.

    Raises
    ------
    InputError
        ``forces_missing`` or ``forces_invalid``.
    ComputeError
        ``fingerprint_mismatch``: the SCFs were run with different physics.
    """
    mobile = list(plan.mobile)
    fingerprint = _fingerprint(reports)
    masses, warnings = masses_of(pw_input)

    forces = {index: report.forces_ev_ang for index, report in reports.items()}
    system = pw_input.namelists.get("system", {})
    structure = Structure(
        pw_input.symbols,
        pw_input.positions,
        pw_input.cell,
        mobile,
        masses[mobile],
        point_operations(plan),
    )
    polar = polarity(plan, reports, structure, _number(system.get("tot_charge")) or 0.0)
    analysis = analyse(
        raw_hessian(plan, forces),
        structure,
        Settings(payload.low_cut_cm, payload.temperature, saddle=payload.expect == "saddle"),
        plan=plan,
        tensors=polar.tensors,
        stalled={index: report.lacking_ry for index, report in reports.items() if report.lacking_ry},
    )
    residuals = analysis.residuals
    assert residuals is not None
    noise = residuals.noise

    residual = float(np.linalg.norm(mobile_forces(plan, forces, 0), axis=1).max())
    if residual > relaxed_ev_ang:
        warnings.append(
            f"the structure is not relaxed: a mobile atom feels {residual:.3f} eV/Å, above "
            f"{relaxed_ev_ang:g}; the frequencies are those of a point that is not a minimum"
        )
    warnings += analysis.warnings + polar.warnings
    warnings += dict.fromkeys(
        f"pw.x: {told}" for index in sorted(reports) for told in reports[index].warnings
    )

    ecutwfc, ecutrho = pw_input.cutoffs
    return ZPEResultDocument(
        **derived_fields(analysis),
        **polar.fields,
        expect=payload.expect,
        mobile_indices=mobile,
        fixed_indices=list(pw_input.fixed_indices),
        kpts=pw_input.mesh,
        delta=plan.delta,
        use_environ=payload.use_environ,
        qe_input=payload.input_dir or "inline",
        pw_input=payload.content,
        pseudo_dir=reports[0].pseudo_dir or "",
        calc_start_time=started_at.isoformat(),
        calc_end_time=finished_at.isoformat(),
        elapsed_seconds=(finished_at - started_at).total_seconds(),
        cache_checked=len(reused),
        cache_deleted=0,
        ecutwfc=ecutwfc,
        ecutrho=ecutrho,
        symbols=list(pw_input.symbols),
        positions=[(float(x), float(y), float(z)) for x, y, z in pw_input.positions],
        cell=[(float(x), float(y), float(z)) for x, y, z in pw_input.cell],
        hessian=analysis.hessian.tolist(),
        energy_ev=reports[0].energy_ev,
        max_force_ev_ang=residual,
        total_magnetization=reports[0].total_magnetization,
        absolute_magnetization=reports[0].absolute_magnetization,
        warnings=warnings,
        symmetry={
            "order": plan.order,
            "displaced_atoms": sorted({d.atom for d in plan.displacements if d.atom is not None}),
        },
        symmetry_operations=[
            SymmetryOperation(rotation=o.rotation, permutation=o.permutation) for o in structure.operations
        ],
        checks={
            "scf_done": len(plan.displacements),
            "scf_full": plan.full_count,
            "scf_reused": len(reused),
            "hessian_asymmetry_ev_ang2": residuals.asymmetry_ev_ang2,
            "acoustic_sum_ev_ang2": residuals.acoustic_sum_ev_ang2,
            "polar_sum_e": polar.residual,
            "force_noise_ev_ang": noise and noise.force_ev_ang,
            "zpe_error_ev": noise and noise.zpe_ev,
        },
        fingerprint=fingerprint,
        tasks=[
            TaskRun(
                task=d.index,
                worker=workers[d.index],
                scf_seconds=reports[d.index].scf_seconds,
                scf_iterations=reports[d.index].scf_iterations,
                reused=d.index in reused,
            )
            for d in plan.displacements
        ],
    )


def _fingerprint(reports: Mapping[int, TaskReport]) -> Fingerprint:
    prints = [report.fingerprint for report in reports.values()]
    if any(other != prints[0] for other in prints):
        raise ComputeError(
            "the SCFs were run with different physics (program, pseudopotentials or input); "
            "their forces cannot be mixed",
            code="fingerprint_mismatch",
        )
    return prints[0]


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
