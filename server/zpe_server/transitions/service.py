"""Looks at the service as a whole, each at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

from zpe_server.transitions.base import Listed, Transition


class Overview(TypedDict):
    """How many there are, which job waits the longest, and how many finished and failed within each hour."""

    jobs: dict[str, int]
    dlq: int
    running: int
    oldest: NotRequired[str]
    finished: list[int]
    failed: list[int]


@dataclass(frozen=True, kw_only=True)
class ReadOverview(Transition[Overview]):
    """Show the service at a glance."""


@dataclass(frozen=True, kw_only=True)
class ReadMetrics(Transition[dict[str, Any]]):
    """Count what there is."""


class Dispatch(TypedDict):
    """What RQ has to be told, and the time (ms)."""

    now: float
    ready: Listed[str]
    dead: Listed[str]
    assemble: Listed[str]


@dataclass(frozen=True, kw_only=True)
class ReadDispatch(Transition[Dispatch]):
    """Read what RQ has to be told."""


class Ranked(TypedDict, total=False):
    """A job's place in the line, from 0, if it stands there."""

    rank: int


@dataclass(frozen=True, kw_only=True)
class Rank(Transition[Ranked]):
    """Find a job's place in the line."""

    job: str


class Noticed(TypedDict):
    """What is to be passed on (JSON), the oldest first."""

    notices: Listed[str]


@dataclass(frozen=True, kw_only=True)
class TakeNotices(Transition[Noticed]):
    """Forget the notices that were passed on, and read the next."""

    replica: str
    claim_ms: float
    upto: int
    limit: int


class Ended(TypedDict):
    """Jobs that have ended (JSON), the first to end first."""

    ended: Listed[str]


@dataclass(frozen=True, kw_only=True)
class TakeEnded(Transition[Ended]):
    """Take the next jobs that have ended, and have more kept for ``wanted_ms``."""

    limit: int
    wanted_ms: float


class Told(TypedDict):
    """What each replica that is there has told of its settings (JSON)."""

    replicas: Listed[dict[str, str]]


@dataclass(frozen=True, kw_only=True)
class NoteReplica(Transition[Told], texts=("settings",)):
    """Note the settings of a replica of the control plane, and read those of all."""

    replica: str
    settings: str
    alive_ms: float
