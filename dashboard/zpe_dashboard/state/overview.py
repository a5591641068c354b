"""The state of the service at a glance."""

from __future__ import annotations

import time
from typing import Any

import param

from zpe_dashboard.state.base import State
from zpe_sdk.wire import Flags, JobStatus

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
    by_hour = param.List(default=[], doc="(hours ago, finished, failed) of the last day, the oldest first.")
    differences = param.List(default=[], item_type=str, doc="Settings in which the replicas differ.")
    samples = param.List(default=[], doc="(time, queued, started, SCFs running), the oldest first.")

    async def fetch(self) -> dict[str, Any]:
        """Ask for all numbers."""
        found = await self.client.admin.overview()
        sample = (time.time(), found.jobs["queued"], found.jobs["started"], found.scfs_running)
        hours = zip(found.finished_by_hour, found.failed_by_hour, strict=True)
        return {
            "queued": found.jobs["queued"],
            "started": found.jobs["started"],
            "dead": found.dead,
            "scfs_running": found.scfs_running,
            "workers": found.workers,
            "workers_alive": found.workers_alive,
            "oldest": found.oldest,
            "flags": found.flags,
            "finished_last_hour": found.finished_by_hour[0],
            "by_hour": [(hour, done, lost) for hour, (done, lost) in enumerate(hours)][::-1],
            "differences": found.differences,
            "samples": [*self.samples[-SAMPLES + 1 :], sample],
        }

    async def set_flag(self, name: str, value: bool) -> None:
        """Stop or resume submission (``submission_enabled``) or leasing (``dequeue_enabled``)."""
        self.flags = await self.client.admin.set_flags(**{name: value})
