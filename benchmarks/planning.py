"""What planning a large structure costs: ``python -m benchmarks.planning``.

Seconds of one core from a request to what is stored, the SCFs that it takes, and the size of the plan.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence

import numpy as np

from zpe_sdk.errors import InputError
from zpe_sdk.wire import JobRequest
from zpe_server.planning import plan_job
from zpe_server.settings import Settings

EDGE = 3.35  # Å, of simple cubic polonium


def supercell(edge: int, *, hidden: float = 0.0, vacancy: bool = False, fixed: int = 0) -> str:
    """Return an input with a simple cubic crystal, some of it changed.

    Parameters
    ----------
    edge
        Atoms along each edge.
    hidden
        All atoms are moved at random by so many Å, which leaves no symmetry.
    vacancy
        One atom is missing.
    fixed
        Every so many atoms one is fixed, in the order of the input; 0: none.
    """
    places = np.stack(np.meshgrid(*[np.arange(edge)] * 3, indexing="ij"), -1).reshape(-1, 3) * EDGE
    places = places + np.random.default_rng(1).uniform(-hidden, hidden, places.shape)
    places = places[1:] if vacancy else places
    rows = [
        f"Po {x:.6f} {y:.6f} {z:.6f}{' 0 0 0' if fixed and n % fixed == 0 else ''}"
        for n, (x, y, z) in enumerate(places)
    ]
    return "\n".join(
        [
            f"&SYSTEM\n ibrav = 1, A = {edge * EDGE}, nat = {len(places)}, ntyp = 1, ecutwfc = 20.0",
            "/\n&ELECTRONS\n/\nATOMIC_SPECIES\nPo 209.0 Po.upf\nATOMIC_POSITIONS angstrom",
            *rows,
            "K_POINTS gamma\n",
        ]
    )


CASES: dict[str, Callable[[], JobRequest]] = {
    "1000 atoms, simple cubic": lambda: JobRequest(content=supercell(10)),
    "1728 atoms, simple cubic": lambda: JobRequest(content=supercell(12)),
    "1000 atoms, every other one fixed": lambda: JobRequest(content=supercell(10, fixed=2)),
    "999 atoms, a vacancy": lambda: JobRequest(content=supercell(10, vacancy=True)),
    "1000 atoms, no symmetry": lambda: JobRequest(content=supercell(10, hidden=0.1)),
    "9261 atoms, simple cubic": lambda: JobRequest(content=supercell(21)),
    "9260 atoms, a vacancy, 10 of them mobile": lambda: JobRequest(
        content=supercell(21, vacancy=True), mobile_indices=list(range(10))
    ),
    "9261 atoms, no symmetry, 1000 of them mobile": lambda: JobRequest(
        content=supercell(21, hidden=0.1), mobile_indices=list(range(1000))
    ),
}


def row(request: JobRequest) -> str:
    """Return the cells of a case."""
    began = time.process_time()
    try:
        planned = plan_job(request, Settings())
    except InputError as error:
        return f"{time.process_time() - began:.2f} | refused: {error.code} | "
    plan = json.dumps(planned.plan.to_json() if planned.plan else None)
    seconds = time.process_time() - began
    return f"{seconds:.2f} | {len(planned.tasks)} | {len(plan) / 1000:.0f}"


def main(names: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=list(CASES), action="append", help="only this one; repeatable")
    plan_job(JobRequest(content=supercell(1)), Settings())  # the imports
    print("| structure | seconds | SCFs | plan / kB |\n| --- | --- | --- | --- |")
    for name in parser.parse_args(names).case or CASES:
        print(f"| {name} | {row(CASES[name]())} |", flush=True)


if __name__ == "__main__":
    main()
