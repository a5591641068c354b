"""Whether anything piles up: ``python -m benchmarks.soak``.

Rounds of jobs through a control plane with springs and a short retention. After each round, when all of
its jobs are over and forgotten, Redis must hold as many keys as before the first one, and neither Redis nor
the control plane may have grown since the first round. 3600 jobs are an hour at one job per second.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import redis

from tests.processes import ControlPlane, RedisServer, h2, wait_until
from zpe_sdk.client.async_client import AsyncZPEClient
from zpe_sdk.errors import ComputeError
from zpe_server.store import key

RETENTION_SECONDS = 4
SUBMITTERS = 8
# One in so many fails, is looked at and discarded.
FAILING = 50


@dataclass(frozen=True)
class Level:
    """What is in use: keys in Redis, its memory and the control plane's in MB."""

    keys: int
    redis_mb: float
    plane_mb: float


def soak(folder: Path, *, rounds: int, jobs: int) -> tuple[list[Level], list[str]]:
    """Return the level before and after each round, and what is wrong with them."""
    (folder / "redis").mkdir()
    server = RedisServer(folder / "redis")
    server.start()
    connection: Any = redis.Redis.from_url(server.url)
    settings: dict[str, object] = {
        "ZPE_REDIS_URL": server.url,
        "ZPE_COMPUTE_MODE": "mock",
        "ZPE_RESULT_TTL_SECONDS": RETENTION_SECONDS,
        "ZPE_RETRY_MAX": 0,
        "ZPE_LOG_LEVEL": "WARNING",
        "ZPE_DASHBOARD": 0,
    }
    plane = ControlPlane(folder / "plane", settings)
    plane.start()

    def level() -> Level:
        assert plane.process is not None
        memory = psutil.Process(plane.process.pid).memory_info().rss
        used = connection.info("memory")["used_memory"]
        return Level(connection.dbsize(), used / 1e6, memory / 1e6)

    def forgotten() -> bool:
        return int(connection.zcard(key("index", "*", "*"))) == 0

    try:
        asyncio.run(_round(plane, 20))  # every script is loaded, every counter is there
        wait_until(forgotten)
        levels = [level()]
        for _ in range(rounds):
            asyncio.run(_round(plane, jobs))
            wait_until(forgotten)
            levels.append(level())
    finally:
        plane.stop()
        server.kill()
    problems = []
    if any(one.keys > levels[0].keys + 2 for one in levels):  # a counter more or less
        problems.append("keys are left over")
    if levels[-1].redis_mb > 1.1 * levels[1].redis_mb:
        problems.append("Redis has grown")
    if levels[-1].plane_mb > 1.1 * levels[1].plane_mb:
        problems.append("the control plane has grown")
    return levels, problems


async def _round(plane: ControlPlane, jobs: int) -> None:
    numbers = iter(range(jobs))
    async with AsyncZPEClient(plane.url, token=plane.admin_token) as client:

        async def submitter() -> None:
            for n in numbers:
                fails = n % FAILING == FAILING - 1
                title = "mock: fail=scf_not_converged times=always" if fails else ""
                job = await client.submit(h2(title))
                try:
                    await job.wait(progress=False)
                    await job.result()
                except ComputeError:
                    assert fails
                    await client.admin.discard([job.id])

        async with asyncio.TaskGroup() as group:
            for _ in range(SUBMITTERS):
                group.create_task(submitter())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1200, help="per round")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="zpe-soak-") as folder:
        levels, problems = soak(Path(folder), rounds=options.rounds, jobs=options.jobs)
    print("| after jobs | keys | Redis / MB | control plane / MB |")
    print("| --- | --- | --- | --- |")
    for n, one in enumerate(levels):
        print(f"| {n * options.jobs} | {one.keys} | {one.redis_mb:.1f} | {one.plane_mb:.0f} |")
    if problems:
        sys.exit("; ".join(problems))


if __name__ == "__main__":
    main()
