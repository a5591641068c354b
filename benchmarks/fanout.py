"""One job over several workers: ``python -m benchmarks.fanout``.

**Springs**: a job of equal tasks whose SCFs sleep, so that cores do not matter, on 1, 2, 4 and 8 worker
processes of one slot each: seconds from submission to result, speed-up, and how the tasks were shared. Once
more with a worker that is ten times slower than the rest.

**pw.x** (``--pw``): an H2O job on one and on two workers of one core each. Two workers have no density in
common: the first SCF of each starts from scratch.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.engine import system_input
from tests.processes import ControlPlane, wait_until
from zpe_sdk.client.blocking_client import ZPEClient
from zpe_sdk.wire import EngineName, TaskRun

# No symmetry: 6 · 6 + 1 tasks.
MOLECULE = """&CONTROL
/
&SYSTEM
  ibrav = 1, A = 9.0, nat = 6, ntyp = 3, ecutwfc = 20.0
/
&ELECTRONS
/
ATOMIC_SPECIES
H 1.008 H.upf
C 12.011 C.upf
O 15.999 O.upf
ATOMIC_POSITIONS angstrom
C 0.0 0.0 0.0
O 1.43 0.1 0.0
H -0.4 1.02 0.05
H -0.38 -0.53 0.88
H -0.41 -0.5 -0.91
H 1.7 -0.8 0.1
K_POINTS gamma
"""


def run(
    content: str, workers: Sequence[dict[str, object]], *, symmetry: bool = True
) -> tuple[float, list[TaskRun]]:
    """Run a job on workers with these settings; return seconds and who ran each task."""
    with tempfile.TemporaryDirectory(prefix="zpe-fanout-") as folder:
        plane = ControlPlane(Path(folder), {"ZPE_LOG_LEVEL": "INFO", "ZPE_DASHBOARD": 0})
        plane.start()
        try:
            for n, settings in enumerate(workers):
                plane.worker(f"worker{n}", ZPE_SLOTS=1, **settings)
            with ZPEClient(plane.url, token=plane.admin_token) as client:
                # All of them wait for work.
                wait_until(lambda: _ready(client) == len(workers))
                began = time.perf_counter()
                engine: EngineName = "espresso" if workers[0].get("ZPE_WORKER_MODE") == "qe" else "mock"
                job = client.submit(content, symmetry=symmetry, calc_mode="new", engine=engine)
                result = job.wait(progress=False).result()
                return time.perf_counter() - began, result.document.tasks
        finally:
            plane.stop()


def _ready(client: ZPEClient) -> int:
    return sum(worker.capabilities is not None for worker in client.admin.workers().workers)


def shares(runs: Sequence[TaskRun]) -> str:
    """Return how many tasks each worker ran, e.g. ``10+9+9+9``."""
    return "+".join(str(n) for _, n in Counter(run.worker for run in runs).most_common())


def springs(scf_seconds: float) -> None:
    """Print the speed-up by sleeping SCFs."""
    print(f"\nSCFs that sleep {scf_seconds:g} s\n")
    print("| workers | seconds | speed-up | of ideal / % | tasks |")
    print("| --- | --- | --- | --- | --- |")
    alone = 0.0
    for count in (1, 2, 4, 8):
        seconds, runs = run(MOLECULE, [{"ZPE_MOCK_SCF_SECONDS": scf_seconds}] * count, symmetry=False)
        alone = alone or seconds
        ideal = len(runs) * scf_seconds / count
        print(
            f"| {count} | {seconds:.2f} | {alone / seconds:.2f} | {100 * ideal / seconds:.0f} "
            f"| {shares(runs)} |",
            flush=True,
        )
    slow = [{"ZPE_MOCK_SCF_SECONDS": scf_seconds}] * 3 + [{"ZPE_MOCK_SCF_SECONDS": 10 * scf_seconds}]
    seconds, runs = run(MOLECULE, slow, symmetry=False)
    print(
        f"| 3, and 1 ten times slower | {seconds:.2f} | {alone / seconds:.2f} | | {shares(runs)} |",
        flush=True,
    )


def pw(pseudo_dir: Path) -> None:
    """Print the speed-up with pw.x."""
    print("\npw.x, H2O\n")
    print("| workers of one core | seconds | speed-up | SCFs | SCF seconds in all |")
    print("| --- | --- | --- | --- | --- |")
    alone = 0.0
    for count in (1, 2):
        settings: dict[str, object] = {
            "ZPE_WORKER_MODE": "qe",
            "ZPE_PSEUDO_DIR": pseudo_dir,
            "ZPE_USE_MPI": "false",
        }
        seconds, runs = run(system_input("h2o", kpoints="gamma"), [settings] * count)
        alone = alone or seconds
        total = sum(run.scf_seconds for run in runs)
        print(
            f"| {count} | {seconds:.1f} | {alone / seconds:.2f} | {shares(runs)} | {total:.1f} |", flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--scf-seconds", default="1,0.05", help="comma-separated")
    parser.add_argument("--pw", action="store_true", help="with pw.x too")
    parser.add_argument("--pseudo-dir", type=Path, default=Path("/usr/share/espresso/pseudo"))
    options = parser.parse_args()
    for seconds in options.scf_seconds.split(","):
        springs(float(seconds))
    if options.pw:
        pw(options.pseudo_dir)


if __name__ == "__main__":
    main()
