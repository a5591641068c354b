"""A service moves from the embedded store to a Redis of one's own: ``python -m benchmarks.moving``.

Jobs of all states go through a real control plane with real workers (mock engine), and copies of them, with
ids and names of their own, make up the number. Then `zpe export` and
`zpe import` take all of it to the system's redis-server, the two are compared record by record, and a control
plane on the new store answers for each job and result as the old one did.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import httpx
from redis import Redis

from benchmarks.dashboard import KINDS, Load
from tests.processes import ZPE, ControlPlane, RedisServer, environment, h2, wait_until
from zpe_sdk.wire import JobState
from zpe_server.archive import records_of

# Of a hundred jobs.
STATES = {"finished": 60, "failed": 10, "discarded": 2, "cancelled": 8, "started": 3, "queued": 17}
NEVER = "mock: fail=scf_not_converged task=1 times=always"
ABLE = {"engine": "mock", "engine_version": "1"}


def main() -> None:
    """Fill a store, move it, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--real", type=int, default=100, help="of them; the others are copies")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts = {state: max(1, asked.real * share // 100) for state, share in STATES.items()}
        move(Path(folder), counts, asked.jobs)


def move(folder: Path, counts: dict[str, int], total: int) -> None:
    """Do it all in a folder."""
    settings: dict[str, object] = {"ZPE_RETRY_MAX": 0, "ZPE_LEASE_TTL_SECONDS": 3600}
    before = ControlPlane(folder / "before", settings)
    before.start()
    try:
        fill(before, counts)
        copy(before, total)
        answers = dict(_answers(before))
    finally:
        before.stop()
    one, two = folder / "one.jsonl.gz", folder / "two.jsonl.gz"
    debians = RedisServer(folder / "debians")
    debians.folder.mkdir()
    debians.start()
    try:
        zpe("export", one, "--data-dir", before.folder / "data")
        zpe("import", one, ZPE_REDIS_URL=debians.url)
        zpe("export", two, ZPE_REDIS_URL=debians.url)
        compare(one, two)
        after = ControlPlane(
            folder / "after", settings | {"ZPE_REDIS_URL": debians.url}, admin_token=before.admin_token
        )
        after.start()
        try:
            same = sum(answers[path] == answer for path, answer in _answers(after))
            print(f"{same} of {len(answers)} answers (each job's detail and result) are the same")
            assert same == len(answers)
        finally:
            after.stop()
    finally:
        debians.kill()


def fill(plane: ControlPlane, counts: dict[str, int]) -> None:
    """Have so many jobs of each state."""
    began = time.monotonic()
    with plane.api() as api:
        # On a busy machine, the first plan takes longer than a plan may.
        wait_until(lambda: api.post("/calc/zpe/plan", json={"content": h2()}).is_success)
        _submit(api, counts["finished"])
        _submit(api, counts["failed"] + counts["discarded"], content=h2(NEVER))
        workers = [plane.worker(name, ZPE_SLOTS=4) for name in ("one", "two")]
        ended = ("finished", "failed")
        wait_until(lambda: sum(_count(api, state) for state in ended) == sum(_ended(counts)), 3600)
        for worker in workers:
            worker.terminate()
            worker.wait()
        dead = api.get("/calc/zpe/admin/dlq?limit=1000").json()["jobs"]
        gone = [entry["job"]["job_id"] for entry in dead[: counts["discarded"]]]
        api.post("/calc/zpe/admin/dlq/discard", json={"job_ids": gone}).raise_for_status()
        _submit(api, counts["started"])
        with plane.api(plane.register(name="three")["worker_token"]) as node:
            for _ in range(counts["started"]):
                asked = {"max_tasks": 1, "capabilities": ABLE}
                node.post("/calc/zpe/compute/jobs/lease", json=asked).raise_for_status()
        for job in _submit(api, counts["cancelled"]):
            api.post(f"/calc/zpe/jobs/{job}/cancel").raise_for_status()
        _submit(api, counts["queued"], requires={"tags": ["big"]})
        for name in ("ann", "bob"):
            plane.researcher_token(name)
        plane.enroll_token()
        states = {state: _count(api, state) for state in get_args(JobState)}
    print(f"{sum(states.values())} jobs after {time.monotonic() - began:.0f} s: {states}")


def copy(plane: ControlPlane, total: int) -> None:
    """Add copies of jobs that are over or wait, until there are so many."""
    with (
        plane.api() as api,
        Redis.from_url(f"unix://{plane.folder / 'data' / 'redis' / 'redis.sock'}") as store,
    ):
        originals = {
            state: api.get(f"/calc/zpe/jobs?status={state}&limit=1").json()["jobs"][0]["job_id"]
            for state in KINDS
        }
        there = int(api.get("/calc/zpe/jobs?limit=1").json()["total"])
        Load(store, originals).grow(total - there + len(originals))
        print(f"{api.get('/calc/zpe/jobs?limit=1').json()['total']} jobs with copies")


def compare(one: Path, two: Path) -> None:
    """Hold two exported files against each other; when a key expires, nobody knows to the millisecond."""
    ours = {record["key"]: record for record in records_of(one)}
    kinds: Counter[str] = Counter()
    count = 0
    for there in records_of(two):
        here = ours[there["key"]]
        assert (here["type"], here["value"]) == (there["type"], there["value"]), there["key"]
        assert abs(here.get("expires_ms", 0) - there.get("expires_ms", 0)) < 5000, there["key"]
        kinds[here["type"]] += 1
        count += 1
    assert count == len(ours)
    print(f"{count} of {len(ours)} records are the same: {dict(kinds)}")


def zpe(*arguments: object, **settings: object) -> None:
    """Run a command, and say how long it took."""
    began = time.monotonic()
    done = subprocess.run(
        [ZPE, *map(str, arguments)], env=environment(**settings), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    print(f"zpe {arguments[0]}: {time.monotonic() - began:.1f} s; {done.stderr.strip().splitlines()[-1]}")


def _ended(counts: dict[str, int]) -> Iterator[int]:
    return (counts[state] for state in ("finished", "failed", "discarded"))


def _submit(api: httpx.Client, count: int, **fields: object) -> list[str]:
    request = {"content": h2(), "calc_mode": "new"} | fields
    replies = (api.post("/calc/zpe/jobs", json=request).raise_for_status().json() for _ in range(count))
    return [str(reply["job_id"]) for reply in replies]


def _count(api: httpx.Client, state: str) -> int:
    return int(api.get("/calc/zpe/jobs", params={"status": state, "limit": 1}).json()["total"])


def _answers(plane: ControlPlane) -> Iterator[tuple[str, Any]]:
    """Yield what the control plane says of each job."""
    with plane.api() as api:
        offset = 0
        while jobs := api.get(f"/calc/zpe/jobs?limit=500&offset={offset}").json()["jobs"]:
            for job in jobs:
                for part in ("detail", "result") if job["status"] == "finished" else ("detail",):
                    path = f"/calc/zpe/jobs/{job['job_id']}/{part}"
                    yield path, api.get(path).raise_for_status().json()
            offset += len(jobs)


if __name__ == "__main__":
    main()
