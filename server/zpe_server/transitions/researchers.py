"""Transitions of researchers and their groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from zpe_sdk.wire import Limits
from zpe_server.transitions.base import Listed, Transition
from zpe_server.transitions.jobs import Nothing


class Regrouped(TypedDict):
    """Who is in the group now."""

    members: Listed[str]


@dataclass(frozen=True, kw_only=True)
class Regroup(Transition[Regrouped]):
    """Change who is in a group of researchers."""

    group: str
    add: Sequence[str] = ()
    remove: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Limit(Transition[Nothing]):
    """Say what one owner may have, in place of what goes for all."""

    owner: str
    limits: Limits


class Retained(TypedDict):
    """How many jobs of the project are over."""

    jobs: int


@dataclass(frozen=True, kw_only=True)
class Retain(Transition[Retained]):
    """Say how long the jobs of a project are remembered once they are over; without ``ms``, as for all."""

    owner: str
    project: str
    usual_ms: float
    grace_ms: float
    ms: float | None = None


class Owned(TypedDict):
    """What an owner has and may have.

    ``seconds`` is how long the SCFs of this month took, ``said`` an administrator's word about this one
    alone.
    """

    name: str
    groups: Listed[str]
    shows_jobs: bool
    workers: int
    has: dict[str, float]
    seconds: float
    may: dict[str, float]
    said: dict[str, float]


class Owners(TypedDict):
    """What owners have and may have."""

    owners: Listed[Owned]


@dataclass(frozen=True, kw_only=True)
class ReadOwners(Transition[Owners]):
    """Read what owners have and may have, one or all; ``usual`` goes for all, ``month`` is now."""

    owner: str | None = None
    usual: Limits
    month: str
