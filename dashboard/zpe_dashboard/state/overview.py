"""The state of the service at a glance."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import param

from zpe_dashboard.state.base import State, job_page
from zpe_sdk.wire import Flags, JobStatus

# Finished and failed jobs are counted anew so often, over so many of the newest.
COUNT_SECONDS = 20.0
COUNTED = 1000
HOURS = 24
# Samples of the live plot that are kept: an hour at one every two seconds.
SAMPLES = 1800


class Overview(State):
    """Numbers of jobs and workers, switches, and how the numbers went since the page was opened."""

    queued = param.Integer(default=0, doc="Jobs that wait.")
    started = param.Integer(default=0, doc="Jobs that run.")
    dead = param.Integer(default=0, doc="Jobs in the dead-letter queue.")
    scfs_running = param.Integer(default=0, doc="SCFs that workers hold.")
    workers_alive = param.Integer(default=0)
    workers = param.Integer(default=0, doc="Workers that are not revoked.")
    oldest = param.ClassSelector(class_=JobStatus, default=None, allow_None=True, doc="Waits the longest.")
    flags = param.ClassSelector(class_=Flags, default=Flags(submission_enabled=True, dequeue_enabled=True))
    finished_last_hour = param.Integer(default=0)
    by_hour = param.List(
        default=[], doc="(hours ago, finished, failed), the oldest first, for the last HOURS hours."
    )
    samples = param.List(default=[], doc="(time, queued, started, SCFs running), the oldest first.")

    _counted_at = -COUNT_SECONDS

    async def fetch(self) -> dict[str, Any]:
        """Ask for all numbers at once."""
        client, last = self.client, max(0, self.queued - 1)
        queued, started, dead, workers, leases, flags = await asyncio.gather(
            # Newest first: the last of the page is the oldest.
            job_page(client, status="queued", limit=1, offset=last),
            job_page(client, status="started", limit=1),
            client.admin.dead_jobs(limit=1),
            client.admin.workers(),
            client.admin.leases(),
            client.admin.flags(),
        )
        if queued.total > 0 and queued.total - 1 != last:
            queued = await job_page(client, status="queued", limit=1, offset=queued.total - 1)
        scfs = sum(len(lease.tasks) for lease in leases.leases)
        sample = (time.time(), queued.total, started.total, scfs)
        known = [worker for worker in workers.workers if not worker.revoked]
        return {
            "queued": queued.total,
            "started": started.total,
            "dead": dead.total,
            "scfs_running": scfs,
            "workers": len(known),
            "workers_alive": sum(worker.alive for worker in known),
            "oldest": queued.jobs[0] if queued.jobs else None,
            "flags": flags,
            "samples": [*self.samples[-SAMPLES + 1 :], sample],
            **await self._count(),
        }

    async def _count(self) -> dict[str, Any]:
        if time.monotonic() < self._counted_at + COUNT_SECONDS:
            return {}
        finished, failed = await asyncio.gather(
            job_page(self.client, status="finished", limit=COUNTED),
            job_page(self.client, status="failed", limit=COUNTED),
        )
        self._counted_at = time.monotonic()
        now = datetime.now(UTC)
        done, lost = _hours_ago(finished.jobs, now), _hours_ago(failed.jobs, now)
        return {
            "finished_last_hour": done[0],
            "by_hour": [(hour, done[hour], lost[hour]) for hour in reversed(range(HOURS))],
        }

    async def set_flag(self, name: str, value: bool) -> None:
        """Stop or resume submission (``submission_enabled``) or leasing (``dequeue_enabled``)."""
        self.flags = await self.client.admin.set_flags(**{name: value})


def _hours_ago(jobs: list[JobStatus], now: datetime) -> Counter[int]:
    """Count jobs by the whole hours since they were over."""
    ends = (datetime.fromisoformat(job.finished_at) for job in jobs if job.finished_at)
    return Counter(max(0, int((now - end).total_seconds() // 3600)) for end in ends)
