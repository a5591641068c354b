"""A worker's log as somebody reads it in a terminal: which job, which of its SCFs, what happened.

The same records are JSON in files and pipes, with every id; see :mod:`zpe_sdk.logging`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.cells import cell_len, set_cell_size
from structlog.types import EventDict, WrappedLogger

from zpe_sdk.plain import plain
from zpe_sdk.ranges import numbered

WIDTH = 120
_NAME_WIDTH = 20
_SUBJECT_WIDTH = 13  # "SCF 12 of 121"
_REMEMBERED = 1000
_INDENT = " " * 21
# Told in front of the event, or of use to programs alone.
_TOLD = {
    *("timestamp", "level", "logger", "event", "exception", "stack"),
    *("job_id", "job", "task", "tasks", "running", "scfs", "stage"),
    *("request_id", "lease_id", "server_id"),
}
_WORDS = {
    "iterations": "{} iterations",
    "seconds": "{} s",
    "accuracy_ry": "accuracy {} Ry",
    "energy_ev": "energy {} eV",
    "max_force_ev_ang": "largest force {} eV/Å",
    "reason": "{}",
    "url": "{}",
}
_COLOURS = {"warning": "\033[33m", "error": "\033[31m", "critical": "\033[31m"}
_PLAIN = "\033[0m"


@dataclass(frozen=True)
class _Job:
    """What was said of a job when work on it was taken."""

    name: str | None
    scfs: int | None
    stage: str


class Lines:
    """Renders records, and remembers the names of jobs: most records have their ids alone.

    Parameters
    ----------
    colours
        Whether to colour warnings and errors.
    """

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours
        self._jobs: dict[str, _Job] = {}

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> str:
        """Return a record in lines of at most :data:`WIDTH` columns; tracebacks stay as they are."""
        self._remember(event)
        level = str(event.get("level", "info"))
        parts = [*self._subject(event), level.upper() if level in _COLOURS else ""]
        said = "; ".join(_facts(event))
        text = f"{event.get('event', '')}: {said}" if said else str(event.get("event", ""))
        text = plain("  ".join([_local(event.get("timestamp")), *filter(None, parts), text]))
        lines = textwrap.wrap(
            text,
            WIDTH - (cell_len(text) - len(text)),  # letters of East Asia take two columns
            subsequent_indent=_INDENT,
            break_on_hyphens=False,
        )
        if self._colours and level in _COLOURS:
            lines = [_COLOURS[level] + line + _PLAIN for line in lines]
        return "\n".join([*lines, *(str(event[more]) for more in ("stack", "exception") if event.get(more))])

    def _remember(self, event: EventDict) -> None:
        if "stage" not in event:
            return
        self._jobs.pop(event["job_id"], None)
        self._jobs[event["job_id"]] = _Job(event["job"], event["scfs"], event["stage"])
        if len(self._jobs) > _REMEMBERED:
            del self._jobs[next(iter(self._jobs))]

    def _subject(self, event: EventDict) -> Iterator[str]:
        """Yield the job's name, or the beginning of its id, and which of its SCFs a record is about."""
        job_id = event.get("job_id")
        if job_id is None:
            return
        job = self._jobs.get(job_id)
        yield _column(job.name if job and job.name else job_id[:8])
        tasks = event.get("tasks") or event.get("running") or [event[one] for one in ["task"] if one in event]
        if tasks and job and job.stage == "relax":
            yield "relaxation".ljust(_SUBJECT_WIDTH)
        elif tasks:
            of = f" of {job.scfs}" if job and job.scfs else ""
            yield f"SCF {numbered(tasks)}{of}".ljust(_SUBJECT_WIDTH)


def _facts(event: EventDict) -> Iterator[str]:
    if "stage" in event and event["job"]:  # other jobs may have that name too
        yield f"job {event['job_id'][:8]}"
    for name, value in event.items():
        if name not in _TOLD and not name.startswith("_") and value is not None:
            yield _WORDS.get(name, f"{name.replace('_', ' ')} {{}}").format(value)


def _column(name: str) -> str:
    """Return a name in as many columns as every other."""
    fits = cell_len(name) <= _NAME_WIDTH
    return set_cell_size(name, _NAME_WIDTH) if fits else set_cell_size(name, _NAME_WIDTH - 1) + "…"


def _local(timestamp: str | None) -> str:
    moment = datetime.fromisoformat(timestamp) if timestamp else datetime.now(UTC)
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
