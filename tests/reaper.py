"""Ends what a run of tests leaves behind, however the run itself ended.

Whatever a run starts, and what that starts in turn, inherits a variable in its environment. A small process
waits for the end of the run, in a session of its own, where no Ctrl-C reaches it. Then it kills everything
that has the variable. A SIGKILL of pytest does not stop it.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from contextlib import suppress

import psutil

_started: list[subprocess.Popen[bytes]] = []


def watch() -> None:
    """Start the reaper of this process, and mark what this process starts from now on."""
    mark = f"TEST_RUN_{secrets.token_hex(8)}"  # a run inside of a run has both marks
    command = [sys.executable, __file__, str(os.getpid()), mark]
    nothing = subprocess.DEVNULL
    _started.append(
        subprocess.Popen(command, start_new_session=True, stdin=nothing, stdout=nothing, stderr=nothing)
    )
    os.environ[mark] = "1"


def marked(mark: str) -> list[psutil.Process]:
    """Return the processes that have a mark, and their descendants: some overwrite their environment."""
    found: set[psutil.Process] = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # ended meanwhile, or somebody else's
            if mark in process.environ():
                found |= {process, *process.children(recursive=True)}
    return list(found)


def reap(run: int, mark: str) -> None:
    """Wait for the end of a process, then kill everything that has its mark."""
    with suppress(psutil.NoSuchProcess):
        psutil.Process(run).wait()
    while left := marked(mark):
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=1)


if __name__ == "__main__":
    reap(int(sys.argv[1]), sys.argv[2])
