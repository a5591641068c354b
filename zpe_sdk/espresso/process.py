"""Run one ``pw.x`` process under a keeper, and read what it prints as it comes."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import BinaryIO

from zpe_sdk.keeper import keep

STDOUT, STDERR = "pw.out", "pw.err"
# Of one stream, in bytes. A long list of k-points with all bands takes some MB; beyond this nothing is said
# any more, only repeated.
MAX_OUTPUT = 32_000_000
_POLL_SECONDS = 0.01
_CHUNK = 1 << 16

_PLACE = {
    # One core for each rank, in the linear algebra too.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # The keeper pins the launcher to its cores and the ranks inherit that; left to itself, Open MPI
    # would bind the ranks of every mpirun to the machine's first cores.
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
}
# pw.x makes and drops large arrays in each iteration. glibc gives each back to the kernel at once, and the
# page faults of getting it again take a quarter of the time; told so, it keeps them (docs/engine.md).
_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "2147483647"}
# A process without peers needs no interconnect; looking for one takes Open MPI 0.3 s at each start. Ranks on
# one machine share its memory; that no faster network is looked for beside spares 0.2 s. Ranks that wait for
# each other give way: else they hold their cores, and where others want these a message takes a time slice.
_ALONE = {"OMPI_MCA_ess_singleton_isolated": "1", "OMPI_MCA_pml": "ob1", "OMPI_MCA_btl": "self"}
_ONE_MACHINE = {"OMPI_MCA_pml": "ob1", "OMPI_MCA_mpi_yield_when_idle": "1"}
# Open MPI's mpirun does not start as root unless told so; who runs a worker as root has made up their mind.
_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}

MPIRUN = "mpirun"


@dataclass(frozen=True)
class Ended:
    """A process that is over.

    Attributes
    ----------
    code
        Exit status; 128 + N if signal N ended it.
    stdout, stderr
        What it printed, up to ``MAX_OUTPUT`` bytes.
    too_long
        It printed more, and was ended for that.
    out_of_time
        It took too long, and was ended for that.
    """

    code: int
    stdout: str
    stderr: str
    too_long: bool
    out_of_time: bool = False


class Output:
    """What a process prints on one stream: kept up to a bound, and given to a listener line by line.

    Parameters
    ----------
    path
        A file that gets a copy, for people.
    listen
        Called with each line as soon as it is whole, and with this object.
    """

    def __init__(self, path: Path, listen: Listener | None = None) -> None:
        self._file: BinaryIO | None = path.open("wb", buffering=0)
        self._listen = listen
        self._content = bytearray()
        self._line = 0  # where the line begins that is not whole yet
        self.too_long = False

    def feed(self, chunk: bytes) -> None:
        """Take what has come, unless it is too much."""
        self.too_long |= len(self._content) + len(chunk) > MAX_OUTPUT
        if self.too_long:
            return
        self._copy(chunk)
        self._content += chunk
        if self._listen is None:
            return
        while (newline := self._content.find(b"\n", self._line)) >= 0:
            line = self._content[self._line : newline].decode(errors="replace")
            self._line = newline + 1
            self._listen(line, self)

    def close(self) -> None:
        """Close the copy."""
        if self._file:
            self._file.close()

    @property
    def text(self) -> str:
        """What is kept."""
        return self._content.decode(errors="replace")

    @property
    def place(self) -> int:
        """Where the line ends that the listener was given last, in bytes."""
        return self._line

    @property
    def so_far(self) -> str:
        """What is kept up to this place."""
        return self._content[: self._line].decode(errors="replace")

    def forget(self, start: int) -> None:
        """Keep nothing between a place and the present one: it has been dealt with, and counts no more."""
        del self._content[start : self._line]
        self._line = start
        if self._file:
            self._file.truncate(start)
            self._file.seek(start)
            self._copy(bytes(self._content[start:]))

    def _copy(self, chunk: bytes) -> None:
        if self._file is None:
            return
        try:
            self._file.write(chunk)
        except OSError:  # a full disk: what was computed counts all the same
            self._file.close()
            self._file = None


Listener = Callable[[str, Output], None]


def run_process(
    argv: Sequence[str],
    folder: Path,
    *,
    ranks: int = 1,
    cpus: Sequence[int] = (),
    stop: Event | None = None,
    timeout: float | None = None,
    listen: Listener | None = None,
) -> Ended:
    """Run a command in a folder until it ends, is to stop, or prints without end.

    Parameters
    ----------
    argv
        The command.
    folder
        Where it runs.
    ranks
        MPI ranks that it starts on this machine.
    cpus
        Cores to pin it to; none: anywhere.
    stop
        When set, it is ended at once.
    timeout
        Seconds after which it is ended.
    listen
        Is told of each line on standard output; while it is at work nothing is read, and in the end the
        process waits.
    """
    stop = stop or Event()
    deadline = time.monotonic() + timeout if timeout else float("inf")
    stdout, stderr = Output(folder / STDOUT, listen), Output(folder / STDERR)
    with (
        contextlib.closing(stdout),
        contextlib.closing(stderr),
        selectors.DefaultSelector() as streams,
        _own_folder(argv) as own_folder,
        subprocess.Popen(
            keep(argv, cpus=cpus),
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(argv, ranks) | own_folder,
            start_new_session=True,  # Ctrl-C in a terminal is for the worker, who decides
        ) as process,
    ):
        assert process.stdin
        assert process.stdout
        assert process.stderr
        streams.register(process.stdout, selectors.EVENT_READ, stdout)
        streams.register(process.stderr, selectors.EVENT_READ, stderr)
        while True:
            unwanted = stop.is_set() or time.monotonic() > deadline or stdout.too_long or stderr.too_long
            if unwanted:
                process.stdin.close()  # the keeper then ends it
            ended = process.poll() is not None
            ready = streams.select(_POLL_SECONDS)
            for key, _ in ready:
                if chunk := os.read(key.fd, _CHUNK):
                    key.data.feed(chunk)
                else:
                    streams.unregister(key.fileobj)
            if ended and (unwanted or not ready):
                break
    too_long = stdout.too_long or stderr.too_long
    out_of_time = unwanted and not too_long and not stop.is_set()
    return Ended(process.returncode, stdout.text, stderr.text, too_long, out_of_time)


@contextlib.contextmanager
def _own_folder(argv: Sequence[str]) -> Iterator[dict[str, str]]:
    """Give Open MPI a folder for temporary files of its own, as an environment says it.

    In the one that all of a user share, a run that ends takes away what another has just begun to use. A
    whole command of the user's may lead to machines that do not have the folder: it keeps the shared one.
    """
    if argv[0] != MPIRUN and not _runs_alone(argv):
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="zpe-mpi-") as folder:
        yield {"TMPDIR": folder}


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
