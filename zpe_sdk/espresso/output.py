"""What a finished ``pw.x`` run says: energy and forces, or the failure and whose it is."""

from __future__ import annotations

import re
import signal
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase.units import Bohr, Hartree, Rydberg
from numpy.typing import NDArray

from zpe_sdk.errors import ComputeError, ConfigError, InputError, ZPEError
from zpe_sdk.espresso import said

TAIL_LINES = 40
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
    found = _from_xml(folder, prefix) or _from_stdout(stdout)
    if found is None:
        return None
    numbers = np.array([found.energy, *found.forces.ravel()])
    if not np.all(np.isfinite(numbers)) or np.abs(found.forces).max(initial=0) > STRONGEST_EV_ANG:
        raise ComputeError(
            "pw.x says that the SCF converged, but its energy or forces are not numbers or absurdly large",
            code="forces_invalid",
        )
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
    )


def version_in(stdout: str) -> str | None:
    """Return the version of pw.x that its first lines tell, e.g. ``"6.7MaX"``."""
    found = re.search(r"Program PWSCF v\.\s*(\S+)", stdout)
    return found[1] if found else None


def ranks_in(stdout: str) -> int | None:
    """Return the number of MPI ranks that pw.x says it runs on; None if it is built without MPI."""
    # "Parallel version (MPI), running on 2 processors"; with OpenMP it counts cores, and the next line ranks.
    found = re.search(r"Number of MPI processes:\s*(\d+)", stdout) or re.search(
        r"Parallel version \(MPI\), running on\s*(\d+)", stdout
    )
    return int(found[1]) if found else None


def environ_in(stdout: str) -> str | None:
    """Return the generation of Environ that took part, ``"3"`` or ``"1 or 2"``; None if it did not.

    pw.x without the plug-in passes over ``-environ`` in silence. Two things are printed by the plug-in alone:
    a headline with its rules, which no title can hold, since a title is one line; and a line each time that
    it adds its potential, without which the SCF was one in vacuum.
    """
    if not _ENVIRON_ADDED.search(stdout):
        return None
    return next((version for version, banner in _ENVIRON_BANNERS.items() if banner.search(stdout)), None)


def has_environ(stdout: str) -> bool:
    """Tell whether the plug-in read its input, or missed it: whether this pw.x has it."""
    box = error_box(stdout)
    return _ENVIRON_READS in stdout or (box is not None and "environ" in box[0])


def environ_fault(stdout: str, environ: str) -> ZPEError | None:
    """Return why a converged SCF with Environ is no result, if it is none.

    Either Environ passed over a part of its input, or in the last iteration it did not find the answer of the
    medium to the density.

    Parameters
    ----------
    stdout
        What pw.x printed.
    environ
        Environ's input.
    """
    # A namelist that is there but empty says nothing that could be lost.
    empty = {name.upper() for name in re.findall(r"^[ \t]*(&\w+)\s*/", environ, re.M)}
    said = [card or namelist.upper() for card, namelist in _ENVIRON_IGNORED.findall(stdout)]
    if ignored := [name for name in said if name not in empty]:
        return InputError(
            f"Environ passed over {' and '.join(ignored)} of its input", code="bad_input", field="environ"
        )
    if _ENVIRON_NOT_CONVERGED.search(stdout.rpartition("iteration #")[2]):
        return ComputeError(
            "Environ's polarization charge did not converge in the last iteration of the SCF",
            code="scf_not_converged",
        )
    return None


def failure(stdout: str, stderr: str, code: int, *, out_of_memory: bool = False) -> ZPEError:
    """Name the failure of a run that left no result.

    Parameters
    ----------
    stdout, stderr
        What pw.x and its launcher printed.
    code
        Exit status; 128 + N for signal N.
    out_of_memory
        The kernel ended a process for want of memory while this one ran.

    Returns
    -------
    ZPEError
        With the last lines of the output as a note (``__notes__``), where tracebacks show them.
    """
    error = _name(stdout, stderr, code, out_of_memory)
    error.add_note("The last lines of pw.x's output:\n" + tail(stdout))
    if stderr.strip():
        error.add_note("Its standard error:\n" + tail(stderr))
    return error


def tail(text: str, lines: int = TAIL_LINES) -> str:
    """Return the last ``lines`` lines that are not blank."""
    return "\n".join([line.rstrip() for line in text.splitlines() if line.strip()][-lines:])


# ------------------------------------------------------------------------------------------ Environ

