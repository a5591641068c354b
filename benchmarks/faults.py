"""Kill everything by a seeded schedule while jobs flow, then count: ``python -m benchmarks.faults``.

Two control planes on one Redis with an append-only file, three workers with the mock engine. Any of them
is ended with SIGKILL, at random times, and started again. The titles of the jobs script how each must end.
At the end every job has to be finished or dead exactly as scripted, no SCF and no ionic step may have been
computed after it was acknowledged, and no key may be left over.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from redis import Redis

from tests.processes import PATIENCE, ControlPlane, RedisServer, h2, wait_until
from zpe_sdk.client.async_client import AsyncZPEClient

# How many of a hundred jobs, their script for the mock engine, how they must end, whether they relax first.
SCRIPTS = (
    (65, "", "finished", False),
    (20, "", "finished", True),
    (6, "mock: fail=scf_not_converged times=1", "finished", False),
    (4, "mock: fail=scf_not_converged task=1 times=always", "scf_not_converged", False),
    (3, "mock: fail=bad_input task=2 times=always", "bad_input", False),
    (2, "mock: fail=pw_crashed task=0 times=2", "finished", False),
)
WORKERS = 3
SUBMITTERS = 8
SETTINGS: dict[str, object] = {
    "ZPE_LEASE_TTL_SECONDS": 2,
    # Deaths of workers count as attempts too: a job must not die of bad luck.
    "ZPE_RETRY_MAX": 8,
    "ZPE_RETRY_BASE_DELAY_SECONDS": 0.05,
    "ZPE_RETRY_MAX_DELAY_SECONDS": 0.2,
    "ZPE_WORKER_TOKEN_TTL_SECONDS": 86400,
}


@dataclass
class Outcome:
    """What came of a run; ``problems`` is empty if every promise was kept."""

    jobs: int
    seconds: float = 0.0
    ends: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    computed: int = 0
    acknowledged: int = 0
    computed_again: int = 0
    problems: list[str] = field(default_factory=list)


class Site:
    """All processes of a run, and how each is killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "redis").mkdir(parents=True)
        self.redis = RedisServer(folder / "redis")
        self.redis.start()
        settings = SETTINGS | {"ZPE_REDIS_URL": self.redis.url}
        token = "0123456789abcdef0123456789abcdef"
        self.planes = [ControlPlane(folder / f"plane{n}", settings, admin_token=token) for n in range(2)]
        for plane in self.planes:
            plane.start()
        self.workers: dict[int, int] = {}  # worker -> its place in its plane's list of processes
        for number in range(WORKERS):
            self.start_worker(number)

    @property
    def mock_log(self) -> Path:
        """Where the workers write down each computation."""
        return self.folder / "mock.log"

    def letters(self) -> list[str]:
        """List what the workers have not delivered yet."""
        return [path.name for plane in self.planes for path in plane.folder.glob("worker*/outbox/*.json")]

    def plane_of(self, worker: int) -> ControlPlane:
        """Return the control plane that a worker talks to."""
        return self.planes[worker % len(self.planes)]

    def start_worker(self, number: int) -> None:
        """Start a worker, in the folder of its earlier lives."""
        plane = self.plane_of(number)
        plane.worker(
            f"worker{number}",
            ZPE_MOCK_LOG=self.mock_log,
            ZPE_MOCK_SCF_SECONDS=0.01,
            ZPE_SLOTS=2,
        )
        self.workers[number] = len(plane.workers) - 1

    def victims(self) -> dict[str, tuple[Callable[[], None], Callable[[], None]]]:
        """Return how to kill and how to start again, by the victim's name."""
        found: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
            "redis": (self.redis.kill, self.redis.start)
        }
        for n, plane in enumerate(self.planes):
            found[f"control plane {n}"] = (plane.kill, plane.start)
        for number in range(WORKERS):
            found[f"worker {number}"] = (
                lambda number=number: self._kill_worker(number),  # type: ignore[misc]
                lambda number=number: self.start_worker(number),  # type: ignore[misc]
            )
        return found

    def _kill_worker(self, number: int) -> None:
        process = self.plane_of(number).workers[self.workers[number]]
        process.kill()
        process.wait()

    def stop(self) -> None:
        """End everything."""
        for plane in self.planes:
            plane.stop()
        self.redis.kill()


def run(*, jobs: int, kills: int, seed: int, folder: Path, pace: float = 1.0) -> Outcome:
    """Run a schedule and return what came of it.

    Parameters
    ----------
    jobs, kills
        How many.
    seed
        The schedule: the same seed kills the same processes after the same pauses.
    folder
        Where data and logs go; empty.
    pace
        Mean seconds between kills.
    """
    outcome, chance, started = Outcome(jobs), random.Random(seed), time.monotonic()
    site = Site(folder)
    try:
        scripted = asyncio.run(_drive(site, outcome, jobs, kills, chance, pace))
        _settle(site, scripted, outcome)
        _judge(site, scripted, outcome)
    finally:
        outcome.seconds = time.monotonic() - started
        site.stop()
    return outcome


async def _drive(
    site: Site, outcome: Outcome, jobs: int, kills: int, chance: random.Random, pace: float
) -> dict[str, str]:
    """Submit all jobs through both control planes while processes die; return how each job must end."""
    ends = [script for share, *script in SCRIPTS for _ in range(share)]
    todo = iter([chance.choice(ends) for _ in range(jobs)])
    scripted: dict[str, str] = {}

    async def submit(plane: ControlPlane) -> None:
        async with AsyncZPEClient(plane.url, plane.admin_token, retry_seconds=600) as client:
            for title, end, relax in todo:
                job = await client.submit(h2(title), calc_mode="new", relax=relax)
                assert job.id not in scripted, "two submissions gave one job"
                scripted[job.id] = end

    async def kill() -> None:
        for _ in range(kills):
            await asyncio.sleep(chance.uniform(0.2, 1.8) * pace)
            name, (end, start) = chance.choice(sorted(site.victims().items()))
            outcome.kills[name] += 1
            await asyncio.to_thread(end)
            await asyncio.sleep(chance.uniform(0, 1.0) * pace)
            await asyncio.to_thread(start)

    await asyncio.gather(kill(), *(submit(site.planes[n % 2]) for n in range(SUBMITTERS)))
    return scripted


