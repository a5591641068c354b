"""Transitions of tokens. What is called a token here is its hash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from zpe_server.transitions.base import Listed, Transition

Kind = Literal["enroll", "token"]


class Bearer(TypedDict, total=False):
    """Whose token it is, and for how long (ms); empty for none that is in force."""

    role: Literal["worker", "admin", "observer", "researcher", "revoked"]
    subject: str
    name: str
    left_ms: float


@dataclass(frozen=True, kw_only=True)
class Authenticate(Transition[Bearer]):
    """Say whose token this is."""

    token: str


class Minted(TypedDict):
    """When the token was made and when it expires (ms; 0: never)."""

    created: float
    expires: float


@dataclass(frozen=True, kw_only=True)
class Mint(Transition[Minted]):
    """Store a new token; with ``ttl_ms`` 0, for ever."""

    kind: Kind
    token: str
    ttl_ms: int
    fields: Mapping[str, str]


class TokenTable(TypedDict):
    """The records of the tokens."""

    tokens: Listed[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class ListTokens(Transition[TokenTable]):
    """List the tokens of a kind that are in force."""

    kind: Kind
