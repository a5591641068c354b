"""A load generator: job lifecycles over HTTP, on raw connections, so that it takes little of the machine."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from tests.processes import h2
from zpe_sdk.wire import JobPayload, JobRequest, Task
from zpe_sdk.worker.engines.mock import MockEngine
from zpe_sdk.worker.settings import WorkerSettings
from zpe_server.planning import plan_job
from zpe_server.settings import Settings

TASKS = 3  # of H2, with its symmetry


@dataclass
class Latencies:
    """Seconds of each kind of request, and what they say."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    @contextmanager
    def clock(self, kind: str) -> Iterator[None]:
        """Note how long the ``with`` block takes."""
        began = time.perf_counter()
        yield
        self.seconds[kind].append(time.perf_counter() - began)

    def ms(self, kind: str, percentile: float) -> float:
        """Return a percentile in ms."""
        return float(np.percentile(self.seconds[kind], percentile)) * 1000


class Connection:
    """One HTTP/1.1 connection, kept open."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Connection:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=2**24)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def post(self, path: str, token: str, body: bytes) -> tuple[int, bytes]:
        """Send a request; return status and body of the reply."""
        self._writer.write(
            b"POST %b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (path.encode(), token.encode(), len(body), body)
        )
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        status, _, rest = head[9:].partition(b" ")
        length = rest.partition(b"content-length:")[2].partition(b"\r\n")[0]
        return int(status), await self._reader.readexactly(int(length)) if length else b""


@dataclass(frozen=True)
class Bodies:
    """Requests of a lifecycle, made beforehand."""

    job: bytes
    lease: bytes
    reports: str

    @classmethod
    def of_h2(cls, folder: Path) -> Bodies:
        """Return those of an H2 job, with the mock engine's forces."""
        content = h2()
        payload = JobPayload(
            content=content, mobile_indices=[0, 1], delta=0.01, low_cut_cm=50, temperature=300
        )
        engine = MockEngine(WorkerSettings(work_dir=folder))
        reports = [
            engine.run(payload, Task.from_json(task), job_id="x", stop=Event()).model_dump()
            for task in h2_tasks()
        ]
        able = engine.capabilities().model_dump()
        return cls(
            json.dumps({"content": content}).encode(),
            json.dumps({"max_tasks": TASKS, "capabilities": able}).encode(),
            json.dumps(reports),
        )


def h2_tasks() -> list[dict[str, Any]]:
    """Return the tasks that the control plane plans for the H2 of the lifecycles."""
    return [task.to_json() for task in plan_job(JobRequest(content=h2()), Settings()).tasks]


async def lifecycles(
    port: int, researcher: str, worker: str, bodies: Bodies, *, clients: int, count: int
) -> tuple[float, Latencies]:
    """Drive ``count`` lifecycles by ``clients`` clients side by side; return seconds and latencies.

    Each client submits a job, leases one (not always the same) and reports its SCFs, which finishes it.
    """
    latencies, numbers = Latencies(), iter(range(count))

    async def client() -> None:
        async with Connection(port) as connection:
            for _ in numbers:
                await _lifecycle(connection, researcher, worker, bodies, latencies)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(client())
    return time.perf_counter() - started, latencies


async def _lifecycle(
    connection: Connection, researcher: str, worker: str, bodies: Bodies, latencies: Latencies
) -> None:
    with latencies.clock("submit"):
        status, reply = await connection.post("/calc/zpe/jobs", researcher, bodies.job)
    assert status == 200, reply
    with latencies.clock("lease"):
        status, reply = await connection.post("/calc/zpe/compute/jobs/lease", worker, bodies.lease)
    assert status == 200, (status, reply)
    lease: dict[str, Any] = json.loads(reply)
    body = f'{{"lease_id": "{lease["lease_id"]}", "reports": {bodies.reports}}}'.encode()
    with latencies.clock("report"):
        status, reply = await connection.post(f"/calc/zpe/compute/jobs/{lease['job_id']}/tasks", worker, body)
    assert status == 200, reply
    assert json.loads(reply)["job_status"] in ("started", "finished"), reply
