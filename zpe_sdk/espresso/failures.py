"""The failure of a pw.x run that left no result: what it is, and whose."""

from __future__ import annotations

import re
import signal

from zpe_sdk.errors import ComputeError, ConfigError, InputError, ZPEError
from zpe_sdk.espresso.banner import version_in

TAIL_LINES, LAST_CHARACTERS = 40, 10_000
NOT_CONVERGED = re.compile(r"convergence NOT achieved after\s+(\d+) iterations")


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
    return _with_last_lines(_name(stdout, stderr, code, out_of_memory), stdout, stderr)


def too_long(stdout: str, stderr: str) -> ZPEError:
    """Name the failure of a run that was ended because it printed without end."""
    size = max(len(stdout), len(stderr)) / 1e6
    error = ComputeError(f"pw.x was ended after {size:.0f} MB of output", code="output_too_long")
    return _with_last_lines(error, stdout[-LAST_CHARACTERS:], stderr[-LAST_CHARACTERS:])


def too_slow(stdout: str, stderr: str, seconds: float) -> ZPEError:
    """Name the failure of a run that was ended because it took too long."""
    reached = re.findall(r"estimated scf accuracy\s+<\s+(\S+) Ry", stdout)
    how_far = f" after {len(reached)} iterations, at {reached[-1]} Ry" if reached else ""
    error = ComputeError(f"the SCF was ended after {seconds:g} s{how_far}", code="scf_too_slow")
    return _with_last_lines(error, stdout, stderr)


def _with_last_lines(error: ZPEError, stdout: str, stderr: str) -> ZPEError:
    error.add_note("The last lines of pw.x's output:\n" + tail(stdout))
    if stderr.strip():
        error.add_note("Its standard error:\n" + tail(stderr))
    return error


def tail(text: str, lines: int = TAIL_LINES) -> str:
    """Return the last ``lines`` lines that are not blank."""
    return "\n".join([line.rstrip() for line in text.splitlines() if line.strip()][-lines:])


# Before pw.x goes on, it says no more than what it has decided for the input.
_ENVIRON_READING = re.compile(r"\n {5}Reading input from environ\.in:\n(?: {5}\* .*\n|\s*\n)*\Z")
_ENVIRON_ROUTINE = re.compile(
    r"environ|boundar|electrostatic|external_charges|dielectric_regions|extcharge|epsregion|iontype", re.I
)
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
    if found := NOT_CONVERGED.search(stdout):
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
