"""Run ``pw.x`` in a folder of its own: one SCF, or a relaxation."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event

import numpy as np
from numpy.typing import NDArray

from zpe_sdk.errors import ComputeError, ConfigError, ZPEError
from zpe_sdk.espresso import environ_output, output, said
from zpe_sdk.espresso.banner import ranks_in, version_in
from zpe_sdk.espresso.environ_output import check_environ
from zpe_sdk.espresso.failures import failure, tail, too_long, too_slow
from zpe_sdk.espresso.ionic_steps import Ending, IonicResult, StepReader
from zpe_sdk.espresso.iterations import Iteration, tell_iterations
from zpe_sdk.espresso.mesh import Point
from zpe_sdk.espresso.namelist import literal
from zpe_sdk.espresso.output import ScfResult
from zpe_sdk.espresso.process import MPIRUN, Ended, Listener, Output, run_process

_KPOINT = re.compile(r"^\s+k\(\s*\d+\) = \(\s*(\S+)\s+(\S+)\s+(\S+)\s*\), wk =", re.M)
INPUT, ENVIRON_IN = "pw.in", "environ.in"
# Well formed, and over before any work: there is no density to start from.
_ONE_ATOM = """&CONTROL
  calculation = 'scf', prefix = 'pw', outdir = './', pseudo_dir = {folder}
/
&SYSTEM
  ibrav = 1, A = 5.0, nat = 1, ntyp = 1, ecutwfc = 10.0
/
&ELECTRONS
  startingpot = 'file'
