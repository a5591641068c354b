"""What a worker has to tell the control plane, kept on disk until it was heard.

Each finished SCF, failure and returned lease is a letter: a file in ``WORK_DIR/outbox``, written before
anything is sent and removed when the control plane has answered. Whatever dies in between, the letters
of an earlier life are sent first in the next.
"""

from __future__ import annotations

import time
from collections import deque
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Literal

import structlog
from pydantic import ValidationError

from zpe_sdk.wire import FailedRequest, Message, ReleaseRequest, TaskReport, TaskReportRequest
from zpe_sdk.worker.files import remove_half_written, write_durably

log = structlog.get_logger(__name__)


class Letter(Message):
    """One thing to tell about a lease: exactly one of ``report`` and ``failure``, or neither.

    Without either, ``returned`` tasks go back, or, if it is null, all that the lease still has.
    """

    job_id: str
    lease_id: str
    report: TaskReport | None = None
    failure: FailedRequest | None = None
    returned: list[int] | None = None

    @property
    def kind(self) -> Literal["tasks", "failed", "release"]:
        """Last part of the path of the call that carries it."""
        return "tasks" if self.report else "failed" if self.failure else "release"

    def about(self, lease_id: str) -> Letter:
        """Return the same letter about another lease."""
        failure = self.failure and self.failure.model_copy(update={"lease_id": lease_id})
        return self.model_copy(update={"lease_id": lease_id, "failure": failure})


def request_for(letters: list[Letter]) -> Message:
    """Return the request that carries letters of one kind about one lease."""
    first = letters[0]
    if first.failure:
        return first.failure
    if first.report:
        reports = [letter.report for letter in letters if letter.report]
        return TaskReportRequest(lease_id=first.lease_id, reports=reports)
    return ReleaseRequest(lease_id=first.lease_id, tasks=first.returned)


class Outbox:
    """Letters in the order in which they were written.

    Parameters
    ----------
    folder
        Where they are kept; made if it is missing. What cannot be read is moved to ``aside/`` in it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._aside = folder / "aside"
        self._aside.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._letters: deque[tuple[Path, Letter]] = deque()
        self._lock = Lock()
        self._numbers = count()
        remove_half_written(folder)
        for path in sorted(folder.glob("*.json")):
            try:
                self._letters.append((path, Letter.model_validate_json(path.read_bytes())))
            except (ValidationError, OSError) as error:
                log.warning("a letter cannot be read; it is set aside", file=path.name, reason=str(error))
                path.rename(self._aside / path.name)
        if self._letters:
            log.info("letters of an earlier life wait to be sent", count=len(self._letters))

    def __len__(self) -> int:
        return len(self._letters)

    def put(self, letter: Letter) -> None:
        """Add a letter; it is on disk when this returns."""
        # Names sort by time, and by number within the resolution of the clock.
        path = self._folder / f"{time.time_ns():020d}-{next(self._numbers):06d}.json"
        try:
            write_durably(path, letter.model_dump_json())
        except OSError as error:  # a full disk: memory must do
            log.warning("a letter cannot be written; it waits in memory", reason=str(error))
        with self._lock:
            self._letters.append((path, letter))

    def first(self, limit: int) -> list[Letter]:
        """Return the oldest letter, and up to ``limit`` that may travel with it."""
        with self._lock:
            batch: list[Letter] = []
            for _, letter in self._letters:
                if batch and (
                    letter.kind != "tasks"
                    or (batch[0].kind, batch[0].lease_id) != ("tasks", letter.lease_id)
                    or len(batch) == limit
                ):
                    break
                batch.append(letter)
            return batch

    def remove(self, number: int) -> None:
        """Forget the ``number`` oldest letters: the control plane has answered."""
        with self._lock:
            for _ in range(number):
                path, _letter = self._letters.popleft()
                path.unlink(missing_ok=True)

    def set_aside(self) -> None:
        """Move the oldest letter out of the way, for people to look at."""
        with self._lock:
            path, _letter = self._letters.popleft()
            if path.exists():
                path.rename(self._aside / path.name)
