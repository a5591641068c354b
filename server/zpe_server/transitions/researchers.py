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


class Used(TypedDict):
    """What an owner has and may have."""

    has: dict[str, float]
    may: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class ReadUsage(Transition[Used]):
    """Read what an owner has and may have; ``usual`` goes for all."""

    owner: str
    usual: Limits
