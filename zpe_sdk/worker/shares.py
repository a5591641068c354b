"""The work a worker has on hand: the tasks of its leases, waiting and running."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import structlog

from zpe_sdk.wire import FailedRequest, LeaseReply, Task
from zpe_sdk.worker.files import remove_half_written, write_durably
from zpe_sdk.worker.outbox import Letter

log = structlog.get_logger(__name__)


@dataclass
class Share:
    """A lease: its tasks that wait and that run; ``lost`` once the control plane has taken them back."""

    lease: LeaseReply
    waiting: deque[Task]
    running: set[int] = field(default_factory=set)
    lost: bool = False

    @classmethod
    def of(cls, lease: LeaseReply) -> Share:
        """Return the share of a new lease, equilibrium first: the others start from its density."""
        return cls(lease, deque(sorted(lease.tasks, key=lambda task: task.index)))

    @property
    def over(self) -> bool:
        """Whether nothing is left to do for it here."""
        return not self.waiting and not self.running


@dataclass
class Run:
    """A running task: its slots and its current lease; ``stop`` ends it."""

    share: Share
    task: Task
    slots: int
    stop: Event = field(default_factory=Event)


class Logbook:
    """Notes which tasks run under which lease, for the case that this process does not live to tell.

    Parameters
    ----------
    folder
        Where the notes are kept, a file per lease; made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, exist_ok=True)

    def note(self, share: Share) -> None:
        """Write down a share as it stands, or remove its note if it is over."""
        path = self._folder / f"{share.lease.lease_id}.json"
        try:
            if share.over:
                path.unlink(missing_ok=True)
            else:
                note = {
                    "job_id": share.lease.job_id,
                    "lease_id": share.lease.lease_id,
                    "running": sorted(share.running),
                }
                write_durably(path, json.dumps(note))
        except OSError as error:  # without the note, the lease expires in its own time
            log.warning("a note of running tasks could not be kept", reason=str(error))

    def testament(self) -> Iterable[Letter]:
        """Take what the previous process left: what ran has failed, and the rest of each lease goes back.

        A task may be what ended that life, so it counts as an attempt. The others do not.
        """
        remove_half_written(self._folder)
        for path in sorted(self._folder.iterdir()):
            try:
                note = json.loads(path.read_text())
                job_id, lease_id = str(note["job_id"]), str(note["lease_id"])
                running = [int(task) for task in note["running"]]
            except (OSError, ValueError, KeyError, TypeError):
                log.warning("a note of running tasks cannot be read; its lease will expire", file=path.name)
            else:
                log.warning(
                    "the previous worker process died while running tasks", job_id=job_id, running=running
                )
                if running:
                    failure = FailedRequest(
                        lease_id=lease_id,
                        error_code="worker_died",
                        error_message="the worker's process ended while it ran this SCF",
                        tasks=running,
                    )
                    yield Letter(job_id=job_id, lease_id=lease_id, failure=failure)
                yield Letter(job_id=job_id, lease_id=lease_id)
            path.unlink(missing_ok=True)