def _settle(site: Site, scripted: dict[str, str], outcome: Outcome) -> None:
    """Wait until nothing moves any more."""
    store = Redis.from_url(site.redis.url, decode_responses=True)

    def living() -> int:
        return sum(int(store.zcard(f"{{zpe}}:index:*:{state}")) for state in ("queued", "started"))  # type: ignore[arg-type]

    before, deadline = living(), time.monotonic() + PATIENCE
    while (now := living()) and time.monotonic() < deadline:
        if now < before:  # as long as it goes on, it may go on
            before, deadline = now, time.monotonic() + PATIENCE
        time.sleep(0.1)
    if now:
        outcome.problems.append(f"{now} jobs are neither finished nor dead")
    # What a worker still has to say of jobs that went on without it.
    deadline = time.monotonic() + PATIENCE
    while site.letters() and time.monotonic() < deadline:
        time.sleep(0.1)


def _judge(site: Site, scripted: dict[str, str], outcome: Outcome) -> None:
    store = Redis.from_url(site.redis.url, decode_responses=True)
    for job, wanted in scripted.items():
        status, error = store.hmget(f"{{zpe}}:job:{job}", "status", "error")  # type: ignore[misc]
        end = json.loads(error)["code"] if status == "failed" else status
        outcome.ends[end] += 1
        if end != wanted:
            outcome.problems.append(f"job {job} should be {wanted} and is {end}")
    if (total := store.zcard("{zpe}:index:*:*")) != len(scripted):
        outcome.problems.append(f"{total} jobs in the store, {len(scripted)} submitted")
    _judge_computations(site, outcome)
    _judge_keys(site, store, outcome)


def _judge_computations(site: Site, outcome: Outcome) -> None:
    """No SCF, and no ionic step, may begin after it was acknowledged."""
    acknowledged: dict[tuple[str, str], float] = {}
    for plane in site.planes:
        for line in plane.log.splitlines():
            if '"tasks stored"' not in line and '"ionic step stored"' not in line:
                continue
            event = json.loads(line)
            for task in event.get("tasks", [f"step{event.get('step')}"]):
                pair = (event["job_id"], str(task))
                if pair in acknowledged:
                    outcome.problems.append(f"{pair} was stored twice")
                acknowledged[pair] = event["stored"]
    begun: Counter[tuple[str, str]] = Counter()
    for line in site.mock_log.read_text().splitlines():
        job, task, _pid, start = line.split()
        pair = (job, task)
        begun[pair] += 1
        if pair in acknowledged and float(start) > acknowledged[pair]:
            outcome.problems.append(f"{pair} was computed after it had been acknowledged")
    outcome.computed = begun.total()
    outcome.acknowledged = len(acknowledged)
    outcome.computed_again = begun.total() - len(begun)


def _judge_keys(site: Site, store: Redis, outcome: Outcome) -> None:
    """Nothing may be left that belongs to no living thing."""
    for name in ("leases", "ready", "delayed", "assemble"):
        if count := store.zcard(f"{{zpe}}:{name}"):
            outcome.problems.append(f"{count} entries are left in {name}")
    for name in store.scan_iter("{zpe}:job:*:held"):
        outcome.problems.append(f"{name} is left")
    for letter in site.letters():
        outcome.problems.append(f"{letter} was not delivered")
    # Retention, brought forward: afterwards no job may have left a trace.
    with site.planes[0].api() as api:
        for code in ("scf_not_converged", "bad_input"):
            api.post("/calc/zpe/admin/dlq/discard", json={"code": code}).raise_for_status()
    for job in store.zrange("{zpe}:retire", 0, -1):  # type: ignore[union-attr]
        store.zadd("{zpe}:retire", {job: 0})
    site.planes[0].kill()
    site.planes[0].start()  # it looks for what is due when it starts
    wait_until(lambda: store.zcard("{zpe}:retire") == 0)
    for name in store.scan_iter("{zpe}:*"):
        kind = name.split(":")[1]
        if kind in ("job", "result", "index", "dlq", "ready", "delayed", "leases", "assemble"):
            outcome.problems.append(f"{name} is left after its job was forgotten")


def report(outcome: Outcome) -> str:
    """Return the outcome as a table."""
    rows = [
        ("jobs", outcome.jobs),
        ("seconds", f"{outcome.seconds:.0f}"),
        (
            "kills",
            f"{outcome.kills.total()}  ({', '.join(f'{k}: {n}' for k, n in sorted(outcome.kills.items()))})",
        ),
        *((f"jobs that ended {end}", count) for end, count in sorted(outcome.ends.items())),
        ("tasks acknowledged", outcome.acknowledged),
        ("SCFs computed", outcome.computed),
        ("  of these again, unacknowledged", outcome.computed_again),
        ("broken promises", len(outcome.problems)),
    ]
    return "\n".join(f"{name:35} {value}" for name, value in rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pace", type=float, default=1.0, help="mean seconds between kills")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="zpe-faults-") as folder:
        outcome = run(
            jobs=options.jobs,
            kills=options.kills,
            seed=options.seed,
            folder=Path(folder) / "site",
            pace=options.pace,
        )
    print(report(outcome))
    for problem in outcome.problems[:50]:
        print(problem, file=sys.stderr)
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
