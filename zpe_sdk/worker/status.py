"""How a worker is, from what it leaves in its folder: nothing is asked of the worker or the control plane.

``process.json`` says who works there, and ``contact`` was written to whenever the control plane answered a
heartbeat; journal, outbox and lock are there anyway. All is read and nothing is changed, so that to look is
safe while the worker runs.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import structlog
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from zpe_sdk.errors import ConfigError
from zpe_sdk.version import __version__
from zpe_sdk.wire import Capabilities, Message
from zpe_sdk.worker.files import is_held, write_durably
from zpe_sdk.worker.held import Entry
from zpe_sdk.worker.messages import OutboxMessage

log = structlog.get_logger(__name__)
Read = TypeVar("Read")


class WorkerProcess(Message):
    """The process that works in a folder, or that was the last to do so."""

    pid: int
    host: str
    name: str
    control_url: str
    version: str = __version__
    engine: str
    engine_version: str | None = None
    slots: int
    started_at: datetime


class _Enrolled(BaseModel):
    """What is asked of ``identity.json``: not its token."""

    server_id: str
    control_url: str


class FolderStatus(Message):
    """A worker by its folder.

    Attributes
    ----------
    running
        Whether a worker is at work there.
    process
        Which, or the last one; null if it never came that far, or is older than this file.
    server_id, control_url
        Its identity, if it enrolled, and the control plane that knows it.
    last_contact_at
        When a heartbeat was last answered.
    leases
        What it holds, and which SCFs of it run; of a worker that was killed, what it will hand back.
    results, messages
        Finished SCFs that wait in the outbox, and whatever else does.
    later
        Results of jobs that the control plane does not know, to be offered again.
    aside
        Messages that the control plane refused or that could not be read, for people to look at.
    """

    work_dir: Path
    running: bool
    process: WorkerProcess | None = None
    server_id: str | None = None
    control_url: str | None = None
    last_contact_at: datetime | None = None
    leases: list[Entry] = Field(default_factory=list)
    results: int = 0
    messages: int = 0
    later: int = 0
    aside: int = 0


def note_process(folder: Path, name: str, control_url: str, capabilities: Capabilities) -> None:
    """Write down that this process works in a folder."""
    mine = WorkerProcess(
        pid=os.getpid(),
        host=socket.gethostname(),
        name=name,
        control_url=control_url,
        engine=capabilities.engine,
        engine_version=capabilities.engine_version,
        slots=capabilities.slots,
        started_at=datetime.now(UTC),
    )
    try:
        write_durably(folder / "process.json", mine.model_dump_json())
    except OSError as error:  # a full disk: the work does not need it
        log.warning("`zpe worker status` will not know this process", reason=str(error))


def note_contact(folder: Path) -> None:
    """Write down that the control plane has just answered."""
    with contextlib.suppress(OSError):  # on a full disk, the last contact is an old one
        (folder / "contact").touch(mode=0o600)


def status_of(folder: Path) -> FolderStatus:
    """Return how the worker of a folder is.

    Raises
    ------
    ConfigError
        ``bad_work_dir``: no worker has been at work there, or its files are somebody else's.
    """
    try:
        held = is_held(folder)
    except OSError as error:
        found = "no worker has been at work there" if isinstance(error, FileNotFoundError) else error.strerror
        raise ConfigError(f"{folder}: {found}", code="bad_work_dir", field="ZPE_WORK_DIR") from None
    identity = _read(folder / "identity.json", TypeAdapter(_Enrolled))
    process = _read(folder / "process.json", TypeAdapter(WorkerProcess))
    waiting = list(_each(folder / "outbox", TypeAdapter(OutboxMessage)))
    results = sum(message.report is not None for message in waiting)
    return FolderStatus(
        work_dir=folder,
        running=held,
        process=process,
        server_id=identity.server_id if identity else None,
        control_url=process.control_url if process else identity.control_url if identity else None,
        last_contact_at=_time_of(folder / "contact"),
        leases=list(_each(folder / "leases", TypeAdapter(Entry))),
        results=results,
        messages=len(waiting) - results,
        later=_count(folder / "outbox" / "later"),
        aside=_count(folder / "outbox" / "aside"),
    )


def _each(folder: Path, kind: TypeAdapter[Read]) -> Iterator[Read]:
    for path in sorted(folder.glob("[!.]*.json")):
        if (found := _read(path, kind)) is not None:
            yield found


def _count(folder: Path) -> int:
    return sum(1 for _ in folder.glob("[!.]*.json"))


def _read(path: Path, kind: TypeAdapter[Read]) -> Read | None:
    """Return what a file holds; None if it is not there, or not whole: the worker goes on meanwhile."""
    try:
        return kind.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _time_of(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return None
