"""Run one ``pw.x`` SCF in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Event

from zpe_sdk.errors import ComputeError, ConfigError
from zpe_sdk.espresso import environ_output, output, said
from zpe_sdk.espresso.banner import ranks_in, version_in
from zpe_sdk.espresso.failures import failure, tail
from zpe_sdk.espresso.namelist import literal
from zpe_sdk.espresso.output import ScfResult
from zpe_sdk.keeper import keep

INPUT, STDOUT, STDERR = "pw.in", "pw.out", "pw.err"
ENVIRON_IN = "environ.in"
_POLL_SECONDS = 0.01
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

_PLACE = {
    "OMP_NUM_THREADS": "1",
    # The keeper pins the launcher to its cores and the ranks inherit that; left to itself, Open MPI
    # would bind the ranks of every mpirun to the machine's first cores.
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
}
# pw.x makes and drops large arrays in each iteration. glibc gives each back to the kernel at once, and the
# page faults of getting it again take a quarter of the time; told so, it keeps them (docs/engine.md).
_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "2147483647"}
# A process without peers needs no interconnect; looking for one takes Open MPI 0.3 s at each start. Ranks on
# one machine share its memory; that no faster network is looked for beside spares 0.2 s.
_ALONE = {"OMPI_MCA_ess_singleton_isolated": "1", "OMPI_MCA_pml": "ob1", "OMPI_MCA_btl": "self"}
_ONE_MACHINE = {"OMPI_MCA_pml": "ob1"}
# Open MPI's mpirun does not start as root unless told so; who runs a worker as root has made up their mind.
_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}

MPIRUN = "mpirun"


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

    Raises
    ------
    ComputeError
        ``scf_not_converged``, ``out_of_memory``, ``pw_killed``, ``pw_crashed``, ``walltime``;
        ``stopped`` if ``stop`` was set.
    ConfigError
        ``pseudopotential_missing``, ``pw_not_found``; ``environ_missing``: Environ took no part;
        ``input_ignored``: this version of pw.x passed over a card, or a value, that it does not know.
    InputError
        ``bad_input``: pw.x refuses the input, or (``field`` is ``environ``) Environ its own;
        ``input_ignored``: a part of it has no effect in any version.
    """
    (folder / INPUT).write_text(text, encoding="utf-8", newline="")
    if environ is not None:
        (folder / ENVIRON_IN).write_text(environ)
    argv = [*command, "-in", INPUT, *(["-environ"] if environ is not None else [])]
    oom_kills = _oom_kills()
    started = time.monotonic()
    code = _run(argv, folder, ranks=ranks, cpus=cpus, stop=stop)
    seconds = time.monotonic() - started
    stdout, stderr = _read(folder / STDOUT), _read(folder / STDERR)
    if error := said.ignored(stdout):
        raise error
    if result := output.read_result(folder, prefix, stdout, seconds=seconds):
        if environ is not None:
            _check_environ(result, stdout, environ)
        return result
    if stop is not None and stop.is_set():
        raise ComputeError("the run was stopped on request", code="stopped")
    out_of_memory = code == 128 + 9 and _oom_kills() > oom_kills
    raise failure(stdout, stderr, code, out_of_memory=out_of_memory)


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
        _run([*command, "-in", INPUT], folder, ranks=ranks, timeout=60)
        stdout, stderr = _read(folder / STDOUT), _read(folder / STDERR)
    version, found = version_in(stdout), ranks_in(stdout)
    if version is None:
        raise ConfigError(
            f"{shlex.join(command)} does not answer as pw.x does: {tail(stderr or stdout, 3)!r}",
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
        _run([*command, "-in", INPUT, "-environ"], folder, ranks=1, timeout=60)
        return environ_output.has_environ(_read(folder / STDOUT))


def _check_environ(result: ScfResult, stdout: str, environ: str) -> None:
    if result.environ is None:
        raise ConfigError(
            "the job wants Environ, but pw.x took no notice of it: this build has no such plug-in",
            code="environ_missing",
            field="ZPE_PW_PATH",
        )
    if fault := environ_output.environ_fault(stdout, environ):
        raise fault


def _run(
    argv: Sequence[str],
    folder: Path,
    *,
    ranks: int,
    cpus: Sequence[int] = (),
    stop: Event | None = None,
    timeout: float | None = None,
) -> int:
    """Run a command under a keeper until it ends or is to stop; return its exit status."""
    stop = stop or Event()
    deadline = time.monotonic() + timeout if timeout else float("inf")
    with (folder / STDOUT).open("wb") as stdout, (folder / STDERR).open("wb") as stderr:
        process = subprocess.Popen(
            keep(argv, cpus=cpus),
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            env=_environment(argv, ranks),
            start_new_session=True,  # Ctrl-C in a terminal is for the worker, who decides
        )
        try:
            while process.poll() is None and not stop.wait(_POLL_SECONDS) and time.monotonic() < deadline:
                pass
        finally:
            if process.stdin:
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()
            code = process.wait()
    return code


def _environment(argv: Sequence[str], ranks: int) -> dict[str, str]:
    """Return the environment of pw.x: ours, without our settings and their secrets, and tuned.

    What the administrator has set already stays, but for the placement on cores, which is the engine's.
    """
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("ZPE_")}
    alone = _ALONE if _runs_alone(argv) else {}
    one_machine = _ONE_MACHINE if ranks > 1 and argv[0] == MPIRUN else {}
    root = _ROOT if os.geteuid() == 0 else {}
    return {**_MEMORY, **alone, **one_machine, **root, **kept, **_PLACE}


def _runs_alone(argv: Sequence[str]) -> bool:
    """Tell whether the command is a program by itself: no launcher, and no script that may call one."""
    try:
        with Path(argv[0]).open("rb") as program:
            return argv[1] == "-in" and program.read(4) == b"\x7fELF"
    except OSError:  # a name on PATH
        return False


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def _oom_kills() -> int:
    """Count the processes that the kernel has ended for want of memory (Linux, else 0)."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
