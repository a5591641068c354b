"""How much a control plane can take: ``python -m benchmarks.control_plane``.

Real server processes on a real Redis, job lifecycles over HTTP (an H2 job of three tasks: submitted, leased,
reported, its result made and stored), and RQ's no-op jobs on the same machine in the same run.

- **throughput**: lifecycles/s with one, two and four server processes; RQ's SimpleWorker beside it; the load
  generator against a server that does nothing, as the ceiling of the measurement.
- **round trips**: what a lifecycle costs in round trips to Redis, read with MONITOR.
- **latency**: of each request at 1, 16 and 64 clients, with 100 and with 100 000 jobs in line.
- **dispatch**: from a submission to the lease in the hands of a worker that waits.
- **idle**: what 1, 100 and 1000 waiting workers cost.

Everything runs on this machine, the load generator too: with more cores than two, all figures get better.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import redis
import uvloop

from benchmarks.load import Bodies, Connection, lifecycles
from tests.processes import ControlPlane, RedisServer, h2
from zpe_sdk.wire import JobRequest
from zpe_server.planning import plan_job
from zpe_server.settings import Settings
from zpe_server.store import PREFIX, key
from zpe_server.submission import stage_of, stage_texts
from zpe_server.transitions.jobs import Submit
from zpe_server.transitions.scripts import source

SECTIONS = ("throughput", "round-trips", "latency", "dispatch", "idle")
BEAT_SECONDS = 10.0  # between a worker's heartbeats
LEASE = "/calc/zpe/compute/jobs/lease"


class Site:
    """A Redis and a control plane on it, with a researcher's and a worker's token."""

    def __init__(self, folder: Path, processes: int = 1) -> None:
        (folder / "redis").mkdir(parents=True)
        self.redis = RedisServer(folder / "redis")
        self.redis.start()
        self.connection: Any = redis.Redis.from_url(self.redis.url, decode_responses=True)
        self.connection.config_set("appendfsync", "everysec")  # as Redis comes
        self.plane = ControlPlane(
            folder / "plane",
            {"ZPE_REDIS_URL": self.redis.url, "ZPE_LOG_LEVEL": "WARNING", "ZPE_DASHBOARD": 0},
            ["--workers", str(processes)],
        )
        self.plane.start()
        self.researcher = self.plane.researcher_token("ann")
        self.worker = self.plane.register()["worker_token"]
        self.bodies = Bodies.of_h2(folder)

    @classmethod
    @contextmanager
    def running(cls, processes: int = 1) -> Iterator[Site]:
        """Start all; end it after the ``with`` block."""
        with tempfile.TemporaryDirectory(prefix="zpe-load-") as folder:
            site = cls(Path(folder), processes)
            try:
                yield site
            finally:
                site.plane.stop()
                site.redis.kill()

    def lifecycles(self, clients: int, count: int) -> tuple[float, Any]:
        """Drive lifecycles; return how many per second, and their latencies."""
        drive = lifecycles(
            self.plane.port, self.researcher, self.worker, self.bodies, clients=clients, count=count
        )
        seconds, latencies = uvloop.run(drive)
        return count / seconds, latencies

    def fill(self, count: int) -> float:
        """Put jobs in line that the lifecycles do not reach; return Redis's bytes per job.

        By the same transition as a submission over HTTP, many in one round trip.
        """
        asked, settings = JobRequest(content=h2()), Settings()
        planned = plan_job(asked, settings)
        request = Submit(
            job="",
            owner="bob",
            priority=-1,
            idempotency_ms=1,
            stage=stage_of(planned, asked, settings),
            **stage_texts(planned),
        )
        sha = self.connection.script_load(source(Submit.script))
        before = self.redis_bytes()
        for start in range(0, count, 500):
            with self.connection.pipeline(transaction=False) as pipeline:
                for _ in range(start, min(count, start + 500)):
                    job = replace(request, job=uuid.uuid4().hex)
                    pipeline.evalsha(sha, 1, PREFIX, *job.argv())
                pipeline.execute()
        return (self.redis_bytes() - before) / count

    def redis_bytes(self) -> int:
        """Return the memory that Redis uses."""
        return int(self.connection.info("memory")["used_memory"])

    def cpu_seconds(self) -> tuple[float, float]:
        """Return the processor seconds so far of the control plane, all its processes, and of Redis."""
        assert self.plane.process is not None
        assert self.redis.process is not None
        plane = psutil.Process(self.plane.process.pid)
        times = [p.cpu_times() for p in (plane, *plane.children(recursive=True))]
        store = psutil.Process(self.redis.process.pid).cpu_times()
        return sum(t.user + t.system for t in times), store.user + store.system


# ---------------------------------------------------------------------------------------- throughput


def throughput(count: int, clients: int) -> None:
    """Print lifecycles per second, and what they are held against."""
    print(f"\nThroughput: {count} lifecycles by {clients} clients\n")
    print("| what | per second | processor ms each: server | Redis |")
    print("| --- | --- | --- | --- |")
    for processes in (1, 2, 4):
        with Site.running(processes) as site:
            site.lifecycles(clients, clients * 2 * processes)  # every process has loaded what it needs
            before, memory = site.cpu_seconds(), site.redis_bytes()
            rate, _ = site.lifecycles(clients, count)
            server, store = (1000 * (b - a) / count for a, b in zip(before, site.cpu_seconds(), strict=True))
            finished = site.connection.zcard(key("index", "*", "finished"))
            assert finished == count + clients * 2 * processes, "not every job has finished"
            print(f"| {processes} server process(es) | {rate:.0f} | {server:.1f} | {store:.1f} |", flush=True)
            if processes == 1:
                per_job = (site.redis_bytes() - memory) / count
                before = site.cpu_seconds()
                beats = uvloop.run(heartbeats(site, clients, count))
                beat_cpu = [1000 * (b - a) / count for a, b in zip(before, site.cpu_seconds(), strict=True)]
    print(f"| heartbeats, one server process | {beats:.0f} | {beat_cpu[0]:.1f} | {beat_cpu[1]:.1f} |")
    print(f"| RQ, SimpleWorker, no-op jobs | {rq_rate(count):.0f} | | |")
    print(f"| the load generator itself | {ceiling(clients):.0f} | | |", flush=True)
    print(f"\n{per_job:.0f} bytes of Redis's memory per finished job, its result included")


async def heartbeats(site: Site, clients: int, count: int) -> float:
    """Return how many heartbeats per second are answered."""
    numbers = iter(range(count))

    async def client() -> None:
        async with Connection(site.plane.port) as connection:
            for _ in numbers:
                status, reply = await connection.post("/calc/zpe/compute/heartbeat", site.worker, b"{}")
                assert status == 200, reply

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
    return count / (time.perf_counter() - began)


def rq_rate(count: int) -> float:
    """Return how many no-op jobs per second RQ does from enqueueing to the end, with one SimpleWorker."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            code = (
                "import sys, time, logging, redis, rq\n"
                "from rq.worker import SimpleWorker\n"
                "logging.disable(logging.CRITICAL)\n"
                "connection = redis.Redis.from_url(sys.argv[1])\n"
                "connection.config_set('appendfsync', 'everysec')\n"
                "queue = rq.Queue(connection=connection)\n"
                "began = time.perf_counter()\n"
                "for _ in range(int(sys.argv[2])): queue.enqueue('time.time')\n"
                "SimpleWorker([queue], connection=connection).work(burst=True)\n"
                "print(time.perf_counter() - began)\n"
            )
            arguments = [sys.executable, "-c", code, server.url, str(count)]
            done = subprocess.run(arguments, capture_output=True, text=True, check=True)
            return count / float(done.stdout.split()[-1])
        finally:
            server.kill()


