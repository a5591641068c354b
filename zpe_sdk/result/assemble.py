"""From the SCFs of a finished job to its result: document, summary and table of frequencies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import datetime

import numpy as np
from ase import units
from ase.formula import Formula

from zpe_sdk.errors import ComputeError
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.result.derived import derived_fields
from zpe_sdk.result.masses import masses_of
from zpe_sdk.result.structure_text import relaxed_first
from zpe_sdk.vibrations.analysis import Settings, Structure, analyse
from zpe_sdk.vibrations.hessian import mobile_forces, raw_hessian
from zpe_sdk.vibrations.kinds import counted_modes
from zpe_sdk.vibrations.modes import wavenumber
from zpe_sdk.vibrations.plan import Plan
from zpe_sdk.wire import Fingerprint, JobPayload, TaskReport, TaskRun, ZPEResultDocument

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
    analysis = analyse(
        raw_hessian(plan, forces),
        Structure(pw_input.symbols, pw_input.positions, pw_input.cell, mobile, masses[mobile]),
        Settings(payload.low_cut_cm, payload.temperature, saddle=payload.expect == "saddle"),
        plan,
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
    warnings += analysis.warnings
    warnings += dict.fromkeys(
        f"pw.x: {told}" for index in sorted(reports) for told in reports[index].warnings
    )

    ecutwfc, ecutrho = pw_input.cutoffs
    return ZPEResultDocument(
        **derived_fields(analysis),
        expect=payload.expect,
        mobile_indices=mobile,
        fixed_indices=list(pw_input.fixed_indices),
        kpts=pw_input.mesh,
        delta=plan.delta,
        use_environ=payload.use_environ,
        qe_input=payload.content,
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
        checks={
            "scf_done": len(plan.displacements),
            "scf_full": plan.full_count,
            "scf_reused": len(reused),
            "hessian_asymmetry_ev_ang2": residuals.asymmetry_ev_ang2,
            "acoustic_sum_ev_ang2": residuals.acoustic_sum_ev_ang2,
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


def summary_text(document: ZPEResultDocument) -> str:
    """Return the result for people to read, its first line beginning with ``# ZPE summary``."""
    d = document
    error, noise = d.checks.get("zpe_error_ev"), d.checks.get("force_noise_ev_ang")
    mobile = f"{len(d.mobile_indices)} of {len(d.symbols)} atoms mobile"
    kpoints = "a list of k-points" if d.kpts == (0, 0, 0) else "x".join(str(n) for n in d.kpts) + " k-points"
    cutoffs = "" if d.ecutwfc is None or d.ecutrho is None else f", cutoffs {d.ecutwfc:g} / {d.ecutrho:g} Ry"
    mock = ", MOCK: springs in place of pw.x, no physics" if d.is_mock else ""
    lines = [
        f"# ZPE summary: {Formula.from_list(d.symbols).format('hill')}, {mobile}{mock}",
        "",
        f"ZPE    {d.zpe_ev:12.6f} eV"
        + (f"   (± {1000 * error:.2g} meV from noise and grid)" if error else ""),
        f"S_vib  {d.s_vib_jmol_k:12.4f} J/(mol K)",
        f"Cv_vib {d.cv_jmol_k:12.4f} J/(mol K)",
        f"U_vib  {d.u_vib_ev:12.6f} eV   (with the ZPE)",
        f"F_vib  {d.f_vib_ev:12.6f} eV   (U - TS)",
        f"E_scf  {d.energy_ev:12.6f} eV",
        *_magnetisation(d),
        "",
        f"Harmonic vibrations above {d.low_cut_cm:g} cm⁻¹ at {d.temperature:g} K.",
        "",
        "## Modes",
        "",
        "  mode  wavenumber/cm⁻¹   energy/meV  kind         counted",
        *(
            f"{k:6d}  {wavenumber(cm, 2):>15}  {wavenumber(mev, 3):>11}  {kind:<12} {counts}"
            for k, cm, mev, kind, counts in _table(d)
        ),
        "",
        "## Warnings",
        "",
        *([f"- {warning}" for warning in d.warnings] or ["none"]),
        "",
        "## How it was computed",
        "",
        f"{d.fingerprint.engine} {d.fingerprint.engine_version}, {kpoints}{cutoffs}"
        + (f", Environ {d.fingerprint.environ}" if d.fingerprint.environ else ""),
        f"{len(d.tasks)} of {6 * len(d.mobile_indices) + 1} SCFs "
        f"({d.symmetry.get('order', 1)} symmetry operations), displacements of {d.delta:g} Å",
        *([relaxed_first(d.relaxation)] if d.relaxation else []),
        *_runs(d),
        *_verified(d),
        f"largest force at the equilibrium {d.max_force_ev_ang:.4f} eV/Å"
        + (f", noise in the forces {noise:.2g} eV/Å" if noise else ""),
        f"from {d.calc_start_time} to {d.calc_end_time} ({d.elapsed_seconds:.1f} s)",
    ]
    return "\n".join(lines) + "\n"


