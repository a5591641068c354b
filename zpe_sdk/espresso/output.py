"""What a finished ``pw.x`` run says: energy, forces, magnetisation."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase.units import Bohr, Hartree, Rydberg
from numpy.typing import NDArray

from zpe_sdk.errors import ComputeError
from zpe_sdk.espresso import said
from zpe_sdk.espresso.banner import version_in
from zpe_sdk.espresso.dipole import read_valences
from zpe_sdk.espresso.environ_output import environ_in
from zpe_sdk.espresso.failures import NOT_CONVERGED
from zpe_sdk.espresso.fortran import real

PARTLY = 1e-3  # of an electron; a state that holds more, or lacks more, is filled in part
STRONGEST_EV_ANG = 1e6  # above it, an overflow and no force


@dataclass(frozen=True)
class ScfResult:
    """A converged SCF.

    Attributes
    ----------
    energy_ev
        Total energy in eV (with smearing: the free energy, whose derivatives the forces are).
    forces_ev_ang
        Forces in eV/Å, shape (nat, 3), in the order of the input.
    iterations
        SCF iterations, or None if pw.x did not say.
    seconds
        Wall-clock time of the run in seconds.
    version
        Version of the ``pw.x`` that ran, e.g. ``"6.7MaX"``.
    environ
        Generation of Environ, if it took part: ``"3"``, or ``"1 or 2"``.
    total_magnetization, absolute_magnetization
        In Bohr magnetons per cell, of noncollinear spins the length of the vector; None without spin.
    warnings
        pw.x's own warnings that tell something about the result (:mod:`zpe_sdk.espresso.said`).
    valences
        Charges of the ions by species, in the order of the input; empty if pw.x did not print them.
    dipole_e_ang
        Dipole of the cell in e Å, once it is worked out (:mod:`zpe_sdk.espresso.dipole`).
    accuracy_ry
        How far from its end the SCF is at most, as pw.x estimates it, in Ry; None if that is not known. It is
        above ``conv_thr`` where the input has ``scf_must_converge = .false.``: pw.x then speaks of
        convergence after the last iteration, whatever has come of it.
    lacking_ry
        The same, of an SCF that counts though it has not come below the threshold that was wanted.
    memory_bytes
        What the run needed, by pw.x's estimate at its start, all ranks together; None if it gave none.
    """

    energy_ev: float
    forces_ev_ang: NDArray[np.float64]
    iterations: int | None
    seconds: float
    version: str
    environ: str | None = None
    total_magnetization: float | None = None
    absolute_magnetization: float | None = None
    warnings: tuple[str, ...] = ()
    valences: tuple[float, ...] = ()
    dipole_e_ang: tuple[float, float, float] | None = None
    accuracy_ry: float | None = None
    lacking_ry: float | None = None
    memory_bytes: float | None = None


def read_result(folder: Path, prefix: str, stdout: str, *, seconds: float) -> ScfResult | None:
    """Read a converged SCF with forces from its run folder; None if there is none.

    Nothing but the SCF and its forces counts: a run that was stopped, or failed, in a later step is
    as good as any. The XML file has full precision. Where pw.x did not come to write it, its printed
    forces serve (8 decimals in Ry/bohr, 3e-7 eV/Å).

    Parameters
    ----------
    folder
        The run's ``outdir``, which held no files of an earlier run.
    prefix
        pw.x's ``prefix``.
    stdout
        What pw.x printed.
    seconds
        Wall-clock time of the run.

    Raises
    ------
    ComputeError
        ``forces_invalid``: energy or forces are no finite numbers.
    """
    found = _from_xml(folder, prefix) or printed(stdout)
    if found is None:
        return None
    check_numbers(found)
    total, absolute = found.moments or (None, None)
    return ScfResult(
        found.energy,
        found.forces,
        found.iterations,
        seconds,
        version_in(stdout) or "unknown",
        environ_in(stdout),
        total,
        absolute,
        tuple(said.warnings(stdout)),
        tuple(read_valences(stdout)),
        accuracy_ry=found.accuracy,
        memory_bytes=_memory(stdout),
    )


class Found(NamedTuple):
    """What an SCF has come to, in eV and eV/Å: see :class:`ScfResult`."""

    energy: float
    forces: NDArray[np.float64]
    iterations: int | None
    moments: tuple[float, float] | None
    accuracy: float | None = None


def _from_xml(folder: Path, prefix: str) -> Found | None:
    for path in (folder / f"{prefix}.xml", folder / f"{prefix}.save" / "data-file-schema.xml"):
        try:
            output = ET.parse(path).getroot().find("output")
        # Cut off while pw.x was writing it, or in no encoding that there is: not there.
        except (FileNotFoundError, ET.ParseError, ValueError, LookupError):
            continue
        if output is None or output.findtext("convergence_info/scf_conv/convergence_achieved") != "true":
            continue
        forces, energy = output.find("forces"), output.findtext("total_energy/etot")
        if forces is None or not forces.text or energy is None:
            continue
        steps = output.findtext("convergence_info/scf_conv/n_scf_steps")
        # dims="3 nat", order="F": pw.x writes one atom per line, so C order here.
        numbers = np.array([real(word) for word in forces.text.split()])
        if len(numbers) % 3:
            continue
        return Found(
            real(energy) * Hartree,
            numbers.reshape(-1, 3) * (Hartree / Bohr),
            int(steps) if steps and steps.isdecimal() else None,
            _moments(output),
            _accuracy(output),
        )
    return None


def gap_of(save: Path) -> float | None:
    """Return the band gap in eV that an SCF has left in its ``.save`` folder, over its k-points.

    0 for a metal: states are filled in part, or bands overlap. None if that cannot be told: no such file, or
    no empty states in it.
    """
    try:
        states = (
            ET.parse(save / "data-file-schema.xml").getroot().iterfind("output/band_structure/ks_energies")
        )
        filled, empty = -np.inf, np.inf
        for point in states:
            energies, occupations = (
                np.array((point.findtext(name) or "").split(), dtype=np.float64)
                for name in ("eigenvalues", "occupations")
            )
            most = np.round(occupations.max(initial=0.0))
            if np.any(np.abs(occupations - most * (occupations > most / 2)) > PARTLY):
                return 0.0
            filled = max(filled, energies[occupations > most / 2].max(initial=-np.inf))
            empty = min(empty, energies[occupations < most / 2].min(initial=np.inf))
    except (OSError, ValueError, LookupError, ET.ParseError):
        return None
    return max(0.0, float(empty - filled) * Hartree) if np.isfinite(empty - filled) else None


def _accuracy(output: ET.Element) -> float | None:
    error = output.findtext("convergence_info/scf_conv/scf_error")
    return None if error is None else real(error) * Hartree / Rydberg


def _moments(output: ET.Element) -> tuple[float, float] | None:
    of = output.find("magnetization")
    if of is None or "true" not in (of.findtext("lsda"), of.findtext("noncolin")):
        return None
    total, absolute = of.findtext("total"), of.findtext("absolute")
    return None if total is None or absolute is None else (real(total), real(absolute))


# On one rank pw.x gives the first alone.
_MEMORY = re.compile(
    r"Estimated (?:max|total) dynamical RAM(?: per process)?\s+>\s+(\d+(?:\.\d+)?)\s*([KMG])B"
)
_BYTES = {"K": 1e3, "M": 1e6, "G": 1e9}


def _memory(stdout: str) -> float | None:
    return max((float(number) * _BYTES[unit] for number, unit in _MEMORY.findall(stdout)), default=None)


_FLOAT = r"([-+]?\d+\.\d+(?:[EeDd][-+]?\d+)?)"
_ENERGY = re.compile(rf"^!\s+total energy\s+=\s*{_FLOAT} Ry", re.M)
_FORCES = re.compile(r"Forces acting on atoms \(cartesian axes, Ry/au\):\s*\n(.*?)Total force =", re.S)
# What does not fit into its field is printed as stars.
_FIELD = r"([-+]?\d+\.\d+(?:[EeDd][-+]?\d+)?|\*+|[-+]?NaN|[-+]?Inf\w*)"
_FORCE = re.compile(rf"^\s+atom\s+\d+\s+type\s+\d+\s+force\s+=\s*{_FIELD}\s*{_FIELD}\s*{_FIELD}", re.M)
_ITERATIONS = re.compile(r"convergence has been achieved in\s+(\d+) iterations")
# Of noncollinear spins the vector, of collinear ones a number.
_TOTAL_MOMENT = re.compile(r"total magnetization\s+=((?:\s+[-+]?\d+\.\d+)+)\s+Bohr mag/cell")
_ABSOLUTE_MOMENT = re.compile(rf"absolute magnetization\s+=\s*{_FLOAT} Bohr mag/cell")


def check_numbers(found: Found) -> None:
    """Refuse what is no energy or no force.

    Raises
    ------
    ComputeError
        ``forces_invalid``: energy or forces are no finite numbers.
    """
    numbers = np.array([found.energy, *found.forces.ravel()])
    if not np.all(np.isfinite(numbers)) or np.abs(found.forces).max(initial=0) > STRONGEST_EV_ANG:
        raise ComputeError(
            "pw.x says that the SCF converged, but its energy or forces are not numbers or absurdly large",
            code="forces_invalid",
        )


def printed(stdout: str) -> Found | None:
    """Read a converged SCF with forces from what pw.x printed of it; None if there is none.

    The forces are those on all atoms: only behind this pw.x sets to zero what an input holds fixed.
    """
    energies, forces, steps = _ENERGY.findall(stdout), _FORCES.search(stdout), _ITERATIONS.findall(stdout)
    if not energies or forces is None or not steps or NOT_CONVERGED.search(stdout):
        return None
    # With high verbosity the total is followed by its parts, in the same format: the total comes first.
    total = forces[1].split("The non-local contrib", 1)[0]
    rows = np.array([[real(number) for number in row] for row in _FORCE.findall(total)])
    if not len(rows):
        return None
    totals, absolutes = _TOTAL_MOMENT.findall(stdout), _ABSOLUTE_MOMENT.findall(stdout)
    moments = None
    if totals and absolutes:
        vector = [float(number) for number in totals[-1].split()]
        moments = (vector[0] if len(vector) == 1 else float(np.linalg.norm(vector)), real(absolutes[-1]))
    return Found(real(energies[-1]) * Rydberg, rows * (Rydberg / Bohr), int(steps[-1]), moments)