def ceiling(clients: int) -> float:
    """Return the rate against a server that answers from memory: the generator's own limit."""
    body = b'{"lease_id": "x", "job_id": "x", "job_status": "finished"}'

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
                await reader.readexactly(length)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async def run() -> float:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=2**24)
        port = server.sockets[0].getsockname()[1]
        with tempfile.TemporaryDirectory() as folder:
            bodies = Bodies.of_h2(Path(folder))
        count = 3000
        seconds, _ = await lifecycles(port, "x", "x", bodies, clients=clients, count=count)
        server.close()
        return count / seconds

    return uvloop.run(run())


# ---------------------------------------------------------------------------------------- the others


def round_trips(count: int) -> None:
    """Print the round trips to Redis of a lifecycle."""
    with Site.running() as site:
        site.lifecycles(1, 5)
        with site.connection.monitor() as monitor:
            site.lifecycles(1, count)
            site.connection.echo("the end")
            seen: dict[str, int] = {}
            for command in monitor.listen():
                words = command["command"].split()
                if words[0] == "ECHO":
                    break
                if command["client_type"] != "lua":
                    seen[words[0]] = seen.get(words[0], 0) + 1
    total = sum(seen.values()) / count
    print(f"\nRound trips to Redis per lifecycle: {total:.1f}, with those of the sweeper")
    print("  " + ", ".join(f"{name} {n / count:.1f}" for name, n in sorted(seen.items())))


def latency(count: int, depths: list[int]) -> None:
    """Print the latency of each request by clients and by jobs in line."""
    print("\nLatency in ms, p50 / p99\n")
    print("| jobs in line | clients | submit | lease | report | lifecycles/s |")
    print("| --- | --- | --- | --- | --- | --- |")
    for depth in depths:
        with Site.running() as site:
            per_job = site.fill(depth)
            site.lifecycles(4, 20)
            for clients in (1, 16, 64):
                rate, found = site.lifecycles(clients, count)
                cells = " | ".join(
                    f"{found.ms(kind, 50):.1f} / {found.ms(kind, 99):.1f}"
                    for kind in ("submit", "lease", "report")
                )
                print(f"| {depth} | {clients} | {cells} | {rate:.0f} |", flush=True)
        notes = f"{per_job:.0f} bytes of Redis's memory per job in line"
    print(f"\n{notes}")