_ENVIRON_BANNERS = {
    "3": re.compile(
        r"^ {5}={80}\n[ ]*\n {34}Environ Setup Summary\n[ ]*\n {5}={80}$",
        re.M,
    ),
    "1 or 2": re.compile(r"^ {5}Environ Module\n {5}={14}$", re.M),
}
_ENVIRON_ADDED = re.compile(r"^ {5}add environment contribution to local potential$", re.M)
_ENVIRON_IGNORED = re.compile(
    r"^(?:Environ Warning \(1001\): card (.*) ignored| {5}\* ignoring (&\w+)\b.* namelist)[ ]*$", re.M
)

_ENVIRON_READS = "\n     Reading input from environ.in:\n"
# Before pw.x goes on, it says no more than what it has decided for the input.
_ENVIRON_READING = re.compile(r"\n {5}Reading input from environ\.in:\n(?: {5}\* .*\n|\s*\n)*\Z")
_ENVIRON_NOT_CONVERGED = re.compile(r"^ *Warning: Polarization charge not converged", re.M)
_ENVIRON_ROUTINE = re.compile(
    r"environ|boundar|electrostatic|external_charges|dielectric_regions|extcharge|epsregion|iontype", re.I
)

# ------------------------------------------------------------------------------------------ results


class _Found(NamedTuple):
    energy: float
    forces: NDArray[np.float64]
    iterations: int | None
    moments: tuple[float, float] | None


def _from_xml(folder: Path, prefix: str) -> _Found | None:
    for path in (folder / f"{prefix}.xml", folder / f"{prefix}.save" / "data-file-schema.xml"):
        try:
            output = ET.parse(path).getroot().find("output")
        except (FileNotFoundError, ET.ParseError):  # cut off while pw.x was writing it: not there
            continue
        if output is None or output.findtext("convergence_info/scf_conv/convergence_achieved") != "true":
            continue
        forces, energy = output.find("forces"), output.findtext("total_energy/etot")
        if forces is None or not forces.text or energy is None:
            continue
        steps = output.findtext("convergence_info/scf_conv/n_scf_steps")
        # dims="3 nat", order="F": pw.x writes one atom per line, so C order here.
        rows = np.array([_float(word) for word in forces.text.split()]).reshape(-1, 3)
        return _Found(
            _float(energy) * Hartree, rows * (Hartree / Bohr), int(steps) if steps else None, _moments(output)
        )
    return None


def _moments(output: ET.Element) -> tuple[float, float] | None:
    of = output.find("magnetization")
    if of is None or "true" not in (of.findtext("lsda"), of.findtext("noncolin")):
        return None
    total, absolute = of.findtext("total"), of.findtext("absolute")
    return None if total is None or absolute is None else (_float(total), _float(absolute))


