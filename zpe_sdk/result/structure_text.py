"""Summary and table of a single energy, or of a relaxation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from ase.formula import Formula

from zpe_sdk.vibrations.intensities import DEBYE_PER_E_ANG
from zpe_sdk.wire import EnergyDocument, RelaxationDocument, RelaxationRecord, TaskRun

# In words, how a relaxation ended.
ENDINGS = {
    "converged": "the forces are as small as was asked for",
    "steps": "all allowed steps are taken and the forces are still too large",
    "stuck": "the optimiser found no way down and the forces are still too large",
    "atom_lost": "an atom has left all others",
}


def structure_summary(document: EnergyDocument | RelaxationDocument) -> str:
    """Return the result for people to read; its first line begins with ``# Energy`` or ``# Relaxation``."""
    d = document
    relaxation = d.relaxation if isinstance(d, RelaxationDocument) else None
    free = sum(map(any, d.free))
    kpoints = "a list of k-points" if d.kpts == (0, 0, 0) else "x".join(str(n) for n in d.kpts) + " k-points"
    cutoffs = "" if d.ecutwfc is None or d.ecutrho is None else f", cutoffs {d.ecutwfc:g} / {d.ecutrho:g} Ry"
    mock = ", MOCK: springs in place of pw.x, no physics" if d.is_mock else ""
    title = "Energy" if relaxation is None else "Relaxation"
    magnetisation = (
        []
        if d.total_magnetization is None or d.absolute_magnetization is None
        else [
            f"M      {d.total_magnetization:14.4f} Bohr magnetons per cell   "
            f"(absolute {d.absolute_magnetization:.4f})"
        ]
    )
    lines = [
        f"# {title} summary: {Formula.from_list(d.symbols).format('hill')}, "
        f"{free} of {len(d.symbols)} atoms free to move{mock}",
        "",
        f"E_scf  {d.energy_ev:14.6f} eV",
        f"F_max  {d.max_force_ev_ang:14.6f} eV/Å   (the largest force on an atom, of what is free to move)",
        *dipole_lines(d.dipole_e_ang),
        *magnetisation,
        *(["", "## Relaxation", "", *relaxation_lines(relaxation)] if relaxation else []),
        "",
        "## Positions in Å",
        "",
        *(
            f"{symbol:2s} {x:14.8f} {y:14.8f} {z:14.8f}   {' '.join(str(int(c)) for c in flags)}"
            for symbol, (x, y, z), flags in zip(d.symbols, d.positions, d.free, strict=True)
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
        *_runs(d.tasks),
        f"from {d.calc_start_time} to {d.calc_end_time} ({d.elapsed_seconds:.1f} s)",
    ]
    return "\n".join(lines) + "\n"


def relaxation_lines(relaxation: RelaxationRecord) -> list[str]:
    """Return how a relaxation ended, and its steps: energy (eV) and largest force (eV/Å) of each."""
    told = ENDINGS[relaxation.reason] + (f": {relaxation.detail}" if relaxation.detail else "")
    return [
        f"{len(relaxation.steps)} steps; {told}",
        "",
        "  step         energy/eV   largest force/(eV/Å)",
        *(
            f"{step.index:6d}  {step.energy_ev:16.6f}  {step.max_force_ev_ang:21.5f}"
            for step in relaxation.steps
        ),
    ]


def relaxed_first(relaxation: RelaxationRecord) -> str:
    """Return in a line what a relaxation before the displacements did."""
    steps = relaxation.steps
    down = 1000 * (steps[0].energy_ev - steps[-1].energy_ev)
    force = steps[-1].max_force_ev_ang
    return f"relaxed first: {len(steps)} steps, {down:.1f} meV down, to a largest force of {force:.4f} eV/Å"


def structure_csv(document: EnergyDocument | RelaxationDocument) -> str:
    """Return one line per step of a relaxation, or the one of an energy, as CSV with a header."""
    d = document
    lines = ["step,energy_eV,max_force_eV_per_A,seconds"]
    if isinstance(d, RelaxationDocument):
        rows = [(s.energy_ev, s.max_force_ev_ang, s.scf_seconds) for s in d.relaxation.steps]
    else:
        rows = [(d.energy_ev, d.max_force_ev_ang, d.tasks[0].scf_seconds)]
    lines += [
        f"{n},{energy:.8f},{force:.6f},{seconds:.1f}" for n, (energy, force, seconds) in enumerate(rows)
    ]
    if d.is_mock:
        # In a column of its own, as in the table of frequencies.
        lines = [f"{line},{'engine' if n == 0 else 'MOCK'}" for n, line in enumerate(lines)]
    return "\n".join(lines) + "\n"


def _runs(tasks: Sequence[TaskRun]) -> list[str]:
    """Say which worker ran how many SCFs for how long."""
    counts = Counter(run.worker for run in tasks if not run.reused)
    lines = []
    for worker, count in counts.most_common():
        seconds = sum(run.scf_seconds for run in tasks if run.worker == worker and not run.reused)
        lines.append(f"{worker}: {count} SCF{'s' * (count > 1)}, {seconds:.1f} s")
    reused = sum(run.reused for run in tasks)
    return [*lines, f"{reused} taken over from earlier jobs"] if reused else lines


def dipole_lines(dipole_e_ang: Sequence[float] | None) -> list[str]:
    """Return a line for people with a dipole in D; none where it is not known."""
    if dipole_e_ang is None:
        return []
    x, y, z = np.round(DEBYE_PER_E_ANG * np.array(dipole_e_ang), 4) + 0.0  # no -0
    return [f"μ      {np.hypot(np.hypot(x, y), z):12.4f} D   ({x:.4f}, {y:.4f}, {z:.4f})"]
