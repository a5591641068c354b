"""What starting costs, before anything is done: ``python -m benchmarks.startup``.

CPU time, user and system, and time on the clock, the least of several runs each: other work on the machine
changes the first much less than the second. Of the control plane it is that of the process which answers; of
``ZPEClient.embedded()`` that of all processes. Modules are compiled before, as pip does it when it installs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.processes import ZPE, ControlPlane, environment, h2

COMMANDS: dict[str, list[str]] = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "from zpe_sdk import ZPEClient": [sys.executable, "-c", "from zpe_sdk import ZPEClient"],
    "zpe --help": [ZPE, "--help"],
    "zpe jobs, until it asks": [ZPE, "jobs"],
    "zpe worker --help": [ZPE, "worker", "--help"],
}
EMBEDDED = """
import sys, time
import psutil
from zpe_sdk import ZPEClient

def tell():
    me = psutil.Process()
    times = [process.cpu_times() for process in (me, *me.children(recursive=True))]
    print(sum(t.user + t.system for t in times), time.time() - me.create_time(), flush=True)

with ZPEClient.embedded(sys.argv[1], engine="mock") as client:
    client.jobs()
    tell()
    client.submit(sys.argv[2]).wait(progress=False)
    tell()
"""

Cost = tuple[float, float]


def cost(command: list[str]) -> Cost:
    """Return CPU and clock seconds of a command that has no control plane to talk to."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as nowhere:
        process = subprocess.Popen(
            command,
            env=environment(XDG_CONFIG_HOME=nowhere),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, code, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(code)
    return used.ru_utime + used.ru_stime, time.monotonic() - began


def cost_of_serving() -> Cost:
    """Return CPU and clock seconds of a control plane until it is ready."""
    with tempfile.TemporaryDirectory() as folder:
        plane = ControlPlane(Path(folder))
        began = time.monotonic()
        plane.start()
        took = time.monotonic() - began
        try:
            assert plane.process is not None
            used = psutil.Process(plane.process.pid).cpu_times()
        finally:
            plane.stop()
    return used.user + used.system, took


def costs_of_embedding() -> tuple[Cost, Cost]:
    """Return CPU and clock seconds of a service of one's own: until its first answer, until a result."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", EMBEDDED, folder, h2()],
            env=environment(XDG_CONFIG_HOME=folder),
            check=True,
            capture_output=True,
            text=True,
        )
    first, second = ([float(word) for word in line.split()] for line in done.stdout.splitlines())
    return (first[0], first[1]), (second[0], second[1])


def least(costs: list[Cost]) -> str:
    """Return the least of each, as cells of a table."""
    return f"{min(cpu for cpu, _ in costs):.2f} | {min(clock for _, clock in costs):.2f}"


def main() -> None:
    """Read the command line, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9, help="runs of each; the least is printed")
    runs = parser.parse_args().runs
    few = max(runs // 3, 2)
    with tempfile.TemporaryDirectory() as compiled:
        # Whatever this machine says of it; the first run of each fills the folder.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = compiled
        measure(runs, few)


def measure(runs: int, few: int) -> None:
    """Print the table of so many runs of what is quick, and of what is not."""
    print("| start | CPU seconds | seconds |\n| --- | --- | --- |")
    for name, command in COMMANDS.items():
        print(f"| `{name}` | {least([cost(command) for _ in range(runs)])} |", flush=True)
    print(f"| `zpe serve`, until ready | {least([cost_of_serving() for _ in range(few)])} |", flush=True)
    ready, result = zip(*(costs_of_embedding() for _ in range(few)), strict=True)
    print(f"| `embedded()`, until its first answer | {least(list(ready))} |")
    print(f"| `embedded()`, until the first result, with a mock worker | {least(list(result))} |")


if __name__ == "__main__":
    main()