def _float(text: str) -> float:
    """Return a number as Fortran writes it; what does not fit into its field is stars: no number."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


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
_NOT_CONVERGED = re.compile(r"convergence NOT achieved after\s+(\d+) iterations")


def _from_stdout(stdout: str) -> _Found | None:
    energies, forces, steps = _ENERGY.findall(stdout), _FORCES.search(stdout), _ITERATIONS.findall(stdout)
    if not energies or forces is None or not steps or _NOT_CONVERGED.search(stdout):
        return None
    # With high verbosity the total is followed by its parts, in the same format: the total comes first.
    total = forces[1].split("The non-local contrib", 1)[0]
    rows = np.array([[_float(number) for number in row] for row in _FORCE.findall(total)])
    if not len(rows):
        return None
    totals, absolutes = _TOTAL_MOMENT.findall(stdout), _ABSOLUTE_MOMENT.findall(stdout)
    moments = None
    if totals and absolutes:
        vector = [float(number) for number in totals[-1].split()]
        moments = (vector[0] if len(vector) == 1 else float(np.linalg.norm(vector)), float(absolutes[-1]))
    return _Found(float(energies[-1]) * Rydberg, rows * (Rydberg / Bohr), int(steps[-1]), moments)


# ----------------------------------------------------------------------------------------- failures

_BOX = re.compile(r"^ *%{20,}\s*\n(.*?)\n *%{20,}", re.M | re.S)
_ROUTINE = re.compile(r"\s*Error in routine\s+(\S+)\s*\(\s*(-?\d+)\):\s*\n?(.*)", re.S)
_NO_MEMORY = re.compile(
    r"cannot allocate memory|out of memory|insufficient (?:virtual )?memory|bad_alloc|oom[-_ ]kill"
    r"|error allocating|allocat\w+ (?:failed|would exceed)|not enough memory|errno: 12\b",
    re.I,
)
_MPI_SIGNAL = re.compile(
    r"exited on signal (\d+)|KILLED BY SIGNAL: (\d+)|EXIT CODE: (\d+)\b.*\n.*signal", re.I
)
_READS_INPUT = re.compile(r"read_namelists|read_cards|card_|iosys|read_input")
# Disk, MPI and linear algebra: what may go well elsewhere or another time.
_MAY_PASS = re.compile(
    r"davcio|diropn|open|close|read_rhog|write|mkdir|create_directory|i/o|device|mp_|disk|cholesky", re.I
)
# Faults of the program in its own memory, as against signals that somebody sends.
_FAULTS = {signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGILL, signal.SIGBUS}


def _name(stdout: str, stderr: str, code: int, out_of_memory: bool) -> ZPEError:
    everything = f"{stdout}\n{stderr}"
    signum = _signal(stderr, code)
    if out_of_memory or _NO_MEMORY.search(everything):
        return ComputeError(
            "pw.x ran out of memory; give it more memory or run fewer SCFs side by side",
            code="out_of_memory",
        )
    if "Maximum CPU time exceeded" in stdout:
        return ComputeError(
            "pw.x stopped at the end of its wall time before the SCF converged", code="walltime"
        )
    if found := _NOT_CONVERGED.search(stdout):
        return _not_converged(stdout, f"after {found[1]} iterations")
    if _ENVIRON_READING.search(stdout):
        reason = " ".join(stderr.split("\n\n")[0].split()) or f"exit status {code}"
        return InputError(
            f"Environ stopped while it read its input: {reason[:300]}", code="bad_input", field="environ"
        )
    if box := error_box(everything):
        return _from_box(*box, started="Self-consistent Calculation" in stdout, stdout=stdout)
    if signum is not None and signum not in _FAULTS:
        name = _signal_name(signum)
        return ComputeError(f"pw.x was ended by {name}, sent from outside", code="pw_killed")
    how = f"by {_signal_name(signum)}" if signum is not None else f"with exit status {code}"
    last = tail(stderr, 1) if code and not version_in(stdout) else tail(stdout, 1)
    return ComputeError(
        f"pw.x ended {how} without converged forces; its last line: {last!r}", code="pw_crashed"
    )


def error_box(text: str) -> tuple[str, str] | None:
    """Return the routine and the message of the first error box that pw.x printed, if any."""
    for body in _BOX.findall(text):
        if found := _ROUTINE.match(body):
            message = " ".join(line.strip() for line in found[3].splitlines() if line.strip())
            return found[1], message
    return None


def _from_box(routine: str, message: str, *, started: bool, stdout: str) -> ZPEError:
    said = f"pw.x, in {routine}: {message}"
    if routine.startswith(("readpp", "read_pseudo", "read_upf")):
        # A file that is there but of no use is no better for this machine than one that is not.
        return ConfigError(said, code="pseudopotential_missing", field="ATOMIC_SPECIES")
    if _ENVIRON_ROUTINE.search(routine):
        if started:
            return ComputeError(f"Environ, in {routine}: {message}", code="pw_crashed")
        return InputError(f"Environ, in {routine}: {message}", code="bad_input", field="environ")
    if "bands are not converged" in message:
        return _not_converged(stdout, f"({message})")
    if not _READS_INPUT.match(routine) and (started or _MAY_PASS.search(f"{routine} {message}")):
        return ComputeError(said, code="pw_crashed")
    # Up to the first iteration pw.x does nothing but look at the input: it would say so again.
    return InputError(said, code="bad_input", field=_field(routine, message))


def _not_converged(stdout: str, how: str) -> ComputeError:
    accuracy = re.findall(r"estimated scf accuracy\s+<\s+(\S+) Ry", stdout)
    wanted = re.search(r"convergence threshold\s+=\s+(\S+)", stdout)
    reached = f"; it reached {accuracy[-1]} Ry of the {wanted[1]} Ry wanted" if accuracy and wanted else ""
    return ComputeError(f"the SCF did not converge {how}{reached}", code="scf_not_converged")


def _field(routine: str, message: str) -> str | None:
    """Name the namelist or card an input error is about, where pw.x tells."""
    if found := re.search(r"namelist &?(\w+)", message):
        return found[1].upper()
    if found := re.match(r"card_(\w+)", routine):
        return found[1].upper()
    if routine == "set_cutoff":  # no ecutwfc, and the pseudopotentials suggest none
        return "ecutwfc"
    return None


def _signal(stderr: str, code: int) -> int | None:
    if found := _MPI_SIGNAL.search(stderr):
        return int(next(group for group in found.groups() if group))
    return code - 128 if 128 < code < 128 + 65 else None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
