"""What starting costs, before anything is done: ``python -m benchmarks.startup``.

CPU time of the process, user and system, the least of several runs: other work on the machine changes it
much less than the time on the clock. A machine with nothing else to do shows about as much on the clock.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil

from tests.processes import ZPE, ControlPlane, environment

COMMANDS: dict[str, list[str]] = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "from zpe_sdk import ZPEClient": [sys.executable, "-c", "from zpe_sdk import ZPEClient"],
    "zpe --help": [ZPE, "--help"],
    "zpe jobs, until it asks": [ZPE, "jobs"],
    "zpe worker --help": [ZPE, "worker", "--help"],
}


def cost(command: list[str]) -> float:
    """Return the CPU seconds of a command that has no control plane to talk to."""
    with tempfile.TemporaryDirectory() as nowhere:
        process = subprocess.Popen(
            command,
            env=environment(XDG_CONFIG_HOME=nowhere),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, code, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(code)
    return used.ru_utime + used.ru_stime


def cost_of_serving() -> float:
    """Return the CPU seconds of a control plane until it is ready."""
    with tempfile.TemporaryDirectory() as folder:
        plane = ControlPlane(Path(folder))
        plane.start()
        try:
            assert plane.process is not None
            used = psutil.Process(plane.process.pid).cpu_times()
        finally:
            plane.stop()
    return used.user + used.system


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10, help="runs of each; the least is printed")
    runs = parser.parse_args().runs
    print("| start | CPU seconds |\n| --- | --- |")
    for name, command in COMMANDS.items():
        print(f"| `{name}` | {min(cost(command) for _ in range(runs)):.2f} |", flush=True)
    print(f"| `zpe serve`, until ready | {min(cost_of_serving() for _ in range(max(runs // 3, 1))):.2f} |")


if __name__ == "__main__":
    main()
