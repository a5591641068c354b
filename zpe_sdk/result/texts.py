"""A result as texts: a summary for people, a table for programs."""

from __future__ import annotations

from collections import Counter

from ase import units
from ase.formula import Formula

from zpe_sdk.result.data import ResultData
from zpe_sdk.result.structure_text import dipole_lines, relaxed_first
from zpe_sdk.result.thermo import gas_thermochemistry
from zpe_sdk.vibrations.kinds import counted_modes
from zpe_sdk.vibrations.modes import wavenumber
from zpe_sdk.wire import ZPEResultDocument


def summary_text(document: ZPEResultDocument) -> str:
    """Return the result for people to read, its first line beginning with ``# ZPE summary``.

    The last lines are for programs that look for ``ZPE (eV):`` and ``S_vib(298.15 K):``.
    """
    d = document
    noise = d.checks.get("force_noise_ev_ang")
    mobile = f"{len(d.mobile_indices)} of {len(d.symbols)} atoms mobile"
    kpoints = "a list of k-points" if d.kpts == (0, 0, 0) else "x".join(str(n) for n in d.kpts) + " k-points"
    cutoffs = "" if d.ecutwfc is None or d.ecutrho is None else f", cutoffs {d.ecutwfc:g} / {d.ecutrho:g} Ry"
    mock = ", MOCK: springs in place of pw.x, no physics" if d.is_mock else ""
    lines = [
        f"# ZPE summary: {Formula.from_list(d.symbols).format('hill')}, {mobile}{mock}",
        "",
        _zero_point_energy(d),
        f"E_scf  {d.energy_ev:12.6f} eV",
        *dipole_lines(d.dipole_e_ang),
        *_magnetisation(d),
        "",
        *_heat(d),
        "",
        "## Modes",
        "",
        *_modes(d),
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
        *_sum_rule(d),
        f"from {d.calc_start_time} to {d.calc_end_time} ({d.elapsed_seconds:.1f} s)",
        "",
        "## For programs",
        "",
        f"ZPE (eV): {d.zpe_ev:.6f}",
        f"S_vib({d.temperature} K): {d.s_vib_jmol_k:.4f} J/mol/K",
    ]
    return "\n".join(lines) + "\n"


def _zero_point_energy(document: ZPEResultDocument) -> str:
    error = document.checks.get("zpe_error_ev")
    told = f"   (± {1000 * error:.2g} meV from noise and grid)" if error else ""
    return f"ZPE    {document.zpe_ev:12.6f} eV{told}"


def _heat(document: ZPEResultDocument) -> list[str]:
    """Return what heat does: to a free molecule as a gas first, whose vibrations have next to no entropy."""
    d, gas = document, gas_thermochemistry(ResultData(document), document.temperature)
    vibrations = [
        f"Harmonic vibrations above {d.low_cut_cm:g} cm⁻¹ at {d.temperature:g} K:",
        "",
        f"S_vib  {d.s_vib_jmol_k:12.4f} J/(mol K)",
        f"Cv_vib {d.cv_jmol_k:12.4f} J/(mol K)",
        f"U_vib  {d.u_vib_ev:12.6f} eV   (with the ZPE)",
        f"F_vib  {d.f_vib_ev:12.6f} eV   (U - TS)",
    ]
    if gas is None:
        return vibrations
    return [
        f"As an ideal gas at {d.temperature:g} K and 1 bar "
        f"(symmetry number {gas.symmetry_number}, spin {gas.spin:g}):",
        "",
        f"S_gas  {gas.entropy_jmol_k:12.4f} J/(mol K)",
        f"Cp_gas {gas.heat_capacity_jmol_k:12.4f} J/(mol K)",
        f"H_gas  {gas.enthalpy_ev:12.6f} eV   (with the ZPE)",
        f"G_gas  {gas.free_energy_ev:12.6f} eV   (H - TS)",
        "",
        *vibrations,
    ]


def _magnetisation(document: ZPEResultDocument) -> list[str]:
    total, absolute = document.total_magnetization, document.absolute_magnetization
    if total is None or absolute is None:
        return []
    return [f"M      {total:12.4f} Bohr magnetons per cell   (absolute {absolute:.4f})"]


