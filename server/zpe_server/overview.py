"""The service at a glance, in numbers that cost the same however many jobs there are."""

from __future__ import annotations

from zpe_sdk.wire import Overview
from zpe_server.flags import Switches
from zpe_server.jobs import Jobs
from zpe_server.replicas import Replicas, differences
from zpe_server.store import Store
from zpe_server.transitions.service import ReadOverview
from zpe_server.workers import Workers


async def overview(
    store: Store, jobs: Jobs, workers: Workers, flags: Switches, replicas: Replicas
) -> Overview:
    """Return how many jobs and workers there are, what waits the longest, and how the last day went."""
    found = await store.transition(ReadOverview())
    oldest = await jobs.statuses([found["oldest"]]) if "oldest" in found else [None]
    known, told = await workers.all(), await replicas.note()
    return Overview(
        jobs=found["jobs"],
        dead=found["dlq"],
        scfs_running=found["running"],
        workers=len(known),
        workers_alive=sum(worker.alive for worker in known),
        oldest=oldest[0],
        flags=await flags.get(),
        finished_by_hour=found["finished"],
        failed_by_hour=found["failed"],
        replicas=len(told),
        differences=differences(told),
    )
