"""How many workers may wait on one server process: ``python -m benchmarks.polls``.

Each long poll is a connection of its own, with a request for work that waits. Told are the memory of the
server for each, what others feel meanwhile, and how long it takes from a submission to a lease in the hands
of one that waits. Everything runs on this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import time
import uuid

import numpy as np
import psutil
import uvloop

from benchmarks.control_plane import LEASE, Site
from benchmarks.load import Connection

TIMES = 20
TOGETHER = 200  # connections that are opened at a time


async def measure(site: Site, count: int) -> str:
    """Return the cells of a row."""
    assert site.plane.process is not None
    server = psutil.Process(site.plane.process.pid)
    before = server.memory_info().rss
    waiting: dict[asyncio.Task[tuple[int, bytes]], Connection] = {}

    async def wait() -> None:
        connection = Connection(site.plane.port)
        await connection.__aenter__()
        body = {"max_tasks": 3, "wait_seconds": 30, "lease_key": uuid.uuid4().hex}
        request = connection.post(LEASE, site.worker, json.dumps(body).encode())
        waiting[asyncio.create_task(request)] = connection

    async def fill() -> None:
        over = [task for task in waiting if task.done()]
        for task in over:
            await waiting.pop(task).__aexit__()
        while len(waiting) < count:
            await asyncio.gather(*(wait() for _ in range(min(TOGETHER, count - len(waiting)))))

    async def post(path: str, token: str, body: bytes) -> bytes:
        async with Connection(site.plane.port) as connection:
            status, reply = await connection.post(path, token, body)
        assert status == 200, reply
        return reply

    await fill()
    heartbeats, dispatches = [], []
    for _ in range(TIMES):
        await fill()
        began = time.perf_counter()
        await post("/calc/zpe/compute/heartbeat", site.worker, b"{}")
        heartbeats.append(1000 * (time.perf_counter() - began))
        began = time.perf_counter()
        await post("/calc/zpe/jobs", site.researcher, site.bodies.job)
        found: list[bytes] = []
        while not found:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            found = [task.result()[1] for task in done if task.result()[0] == 200]
            for task in done:
                await waiting.pop(task).__aexit__()
        dispatches.append(1000 * (time.perf_counter() - began))
        lease = json.loads(found[0])
        report = f'{{"lease_id": "{lease["lease_id"]}", "reports": {site.bodies.reports}}}'
        await post(f"/calc/zpe/compute/jobs/{lease['job_id']}/tasks", site.worker, report.encode())
    memory = (server.memory_info().rss - before) / 1e3 / count
    cells = ["{:.1f} / {:.1f}".format(*np.percentile(ms, (50, 99))) for ms in (heartbeats, dispatches)]
    for task, connection in waiting.items():
        task.cancel()
        await connection.__aexit__()
    return " | ".join([str(count), f"{memory:.0f}", *cells])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--polls", default="1000,5000,15000", help="comma-separated")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print("| long polls | kB each | heartbeat / ms, p50 / p99 | submission to lease / ms |")
    print("| --- | --- | --- | --- |")
    for count in map(int, options.polls.split(",")):
        with Site.running() as site:
            print(f"| {uvloop.run(measure(site, count))} |", flush=True)


if __name__ == "__main__":
    main()