def _modes(document: ZPEResultDocument) -> list[str]:
    """Return a line for each mode; intensities only where they are known."""
    intensities, irreps = document.ir_intensities_km_mol, document.irreps
    header = "  mode  wavenumber/cm⁻¹   energy/meV  kind         counted"
    if intensities is not None:
        header += "  IR/(km/mol)"
    if irreps is not None:
        header += "  irrep"
    lines = [*_symmetry(document), f"{header}  what moves"]
    for (k, cm, mev, kind, counts), motion in zip(
        _table(document), ResultData(document).assignments, strict=True
    ):
        line = f"{k:6d}  {wavenumber(cm, 2):>15}  {wavenumber(mev, 3):>11}  {kind:<12} {counts:<7}"
        if intensities is not None:
            line += f"  {intensities[k]:11.2f}" if kind == "vibration" else 13 * " "
        if irreps is not None:
            line += f"  {irreps[k] or '':<5}" if kind == "vibration" else 7 * " "
        lines.append(f"{line}  {motion if kind == 'vibration' else ''}".rstrip())
    return lines


def _symmetry(document: ZPEResultDocument) -> list[str]:
    """Say which point group structure, cell and k-points have, and of what kinds its vibrations are."""
    if document.irreps is None:
        return []
    counts = Counter(
        irrep
        for irrep, kind in zip(document.irreps, document.mode_kinds, strict=True)
        if irrep is not None and kind == "vibration"
    )
    # Of a degenerate set each mode is in the list.
    sets = {
        irrep: count // {"E": 2, "Π": 2, "T": 3}.get(irrep[0], 1) for irrep, count in sorted(counts.items())
    }
    kinds = " + ".join(f"{count if count > 1 else ''} {irrep}".strip() for irrep, count in sets.items())
    return [f"Point group {document.point_group}: {kinds}".removesuffix(": "), ""]


def freqs_csv(document: ZPEResultDocument) -> str:
    """Return one line per mode, as CSV with a header, the wavenumber first; imaginary modes are negative.

    Intensities (km/mol) and irreducible representations have columns where they are known.
    """
    intensities = document.ir_intensities_km_mol
    header = ["frequency_cm^-1", "mode", "energy_meV", "kind", "counted_in_zpe"]
    rows = [
        [f"{cm:.6f}", str(k), f"{mev:.6f}", kind, counts] for k, cm, mev, kind, counts in _table(document)
    ]
    if document.is_mock:
        # In a column of its own: a line more would trip programs that read the table.
        header.append("engine")
        rows = [[*row, "MOCK"] for row in rows]
    if intensities is not None:
        header.append("ir_intensity_km_mol")
        rows = [[*row, f"{value:.6f}"] for row, value in zip(rows, intensities, strict=True)]
    if document.irreps is not None:
        header.append("irrep")
        rows = [[*row, irrep or ""] for row, irrep in zip(rows, document.irreps, strict=True)]
    return "".join(",".join(row) + "\n" for row in [header, *rows])


def _table(document: ZPEResultDocument) -> list[tuple[int, float, float, str, str]]:
    """Return number, wavenumber in cm⁻¹, energy in meV and kind of each mode, and whether it counts."""
    counted = counted_modes(document.freqs_cm, document.mode_kinds, document.low_cut_cm)
    return [
        (k, cm, 1000 * cm * float(units.invcm), kind, "yes" if counts else "no")
        for k, (cm, kind, counts) in enumerate(
            zip(document.freqs_cm, document.mode_kinds, counted, strict=True)
        )
    ]


def _runs(document: ZPEResultDocument) -> list[str]:
    """Say which worker ran how many SCFs for how long."""
    counts = Counter(run.worker for run in document.tasks if not run.reused)
    lines = []
    for worker, count in counts.most_common():
        seconds = sum(r.scf_seconds for r in document.tasks if r.worker == worker and not r.reused)
        lines.append(f"{worker}: {count} SCF{'s' * (count > 1)}, {seconds:.1f} s")
    reused = sum(run.reused for run in document.tasks)
    return [*lines, f"{reused} taken over from earlier jobs"] if reused else lines


def _sum_rule(document: ZPEResultDocument) -> list[str]:
    missed = document.checks.get("polar_sum_e")
    return [] if missed is None else [f"dipole derivatives miss their sum rule by {missed:.4f} e, shared out"]


def _verified(document: ZPEResultDocument) -> list[str]:
    """Say how well two workers agree, where they have computed the same SCFs."""
    checks = document.checks
    if not (count := checks.get("scf_verified")):
        return []
    return [
        f"{count} SCF{'s' * (count > 1)} computed twice, by different workers; largest differences: "
        f"{checks['verified_force_ev_ang']:.1e} eV/Å (forces), {checks['verified_energy_ev']:.1e} eV (energy)"
    ]