def _magnetisation(document: ZPEResultDocument) -> list[str]:
    total, absolute = document.total_magnetization, document.absolute_magnetization
    if total is None or absolute is None:
        return []
    return [f"M      {total:12.4f} Bohr magnetons per cell   (absolute {absolute:.4f})"]


def freqs_csv(document: ZPEResultDocument) -> str:
    """Return one line per mode, as CSV with a header; imaginary modes are negative."""
    lines = ["mode,frequency_cm-1,energy_meV,kind,counted_in_zpe"]
    for k, cm, mev, kind, counts in _table(document):
        lines.append(f"{k},{cm:.6f},{mev:.6f},{kind},{counts}")
    if document.is_mock:
        # In a column of its own: a line more would trip programs that read the table.
        lines = [f"{line},{'engine' if n == 0 else 'MOCK'}" for n, line in enumerate(lines)]
    return "\n".join(lines) + "\n"


def _table(document: ZPEResultDocument) -> list[tuple[int, float, float, str, str]]:
    """Return number, wavenumber in cm⁻¹, energy in meV and kind of each mode, and whether it counts."""
    counted = counted_modes(document.freqs_cm, document.mode_kinds, document.low_cut_cm)
    return [
        (k, cm, 1000 * cm * float(units.invcm), kind, "yes" if counts else "no")
        for k, (cm, kind, counts) in enumerate(
            zip(document.freqs_cm, document.mode_kinds, counted, strict=True)
        )
    ]


def _fingerprint(reports: Mapping[int, TaskReport]) -> Fingerprint:
    prints = [report.fingerprint for report in reports.values()]
    if any(other != prints[0] for other in prints):
        raise ComputeError(
            "the SCFs were run with different physics (program, pseudopotentials or input); "
            "their forces cannot be mixed",
            code="fingerprint_mismatch",
        )
    return prints[0]


def _runs(document: ZPEResultDocument) -> list[str]:
    """Say which worker ran how many SCFs for how long."""
    counts = Counter(run.worker for run in document.tasks if not run.reused)
    lines = []
    for worker, count in counts.most_common():
        seconds = sum(r.scf_seconds for r in document.tasks if r.worker == worker and not r.reused)
        lines.append(f"{worker}: {count} SCF{'s' * (count > 1)}, {seconds:.1f} s")
    reused = sum(run.reused for run in document.tasks)
    return [*lines, f"{reused} taken over from earlier jobs"] if reused else lines


def _verified(document: ZPEResultDocument) -> list[str]:
    """Say how well two workers agree, where they have computed the same SCFs."""
    checks = document.checks
    if not (count := checks.get("scf_verified")):
        return []
    return [
        f"{count} SCF{'s' * (count > 1)} computed twice, by different workers; largest differences: "
        f"{checks['verified_force_ev_ang']:.1e} eV/Å (forces), {checks['verified_energy_ev']:.1e} eV (energy)"
    ]
