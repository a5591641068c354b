"""Runs one command and never outlives the process that asked for it.

Started as a script (:func:`keep` gives the command), so that it costs a few milliseconds and imports
nothing but the standard library. Its standard input is a pipe whose other end the asking process
holds. When that end closes, on purpose or because the process died of whatever cause (SIGKILL
included), the command's whole process group is ended: SIGTERM first, SIGKILL after ``--grace`` seconds.

Exit status: the command's own, or 128 + N if signal N ended it, as a shell would say.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence


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
    options = ["--grace", str(grace), "--cpus", ",".join(map(str, cpus))]
    return [sys.executable, "-I", "-S", __file__, *options, "--", *command]


def main() -> int:
    """Run the command given on the command line."""
    parser = argparse.ArgumentParser(description="Run a command that ends when standard input closes.")
    parser.add_argument("--cpus", default="", help="comma-separated cores to pin the command to")
    parser.add_argument("--grace", type=float, default=3.0, help="seconds from SIGTERM to SIGKILL")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- program and its arguments")
    arguments = parser.parse_args()
    if arguments.cpus and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(cpu) for cpu in arguments.cpus.split(",")})

    # A session of its own makes the command the leader of a group: MPI launchers' children are in it too.
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    threading.Thread(target=_end_with_parent, args=(child, arguments.grace), daemon=True).start()
    code = child.wait()
    # What the command left behind in its group (ranks of a killed mpirun) goes with it.
    _signal_group(child.pid, signal.SIGKILL)
    return code if code >= 0 else 128 - code


def _end_with_parent(child: subprocess.Popen[bytes], grace: float) -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    _signal_group(child.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(grace)
    _signal_group(child.pid, signal.SIGKILL)


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main())
