"""What a worker has to tell the control plane, kept on disk until it was heard.

Each finished SCF, failure and returned lease is a message: a file in ``WORK_DIR/outbox``, written before
anything is sent and removed when the control plane has answered. Whatever dies in between, the messages
of an earlier process are sent first by the next.

Results of jobs that the control plane does not know are kept for a week, in ``later/``: its store may have
lost them, and a restore brings them back.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from threading import Lock

import structlog
from pydantic import ValidationError

from zpe_sdk.worker.files import remove_half_written, write_durably
from zpe_sdk.worker.messages import OutboxMessage

KEPT_SECONDS = 7 * 86400.0

log = structlog.get_logger(__name__)


class Outbox:
    """Messages in the order in which they were written.

    Parameters
    ----------
    folder
        Where they are kept; made if it is missing. What cannot be read is moved to ``aside/`` in it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._aside = folder / "aside"
        self._aside.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._later_folder = folder / "later"
        self._later_folder.mkdir(mode=0o700, exist_ok=True)
        self._lock = Lock()
        self._numbers = count()
        remove_half_written(folder)
        self._messages = deque(self._read(folder))
        self._later = deque(self._read(self._later_folder))
        if self._messages:
            log.info("messages of an earlier process wait to be sent", count=len(self._messages))

    def _read(self, folder: Path) -> Iterator[tuple[Path, OutboxMessage]]:
        for path in sorted(folder.glob("*.json")):
            try:
                yield path, OutboxMessage.model_validate_json(path.read_bytes())
            except (ValidationError, OSError) as error:
                log.warning("a message cannot be read; it is set aside", file=path.name, reason=str(error))
                path.rename(self._aside / path.name)

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: OutboxMessage) -> None:
        """Add a message; it is on disk when this returns."""
        # Names sort by time, and by number within the resolution of the clock; a file keeps its name.
        path = self._folder / f"{time.time_ns():020d}-{next(self._numbers):06d}.json"
        try:
            write_durably(path, message.model_dump_json())
        except OSError as error:  # a full disk: memory must do
            log.warning("a message cannot be written; it waits in memory", reason=str(error))
        with self._lock:
            self._messages.append((path, message))
            for kept in [kept for kept in self._later if _is_same(kept[1], message)]:
                self._later.remove(kept)
                kept[0].unlink(missing_ok=True)

    def all(self) -> list[OutboxMessage]:
        """Return all messages, oldest first, and then those that wait for later."""
        with self._lock:
            return [message for _, message in (*self._messages, *self._later)]

    def first(self, limit: int) -> list[OutboxMessage]:
        """Return the oldest message, and up to ``limit`` that may travel with it."""
        with self._lock:
            batch: list[OutboxMessage] = []
            for _, message in self._messages:
                if batch and (
                    message.kind != "tasks"
                    or (batch[0].kind, batch[0].lease_id) != ("tasks", message.lease_id)
                    or len(batch) == limit
                ):
                    break
                batch.append(message)
            return batch

    def remove(self, number: int) -> None:
        """Forget the ``number`` oldest messages: the control plane has answered."""
        with self._lock:
            for _ in range(number):
                path, _message = self._messages.popleft()
                path.unlink(missing_ok=True)

    def postpone(self, number: int) -> int:
        """Keep the results among the ``number`` oldest messages for later; return how many they are."""
        with self._lock:
            results = 0
            for _ in range(number):
                path, message = self._messages.popleft()
                if message.report is None:
                    path.unlink(missing_ok=True)
                    continue
                results += 1
                self._later.append((_moved(path, self._later_folder), message))
            return results

    def bring_back(self) -> int:
        """Put what waits for later in line again, unless it is too old; return how many there were."""
        with self._lock:
            brought, self._later = list(self._later), deque()
            for path, message in brought:
                if time.time() - int(path.name[:20]) / 1e9 > KEPT_SECONDS:
                    log.warning("a result is given up: its job is not known", job_id=message.job_id)
                    path.unlink(missing_ok=True)
                    continue
                again = message.model_copy(update={"again": True})
                self._messages.append((_moved(path, self._folder), again))
            return len(brought)

    def set_aside(self) -> None:
        """Move the oldest message out of the way, for people to look at."""
        with self._lock:
            path, _message = self._messages.popleft()
            _moved(path, self._aside)


def _moved(path: Path, folder: Path) -> Path:
    """Move a message's file, if there is one; return where it is."""
    there = folder / path.name
    if path.exists():
        path.rename(there)
    return there


def _is_same(kept: OutboxMessage, message: OutboxMessage) -> bool:
    """Tell whether two messages bring the same result, under whichever lease."""
    return (
        kept.report is not None
        and message.report is not None
        and (kept.job_id, kept.report.task) == (message.job_id, message.report.task)
    )