/
ATOMIC_SPECIES
H 1.008 {name}
ATOMIC_POSITIONS angstrom
H 0.0 0.0 0.0
K_POINTS gamma
"""


def pw_command(
    pw_path: str = "pw.x", *, pw_command: str | None = None, mpi_cmd: str = MPIRUN, ranks: int = 1
) -> list[str]:
    """Return the argument list that starts pw.x, without its own options.

    Parameters
    ----------
    pw_path
        The ``pw.x`` program: a path, or a name on PATH.
    pw_command
        A whole command instead, e.g. ``"srun -n 8 /opt/qe/bin/pw.x"``; split as a shell would, but
        never given to a shell. ``ranks`` and ``mpi_cmd`` then play no part.
    mpi_cmd
        The MPI launcher; it gets ``-np ranks`` if ``ranks`` is above 1.
    ranks
        Number of MPI ranks.

    Raises
    ------
    ConfigError
        ``pw_not_found``: there is no such program.
    """
    if pw_command:
        command, setting = shlex.split(pw_command), "ZPE_PW_COMMAND"
    elif ranks > 1:
        command, setting = [*shlex.split(mpi_cmd), "-np", str(ranks), pw_path], "ZPE_PW_PATH or ZPE_MPI_CMD"
    else:
        command, setting = [pw_path], "ZPE_PW_PATH"
    if not command:
        raise ConfigError("the command is empty", code="pw_not_found", field=setting)
    programs = [command[0]] if pw_command else [command[0], pw_path]
    for program in programs:
        if shutil.which(program) is None:
            raise ConfigError(
                f"there is no program {program!r} on this machine; set {setting} to where it is",
                code="pw_not_found",
                field=setting,
            )
    if not pw_command:
        # A path of its own: SCFs run in other folders, where a relative one would lead elsewhere.
        found = shutil.which(pw_path)
        command[-1] = str(Path(found).resolve()) if found else pw_path
    return command


def run_scf(
    command: Sequence[str],
    text: str,
    folder: Path,
    *,
    prefix: str,
    ranks: int = 1,
    cpus: Sequence[int] = (),
    environ: str | None = None,
    stop: Event | None = None,
    max_seconds: float | None = None,
    on_iteration: Callable[[Iteration], None] | None = None,
) -> ScfResult:
    """Run pw.x on an input and return its energy and forces.

    Parameters
    ----------
    command
        Argument list that starts pw.x (see :func:`pw_command`).
    text
        The input: an SCF with forces, with ``outdir='./'`` and the given prefix.
    folder
        An existing folder for this run, with no output of another in it.
    prefix
        pw.x's ``prefix`` in ``text``.
    ranks
        MPI ranks that the command starts on this machine.
    cpus
        Cores to pin the run to; none: anywhere.
    environ
        Text of the ``environ.in`` to run with, if Environ is to take part.
    stop
        When set, pw.x is ended at once.
    max_seconds
        The longest that it may take; then it is ended.
    on_iteration
        Called at the end of each iteration; an exception of its ends pw.x too.

    Raises
    ------
    ComputeError
        ``scf_not_converged``, ``out_of_memory``, ``pw_killed``, ``pw_crashed``, ``walltime``;
        ``output_too_long``: pw.x printed without end; ``scf_too_slow``: it took too long; ``stopped`` if
        ``stop`` was set.
    ConfigError
        ``pseudopotential_missing``, ``pw_not_found``; ``environ_missing``: Environ took no part;
        ``input_ignored``: this version of pw.x passed over a card, or a value, that it does not know.
    InputError
        ``bad_input``: pw.x refuses the input, or (``field`` is ``environ``) Environ its own;
        ``input_ignored``: a part of it has no effect in any version.
    """
    listen = tell_iterations(on_iteration) if on_iteration else None
    oom_kills = _oom_kills()
    started = time.monotonic()
    ended = _run(
        command,
        text,
        folder,
        ranks=ranks,
        cpus=cpus,
        environ=environ,
        stop=stop,
        listen=listen,
        timeout=max_seconds,
    )
    seconds = time.monotonic() - started
    if error := said.ignored(ended.stdout):
        raise error
    if result := output.read_result(folder, prefix, ended.stdout, seconds=seconds):
        if environ is not None:
            check_environ(ended.stdout, environ)
        return result
    if ended.out_of_time:
        raise too_slow(ended.stdout, ended.stderr, max_seconds or 0.0)
    raise _failure(ended, stop, oom_kills)


def kpoints_of(command: Sequence[str], text: str, folder: Path) -> list[Point]:
    """Ask pw.x at which k-points an SCF is.

    Parameters
    ----------
    command
        Argument list that starts pw.x on one rank.
    text
        From :func:`zpe_sdk.espresso.patch.task_text`, as a rehearsal.
    folder
        An existing folder for this run.

    Returns
    -------
    list
        In units of the reciprocal lattice vectors, in the order of pw.x; empty, if it did not say.
    """
    (folder / INPUT).write_text(text, encoding="utf-8", newline="")
    said = run_process([*command, "-in", INPUT], folder, timeout=600).stdout
    _, _, listed = said.rpartition("cryst. coord.")
    return [(float(x), float(y), float(z)) for x, y, z in _KPOINT.findall(listed)]


def run_relaxation(
    command: Sequence[str],
    text: str,
    folder: Path,
    *,
    prefix: str,
    positions: NDArray[np.float64],
    unit: NDArray[np.float64],
    on_step: Callable[[IonicResult], None],
    history: str | None = None,
    ranks: int = 1,
    cpus: Sequence[int] = (),
    environ: str | None = None,
    stop: Event | None = None,
    max_seconds: float | None = None,
    on_iteration: Callable[[Iteration], None] | None = None,
) -> Ending:
    """Run pw.x on the input of a relaxation, and tell of each ionic step when it is done.

    Parameters
    ----------
    command, folder, prefix, ranks, cpus, environ, stop, on_iteration
        See :func:`run_scf`.
    max_seconds
        The longest that an ionic step may take: pw.x is ended when it prints something after that.
    text
        From :func:`zpe_sdk.espresso.relaxation.relaxation_text`.
    positions
        Those in ``text``, in Å, shape (nat, 3).
    unit
        The vectors (Å) of which ATOMIC_POSITIONS gives the multiples, shape (3, 3).
    on_step
        Called with each step, the last one included; an exception of its ends pw.x.
    history
        From the step before the first, if this one goes on from another one.

    Returns
    -------
    str
        Why pw.x ended it: ``"converged"``, ``"steps"`` or ``"stuck"``.

    Raises
    ------
    ZPEError
        See :func:`run_scf`; the steps so far have been told.
    """
    bfgs_file = folder / f"{prefix}.bfgs"
    if history is not None:
        bfgs_file.write_text(history)
    began = time.monotonic()

    def stepped(result: IonicResult) -> None:
        nonlocal began
        on_step(result)
        began = time.monotonic()

    reader = StepReader(positions, unit, bfgs_file, environ=environ, on_step=stepped)
    tell = tell_iterations(on_iteration) if on_iteration else None

    def listen(line: str, printed: Output) -> None:
        reader.listen(line, printed)
        if tell:
            tell(line, printed)
        if max_seconds and time.monotonic() - began > max_seconds:
            raise too_slow(printed.so_far, "", max_seconds)

    oom_kills = _oom_kills()
    ended = _run(
        command,
        text,
        folder,
        ranks=ranks,
        cpus=cpus,
        environ=environ,
        stop=stop,
        listen=listen,
    )
    if reader.ending is not None:
        return reader.ending
    if error := said.ignored(ended.stdout):
        raise error
    raise _failure(ended, stop, oom_kills)


def _run(
    command: Sequence[str],
    text: str,
    folder: Path,
    *,
    ranks: int,
    cpus: Sequence[int],
    environ: str | None,
    stop: Event | None,
    listen: Listener | None,
    timeout: float | None = None,
) -> Ended:
    (folder / INPUT).write_text(text, encoding="utf-8", newline="")
    if environ is not None:
        (folder / ENVIRON_IN).write_text(environ)
    argv = [*command, "-in", INPUT, *(["-environ"] if environ is not None else [])]
    ended = run_process(argv, folder, ranks=ranks, cpus=cpus, stop=stop, listen=listen, timeout=timeout)
    if ended.too_long:
        raise too_long(ended.stdout, ended.stderr)
    return ended


def _failure(ended: Ended, stop: Event | None, oom_kills: int) -> ZPEError:
    """Name the failure of a run; ``oom_kills`` is what :func:`_oom_kills` said before it."""
    if stop is not None and stop.is_set():
        return ComputeError("the run was stopped on request", code="stopped")
    out_of_memory = ended.code == 128 + 9 and _oom_kills() > oom_kills
    return failure(ended.stdout, ended.stderr, ended.code, out_of_memory=out_of_memory)


def pw_version(command: Sequence[str], *, ranks: int = 1) -> str:
    """Ask pw.x for its version, e.g. ``"6.7MaX"``.

    Parameters
    ----------
    command
        Argument list that starts pw.x (see :func:`pw_command`).
    ranks
        On how many MPI ranks it should run. A pw.x without MPI, or with another one than the launcher's,
        starts as often as there should be ranks, and each writes into the others' files.

    Raises
    ------
    ConfigError
        ``pw_not_found``: the command does not start a pw.x; ``mpi_unusable``: not one on so many ranks.
    """
    with tempfile.TemporaryDirectory(prefix="zpe-") as scratch:
        folder = Path(scratch)
        # pw.x names itself before it finds that this is no input.
        (folder / INPUT).write_text("\n")
        ended = run_process([*command, "-in", INPUT], folder, ranks=ranks, timeout=60)
    version, found = version_in(ended.stdout), ranks_in(ended.stdout)
    if version is None:
        raise ConfigError(
            f"{shlex.join(command)} does not answer as pw.x does: {tail(ended.stderr or ended.stdout, 3)!r}",
            code="pw_not_found",
            field="ZPE_PW_PATH",
        )
    if ranks > 1 and found != ranks:
        raise ConfigError(
            f"{shlex.join(command)} does not run one pw.x on {ranks} ranks, but on {found or 1}; "
            "is it built with the MPI of the launcher?",
            code="mpi_unusable",
            field="ZPE_MPI_CMD",
        )
    return version


def has_environ(command: Sequence[str], pseudopotential: Path) -> bool:
    """Ask pw.x whether it has the plug-in Environ: given no ``environ.in``, the plug-in misses it.

    Parameters
    ----------
    command
        Argument list that starts pw.x (see :func:`pw_command`).
    pseudopotential
        Any that pw.x can read: it does so before it calls its plug-ins.
    """
    with tempfile.TemporaryDirectory(prefix="zpe-") as scratch:
        folder = Path(scratch)
        where = literal(str(pseudopotential.parent.resolve()))
        (folder / INPUT).write_text(_ONE_ATOM.format(folder=where, name=pseudopotential.name))
        ended = run_process([*command, "-in", INPUT, "-environ"], folder, timeout=60)
        return environ_output.has_environ(ended.stdout)


def _oom_kills() -> int:
    """Count the processes that the kernel has ended for want of memory (Linux, else 0)."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
