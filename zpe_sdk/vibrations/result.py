"""From the SCFs of a finished job to its result: document, summary and table of frequencies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import numpy as np
from ase import units
from ase.formula import Formula
from numpy.typing import NDArray

from zpe_sdk.errors import ComputeError
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.vibrations.hessian import mobile_forces, raw_hessian, symmetrised
from zpe_sdk.vibrations.kinds import ModeKind, mode_kinds
from zpe_sdk.vibrations.masses import masses_of
from zpe_sdk.vibrations.modes import (
    heat_capacity,
    internal_energy,
    normal_modes,
    vibrational_entropy,
    zero_point_energy,
)
from zpe_sdk.vibrations.noise import acoustic_residual, asymmetry, estimate_noise
from zpe_sdk.vibrations.plan import Plan
from zpe_sdk.wire import Fingerprint, JobPayload, TaskReport, TaskRun, ZPEResultDocument

J_PER_MOL_K_IN_EV = float(units.mol / units.J)  # J/mol in 1 eV
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
    mobile, nat = list(plan.mobile), len(pw_input.symbols)
    fingerprint = _fingerprint(reports)
    masses, warnings = masses_of(pw_input)
    masses = masses[mobile]

    forces = {index: report.forces_ev_ang for index, report in reports.items()}
    raw = raw_hessian(plan, forces)
    hessian = symmetrised(raw)
    modes = normal_modes(hessian, masses)
    kinds: list[ModeKind] = ["vibration"] * (3 * len(mobile))
    whole = len(mobile) == nat
    if whole:
        kinds = mode_kinds(modes.eigenvectors, masses, pw_input.positions[mobile], pw_input.cell)
    counted = modes.frequencies_cm > payload.low_cut_cm
    real = modes.frequencies_cm[counted]

    residual = float(np.linalg.norm(mobile_forces(plan, forces, 0), axis=1).max())
    if residual > relaxed_ev_ang:
        warnings.append(
            f"the structure is not relaxed: a mobile atom feels {residual:.3f} eV/Å, above "
            f"{relaxed_ev_ang:g}; the frequencies are those of a point that is not a minimum"
        )
    warnings += mode_warnings(modes.frequencies_cm, kinds, payload.low_cut_cm)
    noise = estimate_noise(plan, raw, modes, masses, counted, complete=whole)

    entropy = vibrational_entropy(real, payload.temperature)
    energy = internal_energy(real, payload.temperature)
    system = pw_input.namelists.get("system", {})
    # Absent or 0: what the pseudopotentials suggest, which the input does not tell.
    ecutwfc = _number(system.get("ecutwfc")) or None
    ecutrho = _number(system.get("ecutrho")) or None
    return ZPEResultDocument(
        freqs_cm=modes.frequencies_cm.tolist(),
        zpe_ev=zero_point_energy(real),
        s_vib_jmol_k=entropy,
        mobile_indices=mobile,
        fixed_indices=list(pw_input.fixed_indices),
        kpts=_kpts(pw_input),
        delta=plan.delta,
        low_cut_cm=payload.low_cut_cm,
        temperature=payload.temperature,
        use_environ=payload.use_environ,
        qe_input=payload.content,
        pseudo_dir=reports[0].pseudo_dir or "",
        calc_start_time=started_at.isoformat(),
        calc_end_time=finished_at.isoformat(),
        elapsed_seconds=(finished_at - started_at).total_seconds(),
        cache_checked=len(reused),
        cache_deleted=0,
        ecutwfc=ecutwfc,
        # pw.x takes 4 ecutwfc where only that is given.
        ecutrho=4 * ecutwfc if ecutrho is None and ecutwfc is not None else ecutrho,
        u_vib_ev=energy,
        f_vib_ev=energy - payload.temperature * entropy / J_PER_MOL_K_IN_EV,
        cv_jmol_k=heat_capacity(real, payload.temperature),
        symbols=list(pw_input.symbols),
        positions=[(float(x), float(y), float(z)) for x, y, z in pw_input.positions],
        cell=[(float(x), float(y), float(z)) for x, y, z in pw_input.cell],
        masses=masses.tolist(),
        hessian=hessian.tolist(),
        # Rounded: they are for arrows and animations, and as many numbers as the Hessian has.
        modes=(np.round(modes.displacements, 6) + 0.0).tolist(),
        mode_kinds=list(kinds),
        imaginary_modes=np.flatnonzero(modes.frequencies_cm < 0).tolist(),
        energy_ev=reports[0].energy_ev,
        max_force_ev_ang=residual,
        warnings=warnings,
        symmetry={
            "order": plan.order,
            "displaced_atoms": sorted({d.atom for d in plan.displacements if d.atom is not None}),
        },
        checks={
            "scf_done": len(plan.displacements),
            "scf_full": plan.full_count,
            "scf_reused": len(reused),
            "hessian_asymmetry_ev_ang2": float(np.abs(asymmetry(raw)).max()),
            "acoustic_sum_ev_ang2": float(np.abs(acoustic_residual(raw)).max()) if whole else None,
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
    lines = [
        f"# ZPE summary: {Formula.from_list(d.symbols).format('hill')}, {mobile}",
        "",
        f"ZPE    {d.zpe_ev:12.6f} eV"
        + (f"   (± {1000 * error:.2g} meV from the forces' noise)" if error else ""),
        f"S_vib  {d.s_vib_jmol_k:12.4f} J/(mol K)",
        f"Cv_vib {d.cv_jmol_k:12.4f} J/(mol K)",
        f"U_vib  {d.u_vib_ev:12.6f} eV   (with the ZPE)",
        f"F_vib  {d.f_vib_ev:12.6f} eV   (U - TS)",
        f"E_scf  {d.energy_ev:12.6f} eV",
        "",
        f"Harmonic modes above {d.low_cut_cm:g} cm⁻¹ at {d.temperature:g} K.",
        "",
        "## Modes",
        "",
        "  mode  wavenumber/cm⁻¹   energy/meV  kind         counted",
        *(
            f"{k:6d}  {_imaginary(cm, 2):>15}  {_imaginary(1000 * cm * units.invcm, 3):>11}  {kind:<12} "
            f"{'yes' if cm > d.low_cut_cm else 'no'}"
            for k, (cm, kind) in enumerate(zip(d.freqs_cm, d.mode_kinds, strict=True))
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
        *_runs(d),
        f"largest force at the equilibrium {d.max_force_ev_ang:.4f} eV/Å"
        + (f", noise in the forces {noise:.2g} eV/Å" if noise else ""),
        f"from {d.calc_start_time} to {d.calc_end_time} ({d.elapsed_seconds:.1f} s)",
    ]
    return "\n".join(lines) + "\n"


def freqs_csv(document: ZPEResultDocument) -> str:
    """Return one line per mode, as CSV with a header; imaginary modes are negative."""
    lines = ["mode,frequency_cm-1,energy_meV,kind,counted_in_zpe"]
    for k, (cm, kind) in enumerate(zip(document.freqs_cm, document.mode_kinds, strict=True)):
        counted = "yes" if cm > document.low_cut_cm else "no"
        lines.append(f"{k},{cm:.6f},{1000 * cm * units.invcm:.6f},{kind},{counted}")
    return "\n".join(lines) + "\n"


def _fingerprint(reports: Mapping[int, TaskReport]) -> Fingerprint:
    prints = [report.fingerprint for report in reports.values()]
    if any(other != prints[0] for other in prints):
        raise ComputeError(
            "the SCFs were run with different physics (program, pseudopotentials or input); "
            "their forces cannot be mixed",
            code="fingerprint_mismatch",
        )
    return prints[0]


def mode_warnings(frequencies: NDArray[np.float64], kinds: Sequence[str], low_cut_cm: float) -> list[str]:
    """Return what is to be told of the modes: imaginary ones, and those on the wrong side of the cutoff.

    Parameters
    ----------
    frequencies
        Wavenumbers in cm⁻¹, shape (3M,); imaginary modes are negative.
    kinds
        Of each mode, see :func:`zpe_sdk.vibrations.kinds.mode_kinds`.
    low_cut_cm
        Modes above it, in cm⁻¹, are counted.
    """
    counted = frequencies > low_cut_cm
    vibrations = np.array([kind == "vibration" for kind in kinds])

    def named(which: NDArray[np.bool_]) -> str:
        return ", ".join(
            f"mode {k} ({_imaginary(frequencies[k], 1)} cm⁻¹, {kinds[int(k)]})" for k in np.flatnonzero(which)
        )

    def zpe_mev(which: NDArray[np.bool_]) -> float:
        return 500 * float(frequencies[which].sum()) * float(units.invcm)

    # Motions of the whole are imaginary by noise as often as not; that is no news below the cut.
    imaginary = (frequencies < 0) & (vibrations | (frequencies < -low_cut_cm))
    left_out = vibrations & (frequencies >= 0) & ~counted
    whole = ~vibrations & counted
    told = [
        (imaginary, "imaginary, the energy falls along it; not in ZPE and entropy"),
        (
            left_out,
            f"left out of ZPE and entropy, being below {low_cut_cm:g} cm⁻¹; "
            f"would add {zpe_mev(left_out):.2f} meV to the ZPE",
        ),
        (
            whole,
            f"counted in ZPE and entropy, being above {low_cut_cm:g} cm⁻¹, though a motion of the whole; "
            f"adds {zpe_mev(whole):.2f} meV to the ZPE",
        ),
    ]
    return [f"{named(which)}: {what}" for which, what in told if which.any()]


def _runs(document: ZPEResultDocument) -> list[str]:
    """Say which worker ran how many SCFs for how long."""
    counts = Counter(run.worker for run in document.tasks if not run.reused)
    lines = []
    for worker, count in counts.most_common():
        seconds = sum(r.scf_seconds for r in document.tasks if r.worker == worker and not r.reused)
        lines.append(f"{worker}: {count} SCF{'s' * (count > 1)}, {seconds:.1f} s")
    reused = sum(run.reused for run in document.tasks)
    return [*lines, f"{reused} taken over from earlier jobs"] if reused else lines


def _imaginary(value: float, digits: int) -> str:
    return f"{-value:.{digits}f}i" if value < 0 else f"{value:.{digits}f}"


def _kpts(pw_input: PwInput) -> tuple[int, int, int]:
    if pw_input.kpoints.mode == "gamma":
        return (1, 1, 1)
    return pw_input.kpoints.mesh or (0, 0, 0)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