def dispatch(count: int, depth: int) -> None:
    """Print how long it takes from a submission to a lease in the hands of a worker that waits."""

    async def run(site: Site) -> list[float]:
        found = []
        async with Connection(site.plane.port) as ann, Connection(site.plane.port) as worker:
            for _ in range(count):
                body = json.dumps(
                    {"max_tasks": 3, "wait_seconds": 20, "lease_key": uuid.uuid4().hex}
                ).encode()
                waiting = asyncio.create_task(worker.post(LEASE, site.worker, body))
                await asyncio.sleep(0.02)  # until it waits
                began = time.perf_counter()
                status, reply = await ann.post("/calc/zpe/jobs", site.researcher, site.bodies.job)
                assert status == 200, reply
                status, reply = await waiting
                assert status == 200, reply
                found.append(1000 * (time.perf_counter() - began))
                lease = json.loads(reply)
                report = f'{{"lease_id": "{lease["lease_id"]}", "reports": {site.bodies.reports}}}'
                path = f"/calc/zpe/compute/jobs/{lease['job_id']}/tasks"
                await worker.post(path, site.worker, report.encode())
        return found

    with Site.running() as site:
        found = uvloop.run(run(site))
    p50, p99 = np.percentile(found, (50, 99))
    print(f"\nDispatch, submission to lease: p50 {p50:.1f} ms, p99 {p99:.1f} ms ({count} times)")


def idle(seconds: float, counts: list[int]) -> None:
    """Print what waiting workers cost."""
    print(f"\nWaiting workers, over {seconds:.0f} s\n")
    print("| workers | Redis commands/s | server: processor % | memory / MB | Redis: processor % |")
    print("| --- | --- | --- | --- | --- |")

    async def wait(site: Site, token: str, until: float) -> None:
        async with Connection(site.plane.port) as connection:
            while time.monotonic() < until:
                body = {"max_tasks": 1, "wait_seconds": 25, "lease_key": uuid.uuid4().hex}
                status, reply = await connection.post(LEASE, token, json.dumps(body).encode())
                assert status == 204, reply

    async def beat(site: Site, token: str, number: int, until: float) -> None:
        await asyncio.sleep(number % 100 / 100 * BEAT_SECONDS)
        async with Connection(site.plane.port) as connection:
            while time.monotonic() < until:
                status, reply = await connection.post("/calc/zpe/compute/heartbeat", token, b"{}")
                assert status == 200, reply
                await asyncio.sleep(BEAT_SECONDS)

    async def run(site: Site, tokens: list[str]) -> None:
        warm_up = BEAT_SECONDS + 2 + len(tokens) / 50
        until = time.monotonic() + warm_up + seconds
        waiting = [asyncio.create_task(wait(site, token, until)) for token in tokens]
        waiting += [
            asyncio.create_task(beat(site, token, number, until)) for number, token in enumerate(tokens)
        ]
        await asyncio.sleep(warm_up)
        commands, cpu = client_commands(site), site.cpu_seconds()
        await asyncio.sleep(seconds)
        used = [b - a for a, b in zip(cpu, site.cpu_seconds(), strict=True)]
        assert site.plane.process is not None
        memory = psutil.Process(site.plane.process.pid).memory_info().rss / 1e6
        print(
            f"| {len(tokens)} | {(client_commands(site) - commands) / seconds:.2f} "
            f"| {100 * used[0] / seconds:.1f} | {memory:.0f} | {100 * used[1] / seconds:.1f} |",
            flush=True,
        )
        for task in waiting:
            task.cancel()

    for count in counts:
        with Site.running() as site:
            tokens = [site.plane.register()["worker_token"] for _ in range(count)]
            uvloop.run(run(site, tokens))


def client_commands(site: Site) -> int:
    """Return how many commands clients have sent so far: scripts count once, what they call does not."""
    stats = site.connection.info("commandstats")
    of_scripts = stats.get("cmdstat_evalsha", {"calls": 0})["calls"]
    # What only clients send, never scripts.
    others = ("hello", "client|setinfo", "subscribe", "ping", "script|load")
    return int(of_scripts + sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in others))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", default=",".join(SECTIONS), help="comma-separated: " + ", ".join(SECTIONS))
    parser.add_argument("--count", type=int, default=2000, help="lifecycles per measurement")
    parser.add_argument("--depths", default="100,100000", help="jobs in line")
    parser.add_argument("--idle-seconds", type=float, default=60)
    parser.add_argument("--idle-workers", default="1,100,1000")
    options = parser.parse_args()
    sections = options.only.split(",")
    if unknown := sorted(set(sections) - set(SECTIONS)):
        parser.error(f"no such sections: {', '.join(unknown)}")
    depths = [int(depth) for depth in options.depths.split(",")]
    print(f"{psutil.cpu_count()} cores, load {psutil.getloadavg()[0]:.1f} before")
    if "throughput" in sections:
        throughput(options.count, 16)
    if "round-trips" in sections:
        round_trips(50)
    if "latency" in sections:
        latency(options.count // 2, depths)
    if "dispatch" in sections:
        dispatch(200, depths[0])
    if "idle" in sections:
        idle(options.idle_seconds, [int(count) for count in options.idle_workers.split(",")])


if __name__ == "__main__":
    main()
