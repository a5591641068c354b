"""Who runs whose jobs: ``python -m benchmarks.owners``.

Ann and Bob have a machine each, Carol has none, and one machine is for all. Ann's runs her jobs alone; Bob's
also those of his group, in which Carol is. Each of the three submits 100 jobs of springs, in turn; every
tenth of Ann's is for her machine alone. Printed is how many SCFs of each owner each machine has run, and when
each owner was through; that no machine has run what it may not is checked.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from benchmarks.fanout import MOLECULE
from tests.processes import ControlPlane, wait_until
from zpe_sdk.client.blocking_client import ZPEClient
from zpe_sdk.client.job import Job, as_completed

OWNERS = ("ann", "bob", "carol")
MACHINES = ("anns-pc", "bobs-pc", "shared")
MAY_RUN = {"anns-pc": {"ann"}, "bobs-pc": {"bob", "carol"}, "shared": set(OWNERS)}


def run(jobs_each: int, scf_seconds: float) -> None:
    """Run the jobs and print who ran what."""
    with tempfile.TemporaryDirectory(prefix="zpe-owners-") as folder, ExitStack() as stack:
        plane = ControlPlane(Path(folder), {"ZPE_USER_WORKERS": "group", "ZPE_DASHBOARD": 0})
        plane.start()
        stack.callback(plane.stop)
        admin = stack.enter_context(ZPEClient(plane.url, token=plane.admin_token))
        clients = {
            owner: stack.enter_context(ZPEClient(plane.url, token=plane.researcher_token(owner)))
            for owner in OWNERS
        }
        admin.admin.group("surfaces", add=["bob", "carol"])
        tokens = {
            "anns-pc": clients["ann"].workers.enroll_token().token,
            "bobs-pc": clients["bob"].workers.enroll_token(accepts="group").token,
            "shared": admin.admin.enroll_token().token,
        }
        # All stand in line before anybody works.
        admin.admin.set_flags(dequeue_enabled=False)
        for name, token in tokens.items():
            plane.worker(name, ZPE_ENROLL_TOKEN=token, ZPE_SLOTS=1, ZPE_MOCK_SCF_SECONDS=scf_seconds)
        wait_until(lambda: sum(worker.alive for worker in admin.admin.workers().workers) == len(tokens))
        jobs: dict[str, Job] = {}
        owner_of: dict[str, str] = {}
        for n in range(jobs_each):
            for owner, client in clients.items():
                where = "mine" if owner == "ann" and n % 10 == 0 else None
                job = client.submit(MOLECULE, name=f"{owner} {n}", calc_mode="new", where=where)
                jobs[job.id], owner_of[job.id] = job, owner
        began = time.monotonic()
        admin.admin.set_flags(dequeue_enabled=True)
        through: dict[str, float] = {}
        for job in as_completed(list(jobs.values())):
            job.raise_for_status()
            through[owner_of[job.id]] = time.monotonic() - began
        ran: Counter[tuple[str, str]] = Counter()
        for job_id, job in jobs.items():
            for task in job.detail().tasks:
                assert task.worker is not None
                ran[owner_of[job_id], task.worker] += 1
                assert owner_of[job_id] in MAY_RUN[task.worker], (job_id, task)
    print(f"{len(jobs)} jobs, {sum(ran.values())} SCFs of {scf_seconds:g} s; one slot each")
    print(f"{'SCFs of':>8} | " + " | ".join(f"{machine:>8}" for machine in MACHINES) + " | through after")
    for owner in OWNERS:
        counts = " | ".join(f"{ran[owner, machine]:>8}" for machine in MACHINES)
        print(f"{owner:>8} | {counts} | {through[owner]:.1f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=100, help="of each owner")
    parser.add_argument("--scf-seconds", type=float, default=0.01)
    given = parser.parse_args()
    run(given.jobs, given.scf_seconds)
