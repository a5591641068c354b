"""Transitions of workers and of what they have computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict

from zpe_sdk.wire import Accepts
from zpe_server.transitions.base import Listed, Transition
from zpe_server.transitions.jobs import Nothing
from zpe_server.transitions.leases import ByWorker


class Enrolled(TypedDict):
    """When the worker was registered and its token expires (ms)."""

    registered: float
    expires: float
    name: str
    owner: NotRequired[str]
    accepts: NotRequired[Accepts]
    error: NotRequired[Literal["invalid", "revoked"]]


@dataclass(frozen=True, kw_only=True)
class Register(Transition[Enrolled], texts=("meta",)):
    """Consume an enroll token and create the worker it stood for."""

    enroll: str
    worker: str
    name: str
    token: str
    token_ttl_ms: int
    meta: str


@dataclass(frozen=True, kw_only=True)
class Rotate(ByWorker, Transition[Enrolled]):
    """Give a worker a new token."""

    token: str
    token_ttl_ms: int
    grace_ms: int


@dataclass(frozen=True, kw_only=True)
class Introduce(Transition[Nothing]):
    """Have a worker listed that did not enroll."""

    worker: str
    name: str


class Changed(TypedDict):
    """Nothing, or why it could not be."""

    error: NotRequired[Literal["not_found", "no_owner"]]


@dataclass(frozen=True, kw_only=True)
class Accept(Transition[Changed]):
    """Change whose jobs a worker takes; ``by`` is its owner, or empty for an administrator."""

    worker: str
    by: str = ""
    accepts: Accepts


@dataclass(frozen=True, kw_only=True)
class Drain(Transition[Changed]):
    """Stop or resume giving work to a worker; ``by`` is its owner, or empty for an administrator."""

    worker: str
    by: str = ""
    drain: bool


class Revoked(TypedDict):
    """How many tokens are gone, and whose leases were released."""

    revoked: int
    jobs: Listed[str]
    error: NotRequired[Literal["not_found"]]


@dataclass(frozen=True, kw_only=True)
class Revoke(Transition[Revoked]):
    """Shut a worker out at once; ``by`` is its owner, or empty for an administrator."""

    worker: str
    by: str = ""


class WorkerTable(TypedDict):
    """The records of the workers."""

    workers: Listed[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class ListWorkers(Transition[WorkerTable]):
    """List the workers."""


class TakenBack(TypedDict):
    """Which jobs were opened again, and which marked."""

    reopened: Listed[str]
    marked: Listed[str]


@dataclass(frozen=True, kw_only=True)
class TakeBack(Transition[TakenBack]):
    """Take back what a worker computed in some jobs."""

    worker: str
    jobs: Sequence[str]
    retire_ms: int


class Sifted(TypedDict):
    """The SCFs that were meant, by where they come from, and how many were dropped."""

    groups: Listed[dict[str, Any]]
    dropped: int


@dataclass(frozen=True, kw_only=True)
class SiftKept(Transition[Sifted]):
    """Count, or drop, those of the SCFs kept for later jobs that are meant; ``""`` may be anything."""

    keys: Sequence[str]
    drop: bool
    owner: str
    worker: str
    version: str
    pseudopotential: str
