"""What a worker has to tell the control plane, kept on disk until it was heard.

Each finished SCF, failure and returned lease is a message: a file in ``WORK_DIR/outbox``, written before
anything is sent and removed when the control plane has answered. Whatever dies in between, the messages
of an earlier process are sent first by the next.
"""

from __future__ import annotations

import time
from collections import deque
from itertools import count
from pathlib import Path
from threading import Lock

import structlog
from pydantic import ValidationError

from zpe_sdk.worker.files import remove_half_written, write_durably
from zpe_sdk.worker.messages import OutboxMessage

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
        self._messages: deque[tuple[Path, OutboxMessage]] = deque()
        self._lock = Lock()
        self._numbers = count()
        remove_half_written(folder)
        for path in sorted(folder.glob("*.json")):
            try:
                self._messages.append((path, OutboxMessage.model_validate_json(path.read_bytes())))
            except (ValidationError, OSError) as error:
                log.warning("a message cannot be read; it is set aside", file=path.name, reason=str(error))
                path.rename(self._aside / path.name)
        if self._messages:
            log.info("messages of an earlier process wait to be sent", count=len(self._messages))

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: OutboxMessage) -> None:
        """Add a message; it is on disk when this returns."""
        # Names sort by time, and by number within the resolution of the clock.
        path = self._folder / f"{time.time_ns():020d}-{next(self._numbers):06d}.json"
        try:
            write_durably(path, message.model_dump_json())
        except OSError as error:  # a full disk: memory must do
            log.warning("a message cannot be written; it waits in memory", reason=str(error))
        with self._lock:
            self._messages.append((path, message))

    def all(self) -> list[OutboxMessage]:
        """Return all messages, oldest first."""
        with self._lock:
            return [message for _, message in self._messages]

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

    def set_aside(self) -> None:
        """Move the oldest message out of the way, for people to look at."""
        with self._lock:
            path, _message = self._messages.popleft()
            if path.exists():
                path.rename(self._aside / path.name)
