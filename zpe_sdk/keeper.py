"""Runs one command and never outlives the process that asked for it.

Started as a script (:func:`keep` gives the command) that imports little, so that it costs a few
milliseconds. Its standard input is a pipe whose other end the asking process holds. When that end closes,
on purpose or because the process died of whatever cause (SIGKILL included), the command's whole process
group is ended: SIGTERM first, SIGKILL after a time of grace.

Exit status: the command's own, or 128 + N if signal N ended it, as a shell would say; 127 if it cannot be
started.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from threading import Thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_NO_SUCH_COMMAND = 127


def keep(command: Sequence[str], *, cpus: Sequence[int] = (), grace: float = 3.0) -> list[str]:
    """Return the argument list that runs ``command`` under a keeper; start it with a pipe as its input.

    Parameters
    ----------
    command
        Program and arguments.
    cpus
        Cores to pin it to; none: as it comes.
    grace
        Seconds from SIGTERM to SIGKILL when it has to end.
    """
    return [sys.executable, "-I", "-S", __file__, str(grace), ",".join(map(str, cpus)), *command]


def main() -> int:
    """Run the command given on the command line, behind the grace and the cores."""
    grace, cpus, *command = sys.argv[1:]
    if cpus and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(cpu) for cpu in cpus.split(",")})
    begun, begins = os.pipe()
    child = os.fork()
    if child == 0:
        _become(command)
    # The other end closes as the command takes over: from then on its group can be signalled.
    os.close(begins)
    os.read(begun, 1)
    Thread(target=_end_with_parent, args=(child, float(grace)), daemon=True).start()
    _, status = os.waitpid(child, 0)
    # What the command left behind in its group (ranks of a killed mpirun) goes with it.
    _signal_group(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _become(command: list[str]) -> None:
    try:
        # A session of its own makes the command the leader of a group: MPI launchers' children are in it too.
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.execvp(command[0], command)
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.stderr.flush()
    finally:
        os._exit(_NO_SUCH_COMMAND)


def _end_with_parent(child: int, grace: float) -> None:
    while os.read(0, 1024):
        pass
    _signal_group(child, signal.SIGTERM)
    time.sleep(grace)
    _signal_group(child, signal.SIGKILL)


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main())
